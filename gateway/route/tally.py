"""Tally: what a mirror counts, and where.

Job    the seam between shadows and whoever counts, or wants to know what one holds.
Never  hears of a request: shadows have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.types import Call, Outputs

Outcome = Literal["agreed", "disagreed", "failed", "dropped"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a mirror holds. `error` is what the last failed execution said."""

    waiting: int
    waiting_bytes: int
    running: int  # calls in the thread
    executions: int
    error: str


class Tally(Protocol):
    """Counts, on the loop; it must not raise."""

    def shadowed(self, outcome: Outcome, calls: int) -> None:
        """So many calls were asked of the shadow, or not: of each offered call one word at most."""

    def disagreed(self, output: int, rows: int) -> None:
        """So many rows of an output disagree, by its place in the shadow's signature."""

    def begin(self) -> None:
        """An execution of the shadow starts now: should it kill us, it was this one."""

    def finish(
        self, calls: Sequence[Call], outputs: Outputs | None, started: float, ended: float
    ) -> None:
        """An execution has ended, with `outputs` or with none; its calls are nobody's requests."""
