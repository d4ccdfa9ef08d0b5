"""Accounts: what a replica says unasked, and what its end means.

Job    keep the ledger true; have replicas' questions answered; find the version that kills.
Life   the fleet's overseer, as long as the supervisor.
Never  lets a version that killed twice be loaded a third time unasked.

A replica that dies by its own doing (a crash signal, a failed exit, a loop that hangs, or
the kernel's out-of-memory killer) accuses the versions that were executing when it died; where
a shadow was among them, only shadows. One that somebody killed or stopped from outside accuses
nobody.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, Self

from gateway.control.messages import (
    Ask,
    Disagreed,
    Reply,
    Retired,
)
from gateway.control.reports import Reported
from gateway.core.quarantine import Death, History, is_attributable, judge
from gateway.errors import GatewayError
from gateway.supervise.allotting import Allotting
from gateway.supervise.breakers import Breakers
from gateway.supervise.disagreements import Disagreements
from gateway.supervise.ledger import Ledger
from gateway.supervise.oomkills import oom_kills
from gateway.supervise.replica import Replica
from gateway.supervise.signals import signal_name

_log = logging.getLogger(__name__)
Answer = Callable[[Ask], Awaitable[bytes]]


class Condemning(Protocol):
    """Who acts on what the accounts find: the inventory."""

    def quarantine(self, digest: str, reason: str) -> bool:
        """Answer a version's calls with `not_ready`; say whether that is news."""


class Accounts:
    """Hears every replica.

    Mutable state: the deaths so far (`_history`) and who was being retired when it ended.
    """

    def __init__(self, ledger: Ledger, settings: Callable[[], str]) -> None:
        self.settings = settings
        self.disagreements = Disagreements()
        self.allotting = Allotting()
        self.breakers = Breakers()
        self._ledger = ledger
        self._history = History()
        self._oom_kills = oom_kills()

    async def __aenter__(self) -> Self:
        self._answering = asyncio.TaskGroup()
        await self._answering.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in tuple(self._asked):
            task.cancel()
        await self._answering.__aexit__(None, None, None)

    def introduce(self, inventory: Condemning, answer: Answer) -> None:
        """Say who acts on findings and who answers questions, before anything is started."""
        self._inventory = inventory
        self._answer = answer
        self._asked: set[asyncio.Task[None]] = set()

    def began(self, replica: Replica) -> None:
        """Count what a new process writes, and tell it its parts of the quotas."""
        self._ledger.attach(replica.memory)
        self.allotting.began(replica)
        self.breakers.began(replica)

    def heard(self, replica: Replica, message: Ask | Retired | Disagreed | Reported) -> None:
        """Settle retired rows; have a question answered beside everything else; pass on what
        shadows said, and how executors are.
        """
        if isinstance(message, Reported):
            self.breakers.hear(replica, message)
            return
        if isinstance(message, Disagreed):
            self.disagreements.note(message)
            return
        if isinstance(message, Retired):
            self._ledger.fold(replica.memory, message.rows)
            return
        task = self._answering.create_task(self._reply(replica, message))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def ended(self, replica: Replica, code: int) -> str:
        """Settle what the process wrote, and judge what it died of."""
        self.breakers.ended(replica)
        loading = replica.loading()
        suspects = {*loading, *self._ledger.executing(replica.memory)}
        self._ledger.detach(replica.memory)
        self.allotting.ended(replica)
        before, self._oom_kills = self._oom_kills, oom_kills()
        death = Death(
            code,
            was_silent=replica.was_silent,
            was_stopped=replica.was_stopped,
            is_oom=self._oom_kills > before,
        )
        if code == 0 and replica.was_told_to_end:
            return "retired"
        what = replica.kill_reason or _how(code, death)
        _log.warning("replica %d (pid %d) has ended: %s", replica.slot, replica.pid, what)
        if is_attributable(death) and not replica.was_told_to_end:
            self._history, condemned = judge(self._history, suspects, time.monotonic())
            for digest in condemned:
                how = "loaded" if digest in loading else "executed"
                self._inventory.quarantine(digest, f"replicas that {how} it died: {what}")
        return _word(code, death)

    async def _reply(self, replica: Replica, ask: Ask) -> None:
        try:
            body = await self._answer(ask)
        except GatewayError as error:
            replica.send(Reply(ask.ticket, str(error), error.code))
        except Exception as error:  # noqa: BLE001 - a replica must hear of it, whatever it was
            _log.error("a question could not be answered", exc_info=error)
            replica.send(Reply(ask.ticket, "internal error", GatewayError.code))
        else:
            replica.send(Reply(ask.ticket, body.decode()))


def _how(code: int, death: Death) -> str:
    if death.is_oom and code == -signal.SIGKILL:
        return "killed by the kernel, for memory"
    return f"killed by {signal_name(-code)}" if code < 0 else f"exit code {code}"


def _word(code: int, death: Death) -> str:
    if death.was_silent:
        return "unresponsive"
    if code == -signal.SIGKILL:
        return "out_of_memory" if death.is_oom else "killed"
    return "crashed" if code < 0 else "exited"
