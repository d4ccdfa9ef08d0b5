"""Outliers: which of several endpoints is left out for a while, because it alone fails.

Theory of operation. Five failures in a row leave an endpoint out for 30 s, and for as much
longer as it was left out before, up to 300 s. Of all endpoints never more than half are out,
and never the last: where everything fails it is not they who differ. Who was well for as long
as it was last left out has a clean slate again.

What is heard of an endpoint while it is out, of requests sent before, changes nothing.

Source: Envoy's outlier detection (consecutive errors; it ejects at most a tenth).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

FAILURES = 5  # in a row
_BASE_S = 30.0
_LONGEST_S = 300.0
_MOST_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class Standing:
    """What is held against one endpoint. Units: `until` is when it is asked again."""

    failures: int = 0  # since its last success
    ejections: int = 0
    until: float = -math.inf

    def is_out(self, now: float) -> bool:
        """Say whether it is left out."""
        return now < self.until


Standings = tuple[Standing, ...]


def usable(standings: Sequence[Standing], now: float) -> list[int]:
    """Return the places of the endpoints that may be asked."""
    return [at for at, one in enumerate(standings) if not one.is_out(now)]


def succeeded(standings: Standings, at: int, now: float) -> Standings:
    """Return the standings after an endpoint has answered well."""
    one = standings[at]
    is_clean = one.ejections and now >= one.until + _out_s(one.ejections)
    if one.is_out(now) or not (one.failures or is_clean):
        return standings
    return _put(standings, at, replace(one, failures=0, ejections=0 if is_clean else one.ejections))


def failed(standings: Standings, at: int, now: float) -> Standings:
    """Return the standings after an endpoint has failed."""
    one = standings[at]
    if one.is_out(now):
        return standings
    failures = one.failures + 1
    if failures < FAILURES or not _may_leave_out(standings, now):
        return _put(standings, at, replace(one, failures=failures))
    ejections = one.ejections + 1
    return _put(standings, at, Standing(0, ejections, now + _out_s(ejections)))


def _may_leave_out(standings: Standings, now: float) -> bool:
    out = len(standings) - len(usable(standings, now))
    return out + 1 <= _MOST_RATIO * len(standings)


def _out_s(ejections: int) -> float:
    return min(_LONGEST_S, _BASE_S * ejections)


def _put(standings: Standings, at: int, one: Standing) -> Standings:
    return (*standings[:at], one, *standings[at + 1 :])
