"""Gate: may a call be offered to this version now?

Job    keep the guards of a version's executors; refuse calls that none of them would take.
Life   as long as the version; its batchers, one for each arm, share it.
Never  costs a call more than one look at `is_narrow`, as long as one executor is well. Holds a
       call: what it refuses is answered at once, so that a fallback still has time.

Theory of operation. `is_narrow` says that each executor is open, half open, or has just closed:
only then a call is looked at. Of those that closed lately the one that takes the largest share
counts, and the dice say who is among it. Where none takes any, as many calls are let in as
there may be probes; who is among these is known until it is done. All others fail with
BreakerOpen.

When none of them may start an execution, what waits in the batchers is failed, the halves of
failed batches as well: nobody is left to wait for a deadline.

To attach an executor: give `guarded` a name, and its `run(calls, finish)`; have the batchers
run what comes back (`Guard.run`). One with several instances asks for a guard for each, under
names that are `kind/number`, hands a batch to an instance whose `may_start()` is true, and
finishes it with the BreakerOpen of any other if there is none. `drop` lets go of one.
"""

import logging
import random
import time
from collections.abc import Callable

from gateway.batch.failures import refuse
from gateway.batch.guard import Guard, Means, Run
from gateway.core.breaker import Breaker, Dice, Policy, Reading, State
from gateway.core.slowness import Slowness
from gateway.errors import BreakerOpen
from gateway.types import Call

_log = logging.getLogger(__name__)
_DEFAULTS = Policy()
_SOON_S = 1.0  # when to try again where the breaker itself cannot tell

Take = Callable[[], list[Call]]
Show = Callable[[str, State | None], None]


def show_nobody(_name: str, _state: State | None) -> None:
    """Show nobody how an executor is."""


class Gate:
    """Mutable state: the guards, what gives the calls that wait (`_waiting`), the probes that are
    not done, and `is_narrow`.
    """

    __slots__ = (
        "_dice", "_guards", "_means", "_name", "_policy", "_probing", "_show", "_state",
        "_waiting", "is_narrow",
    )  # fmt: skip

    def __init__(
        self,
        name: str = "a version",
        policy: Policy = _DEFAULTS,
        state: State = State.CLOSED,
        show: Show = show_nobody,
        means: Means | None = None,
    ) -> None:
        """`state` is that in which breakers begin; `show` hears how an executor is, by its name:
        None, when it is there no more.
        """
        self._name = name
        self._policy = policy
        self._state = state
        self._show = show
        self._means = means or Means(time.monotonic, random.random)
        self._dice: Dice = self._means.dice
        self._guards: list[Guard] = []
        self._waiting: dict[Take, None] = {}
        self._probing: list[Call] = []
        self.is_narrow = False

    def guarded(self, name: str, run: Run, slowness: Slowness, most_running: int = 1) -> Guard:
        """Return one executor instance behind a breaker of its own."""
        breaker = Breaker(self._policy, self._means.clock(), self._state)
        guard = Guard(name, run, breaker, slowness, most_running, self._changed, self._means)
        self._guards.append(guard)
        self._show(name, guard.shown)
        self._look()
        return guard

    def drop(self, guard: Guard) -> None:
        """Ask an executor no more."""
        guard.close()
        self._guards.remove(guard)
        self._show(guard.name, None)
        self._look()

    def close(self) -> None:
        """Drop all."""
        for guard in tuple(self._guards):
            self.drop(guard)

    def join(self, take: Take) -> None:
        """Fail what `take` gives, what waits somewhere, whenever nothing may start."""
        self._waiting[take] = None

    def leave(self, take: Take) -> None:
        """Fail nothing any more that waits there."""
        self._waiting.pop(take, None)

    def admits(self, call: Call) -> bool:
        """Say whether the call may be queued; else it has failed."""
        now = self._means.clock()
        probes = sum([guard.may_probe(now) for guard in self._guards])
        share = max([guard.share(now) for guard in self._guards], default=1.0)
        if share >= 1.0:
            self.is_narrow = False
        if share > self._dice() or (probes and self._is_probe(call, probes)):
            return True
        call.fail(self.refusal(now))
        return False

    def refusal(self, now: float) -> BreakerOpen:
        """Return why nothing may start, and when to try again."""
        waits = [guard.breaker.reading(now).next_try_s for guard in self._guards]
        known = min((wait for wait in waits if wait is not None), default=_SOON_S)
        return BreakerOpen(
            f"{self._name} failed too often lately: it is tried again by itself",
            retry_after_s=max(known, _SOON_S),
        )

    def readings(self) -> tuple[tuple[str, Reading], ...]:
        """Return how each executor is, by name."""
        now = self._means.clock()
        return tuple((guard.name, guard.breaker.reading(now)) for guard in self._guards)

    def _is_probe(self, call: Call, guards: int) -> bool:
        """Say whether a call is let in to see how the executors are."""
        self._probing = [one for one in self._probing if not one.done]
        if len(self._probing) >= self._policy.probes * guards:
            return False
        self._probing.append(call)
        return True

    def _changed(self, guard: Guard) -> None:
        """Hear that an executor's breaker is in another state, or that nothing can run there."""
        reading = guard.breaker.reading(self._means.clock())
        if reading.state is not guard.shown:
            guard.shown = reading.state
            self._show(guard.name, reading.state)
            _log.warning("%s", _told(self._name, guard, reading))
        self._look()

    def _look(self) -> None:
        """See whether calls must be looked at, and whether any execution may start."""
        now = self._means.clock()
        self.is_narrow = bool(self._guards) and all(one.share(now) < 1.0 for one in self._guards)
        if self.is_narrow and all(one.is_shut(now) for one in self._guards):
            refusal = self.refusal(now)
            for take in tuple(self._waiting):
                refuse(take(), refusal)


def _told(version: str, guard: Guard, reading: Reading) -> str:
    what = f"the breaker of {version}, {guard.name}, is {reading.state.name}"
    if reading.state is State.OPEN and guard.is_stuck():
        return f"{what}: all that can run of it hangs"
    if reading.state is not State.OPEN or not reading.calls:
        return what
    failed, slow = reading.failure_ratio, reading.slow_ratio
    return f"{what}: of {reading.calls} executions {failed:.0%} failed and {slow:.0%} were slow"
