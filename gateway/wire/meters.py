"""Meters: how much of each quota is used, and who has had his share.

Job    let a caller's request pass, or say when to come again.
Life   one per replica; a meter for each name that has a quota.
Never  waits, or looks at more of a request than whose it is.

A replica gives out a part of each quota, and is told which by its supervisor; until then, and
where there is none, the whole.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from gateway.core.quotas import Quota, ahead, wait_s
from gateway.errors import QuotaExceeded

_SHARED_ANEW_S = 3.0


class Tally(Protocol):
    """Where it is counted what was asked of quotas; it must not raise."""

    def asked(self, place: int) -> None:
        """Count a request of a quota's holder."""

    def over(self, place: int) -> None:
        """Count that it was over the quota."""


class _Nobody:
    """Counts nothing."""

    def asked(self, place: int) -> None: ...

    def over(self, place: int) -> None: ...


class Meter:
    """Mutable state: how far its holder is ahead (`_ahead`, when it was so: `_at`), and which
    part of the quota is given out here, counted at which place (`_part`, `_place`).
    """

    __slots__ = ("_ahead", "_at", "_part", "_place", "_tally", "_whole")

    def __init__(self, quota: Quota, tally: Tally) -> None:
        self._whole = self._part = quota
        self._tally = tally
        self._place: int | None = None
        self._ahead = 0.0
        self._at = 0.0

    def take(self, now: float) -> None:
        """Count one request against the quota. Raises: QuotaExceeded, and it was free.

        Units: monotonic seconds.
        """
        if self._place is not None:
            self._tally.asked(self._place)
        self._settle(now)
        wait = wait_s(self._ahead, self._part)
        if wait:
            if self._place is not None:
                self._tally.over(self._place)
            raise QuotaExceeded(
                f"the key's quota: expected at most {self._whole.rate_per_s:g} requests a second, "
                f"{self._whole.burst:g} at once (auth.quotas)",
                # Another part is given out within a look or two, if it is asked for.
                retry_after_s=min(wait, max(_SHARED_ANEW_S, 1 / self._whole.rate_per_s)),
                shed="quota",
            )
        self._ahead += 1.0

    def share(self, place: int | None, millionths: int, now: float) -> None:
        """Give out another part from now on, and count at this place, if there is one."""
        self._settle(now)
        self._place, self._part = place, self._whole.part(millionths)

    def _settle(self, now: float) -> None:
        self._ahead, self._at = ahead(self._ahead, now - self._at, self._part), now


class Meters:
    """The meters of all quotas, by name."""

    def __init__(
        self,
        told: Sequence[str],
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Shapes: `told` are `name:rate_per_s:burst`."""
        self._clock = clock
        self._by_name = {name: Meter(quota, tally) for name, quota in quotas_of(told).items()}

    def find(self, name: str) -> Meter | None:
        """Return the meter of a name; None: it has no quota."""
        return self._by_name.get(name)

    def share(self, parts: Mapping[str, tuple[int | None, int]]) -> None:
        """Give out these parts, each a place and millionths by name; names not known are none."""
        now = self._clock()
        for name, (place, millionths) in parts.items():
            meter = self._by_name.get(name)
            if meter is not None:
                meter.share(place, millionths, now)


def quotas_of(told: Sequence[str]) -> Mapping[str, Quota]:
    """Return the quotas by name. Shapes: `told` are `name:rate_per_s:burst`."""
    split = (text.split(":") for text in told)
    return {name: Quota(float(rate), float(burst)) for name, rate, burst in split}


NO_METERS = Meters((), _Nobody())
