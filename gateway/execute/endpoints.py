"""Endpoints: which of a version's servers is asked next, and what is held against each.

Job    choose one, count what is under way there, and hear what became of it.
Life   as long as its executor.
Never  decides how (core/balancing, core/outliers, core/throttle do), or sends anything.

One that could not be reached, or sent us elsewhere, is avoided for a while, as long as there is
another: the next batches need not find out the same, each at the cost of a retry. The whiles
grow, so that what is asked seldom too can pay for the retries by which it finds out.

Mutable state: the rows under way, the standings, the throttles and until when each is avoided, by
place.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.core import outliers
from gateway.core.balancing import choose
from gateway.core.outliers import Standing, Standings
from gateway.core.throttle import Throttle
from gateway.errors import BreakerOpen, Overloaded
from gateway.execute.upstream import Outcome, Watches

_MOST_DOUBLINGS = 8  # more would be beyond the longest pause, and in the end beyond a float
_LONGEST_PAUSE_S = 16.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dice:
    """Chance, as those who choose ask for it.

    `pick(n)` draws a whole number below n; `roll` a number in 0..1, without 1.
    """

    pick: Callable[[int], int]
    roll: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Place:
    """One request at one endpoint, from its beginning to its end."""

    at: int
    rows: int
    permit: object


class Endpoints:
    """Every place that is begun is ended, once."""

    def __init__(self, names: Sequence[str], watch: Watches, dice: Dice) -> None:
        """`names` are their addresses."""
        self._names = names
        self._watch = watch
        self._dice = dice
        self._rows = [0] * len(names)
        self._standings: Standings = (Standing(),) * len(names)
        self._throttles = [Throttle()] * len(names)
        self._avoided_until = [-math.inf] * len(names)

    def __len__(self) -> int:
        return len(self._names)

    def begin(self, rows: int, now: float, but: Place | None = None) -> Place:
        """Return the place that is to be asked for so many rows, at another endpoint than `but`.

        Raises: Overloaded where there is no room anywhere, BreakerOpen where nobody may be asked.
        """
        left = outliers.usable(self._standings, now)
        if but is not None and but.at in left:
            left.remove(but.at)
        has_no_room = False
        while left:
            good = [at for at in left if now >= self._avoided_until[at]] or left
            at = good[choose([self._rows[place] for place in good], self._dice.pick)]
            left.remove(at)
            self._throttles[at], has_room = self._throttles[at].ask(now, self._dice.roll())
            if not has_room:
                has_no_room = True
            elif (permit := self._watch.may_send(self._names[at])) is not None:
                self._rows[at] += rows
                return Place(at, rows, permit)
        if has_no_room:
            raise Overloaded("the remote servers have no room", shed="limit")
        raise BreakerOpen("no remote server may be asked: they fail too often")

    def end(self, place: Place, outcome: Outcome, now: float, seconds: float) -> None:
        """Hear what became of a request that was begun."""
        at = place.at
        self._rows[at] -= place.rows
        self._watch.heard(self._names[at], place.permit, outcome, seconds, place.rows)
        before = self._standings[at]
        if outcome == "success":
            self._standings = outliers.succeeded(self._standings, at, now)
        elif outcome == "failure":
            self._standings = outliers.failed(self._standings, at, now)
        after = self._standings[at]
        if after.ejections > before.ejections:
            _log.warning(
                "%s failed %d times in a row: it is left out for %.0f s",
                self._names[at],
                outliers.FAILURES,
                after.until - now,
            )

    def avoid(self, place: Place, now: float, pause_s: float) -> None:
        """Begin elsewhere for a while, if there is anywhere else; for twice as long each time."""
        failures = self._standings[place.at].failures
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 2.0 ** min(failures, _MOST_DOUBLINGS))
        self._avoided_until[place.at] = max(self._avoided_until[place.at], now + pause_s)

    def refused(self, place: Place, now: float) -> None:
        """Hear that there was no room for a request that was sent."""
        self._throttles[place.at] = self._throttles[place.at].refused(now)

    def address(self, place: Place) -> str:
        """Return where a place is."""
        return self._names[place.at]

    def under_way(self) -> tuple[int, ...]:
        """Return the rows that each place is asked for now."""
        return tuple(self._rows)
