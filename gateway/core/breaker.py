"""Breaker: may an execution start here now?

Job    the whole state machine of one executor instance; every transition is in this file.
Life   one per executor instance of a version; it is asked before an execution and told after.
Never  reads a clock or rolls dice: `now` is monotonic seconds, and `dice` gives 0 to below 1.

Theory of operation.

    CLOSED     -- of at least `minimum_calls` within the window, `failure_ratio` failed or
                  `slow_ratio` were slow; or nothing can run there any more (`trip`)  -->  OPEN
    OPEN       -- its time is over, and somebody asks                            -->  HALF_OPEN
    HALF_OPEN  -- so many probes failed, or were slow, that the others cannot save it  -->  OPEN
    HALF_OPEN  -- so many went well that the others cannot spoil it                 -->  CLOSED
    HALF_OPEN  -- `half_open_s` have passed                                          -->  OPEN

FORCED_OPEN, DISABLED and METRICS_ONLY are entered and left by operators alone (`force`). The
first lets nothing start, the others everything; METRICS_ONLY counts as well.

Who may start holds a permit: the number of the state's generation. Each transition begins a
new one, and what comes back under an older permit is news of what is no more, so it changes
nothing. VOID gives a permit back and teaches nothing.

It stays open for `open_s`, twice as long each time that it opens again before it was closed
for as long as `slow_start_s`, at most `max_open_s`; give or take `jitter_ratio`, or replicas
would ask again all at once. After it has closed it takes only a share of the calls, which
grows: what was away is cold.

HALF_OPEN must not last, because nothing else ends it where a probe hangs. Where it ends for
want of calls, none having failed or being on its way, it may be asked again at once, and for
the same reason it does not count as opening again: a version that is asked once a minute
would be refused for ever.

Source: resilience4j's circuit breaker (names, window, rates, half-open) and gobreaker
(generations). Unlike these we decide in HALF_OPEN as soon as the rest cannot change it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from math import inf

from gateway.core.window import Window

Dice = Callable[[], float]
Permit = int


class State(IntEnum):
    """The numbers are what operators see: the more is refused, the higher."""

    DISABLED = -2
    METRICS_ONLY = -1
    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2
    FORCED_OPEN = 3


class Outcome(Enum):
    SUCCESS = auto()
    FAILURE = auto()
    VOID = auto()  # it says nothing of who ran it


_CLOSED, _VOID, _FAILURE = State.CLOSED, Outcome.VOID, Outcome.FAILURE  # found sooner


@dataclass(frozen=True, slots=True)
class Policy:
    """When it opens, and how it closes again. Units: seconds; ratios are 0 to 1."""

    window_s: int = 10
    minimum_calls: int = 20
    failure_ratio: float = 0.5
    slow_ratio: float = 0.8
    open_s: float = 5.0
    max_open_s: float = 60.0
    jitter_ratio: float = 0.2
    probes: int = 3
    half_open_s: float = 10.0
    slow_start_s: float = 10.0
    slow_start_ratio: float = 0.1  # of the calls, when it has just closed


@dataclass(frozen=True, slots=True)
class Reading:
    """What operators see. The ratios are those of the window; open, those that opened it.

    Units: `since` is monotonic seconds, `next_try_s` seconds from now; None: nobody
    knows, or there is nothing to try.
    """

    state: State
    since: float
    calls: int
    failure_ratio: float
    slow_ratio: float
    next_try_s: float | None


class Breaker:
    """Each operation takes the same short time, however much it has seen.

    Mutable state: `state`, `generation`, `since` (of the state), the window, `_until` (when OPEN
    may be asked), the probes of HALF_OPEN that are on their way (`_away`) and what came of the
    others (`_well`, `_failed`, `_slow`), how often it has opened in a row (`_in_row`), and until
    when it takes only a share (`_steady_at`).
    """

    __slots__ = (
        "_away", "_failed", "_in_row", "_policy", "_slow", "_steady_at", "_until", "_well",
        "_window", "generation", "since", "state",
    )  # fmt: skip

    def __init__(self, policy: Policy, now: float, state: State = State.CLOSED) -> None:
        self._policy = policy
        self._window = Window(policy.window_s)
        self.generation = 0
        self._in_row = 0
        self._until = self._steady_at = -inf
        self._enter(state, now)

    def permit(self, now: float, dice: Dice) -> Permit | None:
        """Return what an execution may start with; None: it may not. Each is given back once."""
        if self.state <= _CLOSED:
            return self.generation
        self.settle(now, dice)
        if not self.may_start(now):
            return None
        if self.state is State.OPEN:
            self._enter(State.HALF_OPEN, now)
        self._away += 1
        return self.generation

    def record(
        self, permit: Permit, outcome: Outcome, is_slow: bool, now: float, dice: Dice
    ) -> None:
        """Take a permit back, with what came of the execution."""
        if permit != self.generation:
            return
        if self.state <= _CLOSED:
            if outcome is _VOID:
                return
            window = self._window
            window.add(now, outcome is _FAILURE, is_slow)
            if (window.failures or window.slow) and self._is_over():
                self._open(now, dice)
        elif self.state is State.HALF_OPEN:
            self._hear(outcome, is_slow, now, dice)

    def trip(self, now: float, dice: Dice) -> None:
        """Open at once: nothing can run there any more, and what never ends is never counted."""
        if self.state is State.CLOSED or self.state is State.HALF_OPEN:
            self._open(now, dice)

    def force(self, state: State, now: float) -> None:
        """Obey an operator, for whom CLOSED begins anew; HALF_OPEN and OPEN cannot be ordered."""
        assert state not in (State.HALF_OPEN, State.OPEN)
        self._in_row = 0
        self._steady_at = -inf
        self._enter(state, now)

    def settle(self, now: float, dice: Dice) -> None:
        """Leave a HALF_OPEN that has lasted too long."""
        if self.state is not State.HALF_OPEN or now < self.since + self._policy.half_open_s:
            return
        if self._away or self._failed or self._slow:
            self._open(now, dice)
        else:
            self._until = now
            self._enter(State.OPEN, now)

    def may_start(self, now: float) -> bool:
        """Say whether an execution may start; nothing changes."""
        if self.state is State.HALF_OPEN:
            return self._away + self._well + self._failed < self._policy.probes
        if self.state is State.OPEN:
            return now >= self._until
        return self.state is not State.FORCED_OPEN

    def share(self, now: float) -> float:
        """Return how many of the calls it takes that are more than probes, from 0 to 1."""
        if self.state > State.CLOSED:
            return 0.0
        if now >= self._steady_at:
            return 1.0
        first, passed_s = self._policy.slow_start_ratio, max(0.0, now - self.since)
        return min(1.0, first + (1.0 - first) * passed_s / self._policy.slow_start_s)

    def reading(self, now: float) -> Reading:
        """Return what it knows."""
        window = self._window
        next_try_s = None
        if self.state <= State.CLOSED:
            window.turn(now)
        if self.state is State.OPEN:
            next_try_s = max(0.0, self._until - now)
        elif self.state is State.HALF_OPEN:
            next_try_s = 0.0
        calls = window.calls or 1
        failure_ratio, slow_ratio = window.failures / calls, window.slow / calls
        return Reading(self.state, self.since, window.calls, failure_ratio, slow_ratio, next_try_s)

    def _is_over(self) -> bool:
        """Say whether too many of enough calls failed or were slow, and that counts."""
        window, policy = self._window, self._policy
        calls = window.calls
        return (
            self.state is State.CLOSED
            and calls >= policy.minimum_calls
            and (
                window.failures >= policy.failure_ratio * calls
                or window.slow >= policy.slow_ratio * calls
            )
        )

    def _hear(self, outcome: Outcome, is_slow: bool, now: float, dice: Dice) -> None:
        """Take a probe's permit back, and decide if the others cannot change it any more."""
        self._away -= 1
        if outcome is Outcome.VOID:
            return
        if outcome is Outcome.FAILURE:
            self._failed += 1
        else:
            self._well += 1
        self._slow += is_slow
        policy = self._policy
        left = policy.probes - self._well - self._failed
        most_failed, most_slow = (
            policy.failure_ratio * policy.probes,
            policy.slow_ratio * policy.probes,
        )
        if self._failed >= most_failed or self._slow >= most_slow:
            self._open(now, dice)
        elif self._failed + left < most_failed and self._slow + left < most_slow:
            self._steady_at = now + policy.slow_start_s
            self._enter(State.CLOSED, now)

    def _open(self, now: float, dice: Dice) -> None:
        """Stay away, twice as long as the last time if it had not recovered since."""
        policy = self._policy
        if self.state is State.CLOSED and now >= self._steady_at:
            self._in_row = 0
        wait_s = min(policy.max_open_s, policy.open_s * 2.0 ** min(self._in_row, 64))
        self._in_row += 1
        self._until = now + wait_s * (1.0 + policy.jitter_ratio * (2.0 * dice() - 1.0))
        self._enter(State.OPEN, now)

    def _enter(self, state: State, now: float) -> None:
        self.state, self.since = state, now
        self.generation += 1
        self._away = self._well = self._failed = self._slow = 0
        if state <= State.CLOSED:
            self._window.clear()
