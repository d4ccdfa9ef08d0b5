"""Reports: how the executors of a replica are, as the supervisor asks for it and hears it.

Job    the messages of one question that no replica's life hangs on.
Life   values.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Report:
    ticket: int
    kind: Literal["report"] = "report"


@dataclass(frozen=True, slots=True)
class BreakerTold:
    """How one executor instance of a version is; see `core/breaker.py`.

    Units: `since` and `next_try` are in seconds since 1970; None: nobody knows.
    """

    model: str
    version: str
    executor: str
    state: str
    since: float
    calls: int  # within the window
    failure_ratio: float
    slow_ratio: float
    next_try: float | None


@dataclass(frozen=True, slots=True)
class Reported:
    ticket: int
    breakers: tuple[BreakerTold, ...]
    kind: Literal["reported"] = "reported"
