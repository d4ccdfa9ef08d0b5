"""Loads: one replica is told what to hold, one version after another.

Job    load versions into a replica; have one that could not load what is served try again.
Life   `load` runs during one preparation; `mend` as long as its replica lacks something.
Never  sends what nobody offers any more; takes a replica's failure for everybody's.

One version a message: so it is known which of them a process was opening when it died or
hung, and no message grows with the number of models. A replica that does not come to an
end with one is stuck: its loading thread is in native code. If it serves it goes on
serving, and is to be replaced; if it is only starting, it is killed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.control.messages import Assigned
from gateway.supervise.offer import Offer
from gateway.supervise.replica import Ended, Phase, Replica, unless_ended

_log = logging.getLogger(__name__)
_MEND_FIRST_S, _MEND_CEILING_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Loads:
    """Loads what is offered. Units: `within_s` is for one version."""

    offer: Offer
    within_s: Callable[[], float]

    async def load(self, replica: Replica, versions: Sequence[Assigned]) -> dict[str, str]:
        """Have a replica load versions; return reasons by digest of those that it could not.

        One that ends in order meanwhile refuses nothing. Cancel: safe.
        """
        refused: dict[str, str] = {}
        for one in versions:
            if not replica.is_alive or replica.is_stuck:
                break
            if self.offer.holds(one) and (reason := await self._load_one(replica, one)):
                refused[one.proof.digest] = reason
        return refused

    async def _load_one(self, replica: Replica, version: Assigned) -> str:
        within_s = self.within_s()
        try:
            async with asyncio.timeout(within_s):
                refused = await replica.prepare((version,))
                return refused.get(version.proof.digest, "")
        except TimeoutError:
            reason = f"it was not loaded within {within_s:g} s"
            replica.is_stuck = True
            if replica.phase is Phase.STARTING:
                replica.kill(reason, is_silent=True)
        except Ended:
            if replica.was_told_to_end or await replica.ended() == 0:
                return ""
            reason = "a replica died while it was loaded"
        where = version.proof.found.folder
        _log.error("replica %d cannot load %s: %s", replica.slot, where, reason)
        return reason

    async def mend(self, replica: Replica) -> None:
        """Have a replica try again what it lacks, ever less often, until it has all."""
        delay_s = _MEND_FIRST_S
        while replica.lacking:
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _MEND_CEILING_S)
            await self.try_again(replica)

    async def try_again(self, replica: Replica) -> None:
        """Have a replica load what it lacks, and answer by the table again; if it lacks nothing,
        nothing happens. Cancel: safe.
        """
        wanted = [one for one in self.offer.versions() if one.proof.digest in replica.lacking]
        if replica.lacking:
            replica.lacking = await self.load(replica, wanted)
            await unless_ended(replica.publish(self.offer.table))
