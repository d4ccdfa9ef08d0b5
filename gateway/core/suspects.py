"""Suspects: what becomes of a batch whose process died while it ran.

Job    a loss, and what is known of the batch -> what is tried again, and how; or who is guilty.
Life   pure; a small frozen value for each batch that waits to be tried again.
Never  tries again what killed a process when it was alone, or what nobody waits for.

Theory of operation. A process that died may have died of its batch, or beside it: somebody
killed it. Whatever it was, what it ran is tried again in one process alone, the refuge, so
that no batch can cost two of them at once.

    first loss    it crashed      one of several calls is guilty: each is tried alone
                  otherwise       nobody is accused: the batch is tried as it is
    in the refuge several calls   each is tried alone
                  one, it crashed     it is guilty
                  one, it stalled     it may just be slow: it is tried last, for as long as it may
                  one, it was killed  again, up to `_MOST_LOSSES`: an operator's hand is no evidence

Alone, and not in halves: to halve costs a process for each halving, and each of these takes
longer to start than a row takes to run. So a batch with one guilty call costs two.
"""

from dataclasses import dataclass
from typing import Literal

from gateway.errors import ModelFailed
from gateway.types import Call

# crashed: of its own doing; killed: by somebody outside, or before it had heard of the batch;
# stalled: by us, because it did not go on; late: by us, when nobody waited any more.
Loss = Literal["crashed", "killed", "stalled", "late"]

_MOST_LOSSES = 4  # processes that one call may cost, each killed from outside


class WorkerLost(ModelFailed):
    """The process died that ran a batch; what it ran may be tried again in the refuge alone."""

    def __init__(self, message: str, loss: Loss) -> None:
        super().__init__(message)
        self.loss = loss


@dataclass(frozen=True, slots=True)
class Suspect:
    """Calls to be tried again; `losses` is how many processes they have cost so far.

    `is_patient`: for as long as they may take, and after all others.
    """

    calls: list[Call]
    losses: int = 1
    is_patient: bool = False


def after_loss(calls: list[Call], lost: Suspect | None, loss: Loss) -> tuple[Suspect, ...]:
    """Return what is to be tried again after `calls` were lost, which ran as `lost` if as that.

    None of it: whoever is among `calls` has had every chance.
    """
    losses = 1 if lost is None else lost.losses + 1
    if loss == "late":
        return ()
    if len(calls) > 1:
        if lost is None and loss != "crashed":
            return (Suspect(calls, losses),)
        return tuple(Suspect([call], losses) for call in calls)
    if lost is None:
        return (Suspect(calls, losses),)
    if loss == "stalled" and not lost.is_patient:
        return (Suspect(calls, losses, is_patient=True),)
    if loss == "killed" and losses < _MOST_LOSSES:
        return (Suspect(calls, losses, lost.is_patient),)
    return ()
