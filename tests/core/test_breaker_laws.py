"""What holds of a breaker whatever happens to it, and in whatever order.

The machines play clients and operators, and keep books of their own.
"""

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from gateway.core.breaker import Breaker, Outcome, Policy, State

Held = tuple[int, int]  # a permit, and which one it is
OURS = (State.DISABLED, State.METRICS_ONLY, State.FORCED_OPEN)
policies = st.builds(
    Policy,
    window_s=st.integers(1, 12),
    minimum_calls=st.integers(1, 6),
    failure_ratio=st.sampled_from([0.1, 0.5, 1.0]),
    slow_ratio=st.sampled_from([0.1, 0.8, 1.0]),
    open_s=st.sampled_from([0.5, 5.0]),
    max_open_s=st.sampled_from([5.0, 60.0]),
    probes=st.integers(1, 4),
    half_open_s=st.sampled_from([1.0, 10.0]),
    slow_start_s=st.sampled_from([0.5, 10.0]),
)


class Clients(RuleBasedStateMachine):
    """Executions begin and end as they like, and time passes."""

    held = Bundle("held")

    @initialize(policy=policies)
    def begin(self, policy: Policy) -> None:
        self.policy = policy
        self.now = 1000.0
        self.rolled = 0.5
        self.breaker = Breaker(policy, self.now)
        self.out: dict[int, set[int]] = {}  # permits not given back, by generation
        self.results = 0  # of probes, in this generation
        self.issued = 0
        self.ordered: State | None = None
        self.last = self.seen()
        self.share = 1.0

    def dice(self) -> float:
        return self.rolled

    def seen(self) -> tuple[State, int, float]:
        return self.breaker.state, self.breaker.generation, self.breaker.since

    @rule(passed_s=st.sampled_from([0.0, 0.01, 0.5, 1.0, 4.0, 11.0, 90.0]))
    def wait(self, passed_s: float) -> None:
        self.now += passed_s

    @precondition(lambda self: self.breaker.state is State.OPEN)
    @rule()
    def wait_until_it_is_tried(self) -> None:
        self.now += self.breaker.reading(self.now).next_try_s or 0.0

    @precondition(lambda self: self.breaker.state is State.CLOSED)
    @rule()
    def break_down(self) -> None:
        for _ in range(self.policy.minimum_calls):
            self.issued += 1
            permit = self.breaker.permit(self.now, self.dice)
            assert permit is not None
            self.breaker.record(permit, Outcome.FAILURE, False, self.now, self.dice)
            self.look()
            if self.breaker.state is State.OPEN:
                return

    @rule(rolled=st.floats(0, 1, exclude_max=True))
    def roll(self, rolled: float) -> None:
        self.rolled = rolled

    @rule(target=held)
    def start(self) -> Held:
        may_start = self.breaker.may_start(self.now)
        permit = self.breaker.permit(self.now, self.dice)
        # Only a HALF_OPEN that is over answers another question than was asked.
        if self.last[0] is not State.HALF_OPEN:
            assert may_start == (permit is not None)
        self.look()
        assume(permit is not None)
        assert permit is not None
        assert permit == self.breaker.generation
        self.issued += 1
        self.out.setdefault(permit, set()).add(self.issued)
        return permit, self.issued

    @rule(one=consumes(held), outcome=st.sampled_from(Outcome), is_slow=st.booleans())
    def end(self, one: Held, outcome: Outcome, is_slow: bool) -> None:
        permit, number = one
        before = self.breaker.reading(self.now), self.seen()
        is_late = permit != self.breaker.generation
        self.out[permit].discard(number)
        if not is_late and self.breaker.state is State.HALF_OPEN:
            self.results += outcome is not Outcome.VOID
        self.breaker.record(permit, outcome, is_slow, self.now, self.dice)
        if is_late:
            assert (self.breaker.reading(self.now), self.seen()) == before
        self.look()

    @rule()
    def settle(self) -> None:
        self.breaker.settle(self.now, self.dice)
        if self.breaker.state is State.HALF_OPEN:
            assert self.now < self.breaker.since + self.policy.half_open_s
        self.look()

    @rule()
    def trip(self) -> None:
        self.breaker.trip(self.now, self.dice)
        assert self.breaker.state in (State.OPEN, *OURS)
        self.look()

    def look(self, by_order: bool = False) -> None:
        """Hold what has just happened against what may happen."""
        before, after = self.last, self.seen()
        if before == after:
            return
        self.last = after
        assert after[1] > before[1]
        assert after[2] == self.now
        self.results = 0
        self.share = 0.0
        if by_order:
            return
        after_which = {
            State.OPEN: (State.CLOSED, State.HALF_OPEN),
            State.HALF_OPEN: (State.OPEN, State.HALF_OPEN),
            State.CLOSED: (State.HALF_OPEN,),
        }
        assert before[0] in after_which[after[0]]
        if after[0] is State.OPEN:
            wait_s = self.breaker.reading(self.now).next_try_s
            assert wait_s is not None
            longest_s = max(self.policy.open_s, self.policy.max_open_s)
            assert wait_s <= 1.2 * longest_s
            is_idle = before[0] is State.HALF_OPEN and wait_s == 0.0
            assert is_idle or wait_s >= 0.8 * min(self.policy.open_s, self.policy.max_open_s) - 1e-9

    @invariant()
    def no_more_than_the_probes_are_on_their_way_or_back(self) -> None:
        if self.breaker.state is State.HALF_OPEN:
            away = len(self.out.get(self.breaker.generation, ()))
            assert away + self.results <= self.policy.probes
            # and every permit that came back without a result is there for another
            assert self.breaker.may_start(self.now) == (away + self.results < self.policy.probes)

    @invariant()
    def what_is_half_open_is_undecided(self) -> None:
        if self.breaker.state is State.HALF_OPEN:
            assert self.results < self.policy.probes

    @invariant()
    def only_operators_leave_what_operators_ordered(self) -> None:
        if self.ordered is not None:
            assert self.breaker.state is self.ordered
        else:
            assert self.breaker.state not in OURS

    @invariant()
    def its_share_only_grows_while_it_is_closed(self) -> None:
        share = self.breaker.share(self.now)
        assert 0.0 <= share <= 1.0
        if self.breaker.state is State.CLOSED:
            assert share >= max(self.share, self.policy.slow_start_ratio)
            self.share = share
        elif self.breaker.state > State.CLOSED:
            assert share == 0.0

    @invariant()
    def open_it_is_tried_again_when_its_time_is_over(self) -> None:
        if self.breaker.state is State.OPEN:
            wait_s = self.breaker.reading(self.now).next_try_s
            assert self.breaker.may_start(self.now) == (wait_s == 0.0)

    @invariant()
    def what_is_counted_is_no_more_than_what_ended(self) -> None:
        reading = self.breaker.reading(self.now)
        assert 0 <= reading.calls <= self.issued
        assert 0.0 <= reading.failure_ratio <= 1.0
        assert 0.0 <= reading.slow_ratio <= 1.0


class Operators(Clients):
    """The same, and operators have their say."""

    @precondition(lambda self: self.ordered is None)
    @rule(state=st.sampled_from(OURS))
    def order(self, state: State) -> None:
        self.breaker.force(state, self.now)
        self.ordered = state
        self.look(by_order=True)

    @precondition(lambda self: self.ordered is not None)
    @rule()
    def release(self) -> None:
        self.breaker.force(State.CLOSED, self.now)
        self.ordered = None
        self.look(by_order=True)


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=200, stateful_step_count=60)
TestOperators = Operators.TestCase
TestOperators.settings = settings(max_examples=100, stateful_step_count=60)
