"""The first law: every Call is answered exactly once, whatever fails, leaves or expires;
and it is counted once, before it is answered.

A story is a schedule of what clients and executors do, made by Hypothesis and played in
virtual time. Its times are multiples of 1/64 s, so that sums and differences of them are
exact. The executor judges every batch it is given; afterwards every call is judged.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.batch.admission import Admission
from gateway.batch.batcher import Batcher, Finish, Statistics
from gateway.core.batching import Policy
from gateway.core.costs import Cost
from gateway.core.limiting import Bounds, Pace
from gateway.errors import (
    ClientGone,
    DeadlineExceeded,
    Draining,
    GatewayError,
    ModelFailed,
    Overloaded,
)
from gateway.observe.counts import Counts, read
from gateway.observe.layout import FAILED_OUTCOMES, OUTCOME_NAMES, SUCCESS_NS
from gateway.observe.record import Record
from gateway.types import Call, Outputs
from tests.clock import play
from tests.fakes import POISON, FakeModel, a_call, a_row, answer_of, now, rows_of

TICK_S = 1 / 64
RING_S = 0.005 + 1e-9  # an alarm may ring so much late


@dataclass(frozen=True, slots=True)
class Offer:
    """A client asks; it may leave, and it may ask again as soon as it is answered."""

    rows: int
    width: int
    priority: int
    patience: float  # ticks; inf: no deadline
    leaves_after: int | None  # ticks
    is_poisoned: bool
    asks_again: bool


@dataclass(frozen=True, slots=True)
class Pass:
    """Time passes; zero ticks are one turn of the loop."""

    ticks: int


@dataclass(frozen=True, slots=True)
class Move:
    """The model moves to another executor, perhaps with another maximum."""

    max_rows: int
    max_running: int


@dataclass(frozen=True, slots=True)
class Story:
    steps: Sequence[Offer | Pass | Move]
    costs: Sequence[int | None]  # ticks of each execution, again and again; None: it hangs
    bad_habits: Sequence[bool]  # raises instead of finishing with an error, says things twice
    policy: Policy
    dies: bool  # cancelled instead of closed
    pace: Cost | None = None  # what is known of executions, true or not; None: nothing is


@dataclass(slots=True)
class Judge:
    """Hears all that is said about calls and batches."""

    story: Story
    policy: Policy
    heard: Counter[int] = field(default_factory=Counter)
    answered_at: dict[int, float] = field(default_factory=dict)
    calls: list[tuple[Offer, Call]] = field(default_factory=list)
    executions: int = 0
    running: int = 0
    largest_rows: int = 0  # the largest maximum there was
    has_moved: bool = False
    broken: list[str] = field(default_factory=list)
    row: memoryview = field(default_factory=a_row)
    record: Record = field(init=False)
    succeeded: int = 0

    def __post_init__(self) -> None:
        self.record = Record(self.row)

    def make(self, offer: Offer, batcher: Batcher) -> Call:
        number = float(len(self.calls) + 1)
        rows = [number] * offer.rows
        if offer.is_poisoned:
            rows[offer.rows // 2] = POISON

        def hear(call: Call) -> None:
            self.heard[id(call)] += 1
            self.answered_at[id(call)] = now()
            self.count(call)
            if offer.asks_again and self.heard[id(call)] == 1:
                again = Offer(1, 1 + offer.width % 3, 0, math.inf, None, False, False)
                batcher.offer(self.make(again, batcher))

        call = a_call(
            *rows,
            width=offer.width,
            deadline=now() + offer.patience * TICK_S,
            priority=offer.priority,
            arrived=now(),
            on_done=hear,
        )
        self.calls.append((offer, call))
        return call

    def count(self, call: Call) -> None:
        """Count what was lost, as the wire does; look whether what was not is counted."""
        if call.error is None:
            self.succeeded += 1
            if outcome(read(self.row), "success") < self.succeeded:
                self.broken.append("it is counted before it is answered")
        else:
            assert isinstance(call.error, GatewayError)
            self.record.refuse(call.error.code, now() - call.arrived, call.rows)

    def inspect(self, calls: Sequence[Call]) -> None:
        """Keep what is wrong with a batch: raised here, it would pass for the model's error."""
        rows = sum(call.rows for call in calls)
        laws = {
            "it holds somebody": bool(calls),
            "all of it is wanted": all(not c.done and c.deadline > now() for c in calls),
            "it does not mix shapes": len({call.shapes for call in calls}) == 1,
            "it fits": rows <= (self.largest_rows if self.has_moved else self.policy.max_rows),
            "it has an executor": self.has_moved or self.running < self.policy.max_running,
        }
        self.broken += [law for law, holds in laws.items() if not holds]

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        """Execute as the story says."""
        self.inspect(calls)
        cost = self.story.costs[self.executions % len(self.story.costs)]
        is_bad = self.story.bad_habits[self.executions % len(self.story.bad_habits)]
        self.executions += 1
        result = FakeModel().result(calls)
        if isinstance(result, Outputs):
            result.input_ns, result.infer_ns, result.output_ns = 300, 5_000_000, 70
        if cost:
            self.running += 1
            asyncio.get_running_loop().call_later(cost * TICK_S, self._end, finish, result)
        elif cost is None:
            self.running += 1
        elif is_bad and isinstance(result, Exception):
            raise result
        else:
            finish(result)
        if is_bad and cost == 0:
            finish(RuntimeError("a second word"))

    def _end(self, finish: Finish, result: object) -> None:
        self.running -= 1
        finish(result)  # type: ignore[arg-type]  # it went through call_later, which forgets


async def play_story(story: Story) -> Judge:
    judge = Judge(story, story.policy, largest_rows=story.policy.max_rows)
    loop = asyncio.get_running_loop()
    raised: list[object] = []
    loop.set_exception_handler(lambda _, context: raised.append(context))
    bounds = Bounds(story.policy.max_waiting_rows, interval_s=4 * TICK_S, levels=2, usual=0)
    pace = None
    if story.pace is not None:
        pace = Pace(story.pace, story.policy.max_rows, story.policy.max_running)
    admission = Admission(bounds, pace, lambda: 0.5)
    batcher = Batcher(judge.run, story.policy, judge.record, now, admission=admission)

    async def live() -> None:
        async with batcher:
            for step in story.steps:
                await take(step, judge, batcher)

    life = asyncio.create_task(live())
    if story.dies:
        await asyncio.sleep(20 * TICK_S)
        life.cancel()
    await asyncio.wait([life])
    assert life.cancelled() or life.exception() is None
    assert raised == []
    assert judge.broken == []
    assert batcher.statistics() == Statistics(0, 0)
    late = judge.make(Offer(1, 1, 0, math.inf, None, False, False), batcher)
    batcher.offer(late)
    assert answer_of(late) == Draining
    await asyncio.sleep(1e4)  # whatever is said afterwards is not heard
    return judge


async def take(step: Offer | Pass | Move, judge: Judge, batcher: Batcher) -> None:
    if isinstance(step, Pass):
        await asyncio.sleep(step.ticks * TICK_S)
    elif isinstance(step, Move):
        old = judge.policy
        judge.policy = Policy(
            step.max_rows, old.max_wait_s, step.max_running, old.max_waiting_rows, old.drain_s
        )
        judge.largest_rows = max(judge.largest_rows, step.max_rows)
        judge.has_moved = True
        batcher.move(judge.run, judge.policy)
    else:
        call = judge.make(step, batcher)
        if step.leaves_after is not None:
            leaving = ClientGone("connection closed")
            asyncio.get_running_loop().call_later(step.leaves_after * TICK_S, call.fail, leaving)
        batcher.offer(call)


TICKS = st.integers(0, 12)
OFFERS = st.builds(
    Offer,
    rows=st.integers(1, 12),
    width=st.integers(1, 3),
    priority=st.integers(-1, 1),
    patience=st.one_of(st.just(math.inf), st.integers(-1, 40).map(float)),
    leaves_after=st.one_of(st.none(), st.none(), TICKS),
    is_poisoned=st.sampled_from([False, False, False, True]),
    asks_again=st.booleans(),
)
MOVES = st.builds(Move, max_rows=st.integers(1, 8), max_running=st.integers(1, 3))
STEPS = st.lists(st.one_of(OFFERS, OFFERS, OFFERS, st.builds(Pass, TICKS), MOVES), max_size=25)
POLICIES = st.builds(
    Policy,
    max_rows=st.integers(1, 8),
    max_wait_s=st.sampled_from([0.0, 0.0, 4 * TICK_S]),
    max_running=st.integers(1, 3),
    max_waiting_rows=st.sampled_from([20, 1000]),
    drain_s=st.sampled_from([0.0, 10 * TICK_S, 1e3]),
)
ANY_COSTS = st.lists(st.one_of(st.none(), st.integers(0, 9), st.just(0)), min_size=1, max_size=5)
FINITE_COSTS = st.lists(st.integers(0, 9), min_size=1, max_size=5)
POISONED = Offer(3, 1, 0, math.inf, None, True, False)
GOOD = Offer(5, 1, 0, math.inf, None, False, True)
LEAVER = Offer(3, 1, 0, math.inf, 2, False, False)  # while its batch runs, if that is slow
LEFT = Story([LEAVER, GOOD, LEAVER, Pass(9)], [4], [False], Policy(max_rows=20), False)
FAST = Story([GOOD, POISONED, GOOD], [0], [True], Policy(max_rows=2, drain_s=1e9), False)
PACES = st.one_of(
    st.none(),
    st.builds(Cost, st.sampled_from([0.0, TICK_S / 4, TICK_S]), st.sampled_from([0.0, 4 * TICK_S])),
)
HABITS = st.lists(st.booleans(), min_size=1, max_size=3)


def fate_is_fair(judge: Judge, offer: Offer, call: Call) -> bool:
    """Whether what a call was told could have happened to it."""
    told = answer_of(call)
    at_s = judge.answered_at[id(call)]
    if told == ClientGone:
        return offer.leaves_after is not None
    if isinstance(call.error, DeadlineExceeded):
        is_foreseen = judge.story.pace is not None and call.error.stage != "execute"
        return call.deadline <= at_s or (is_foreseen and call.deadline < math.inf)
    if told == ModelFailed:
        return offer.is_poisoned
    if told in (Draining, Overloaded):
        return True  # judged where the story knows when it closes, and how much waits
    return told == [2 * row for row in rows_of(call)]


@given(st.builds(Story, STEPS, ANY_COSTS, HABITS, POLICIES, st.booleans(), PACES))
def test_every_call_is_answered_exactly_once(story: Story) -> None:
    judge = play(lambda: play_story(story))
    assert [judge.heard[id(call)] for _, call in judge.calls] == [1] * len(judge.calls)
    unfair = [call for offer, call in judge.calls if not fate_is_fair(judge, offer, call)]
    assert unfair == []


@given(st.builds(Story, STEPS, ANY_COSTS, HABITS, POLICIES, st.just(False), PACES))
def test_nobody_hears_long_after_its_deadline(story: Story) -> None:
    """Whether it waits, runs, or its executor hangs."""
    judge = play(lambda: play_story(story))
    late = [
        call
        for _, call in judge.calls
        if judge.answered_at[id(call)] > max(call.deadline, call.arrived) + RING_S
    ]
    assert late == []


def outcome(counts: Counts, name: str) -> int:
    return counts.outcomes[OUTCOME_NAMES.index(name)]


@given(st.builds(Story, STEPS, ANY_COSTS, HABITS, POLICIES, st.booleans(), PACES))
@example(FAST)
@example(LEFT)
def test_every_call_is_counted_exactly_once(story: Story) -> None:
    """Under what it was told, whoever its batchmates were and whether it was cut into parts."""
    judge = play(lambda: play_story(story))
    counts = read(judge.row)
    told = Counter(
        "success" if call.error is None else getattr(call.error, "code", "?")
        for _, call in judge.calls
    )
    assert dict(zip(OUTCOME_NAMES, counts.outcomes, strict=True)) == {
        name: told[name] for name in OUTCOME_NAMES
    }
    assert sum(counts.outcomes) == len(judge.calls)
    assert sum(counts.queue) == outcome(counts, "success")
    failed = sum(outcome(counts, name) for name in FAILED_OUTCOMES)
    assert sum(counts.request) == outcome(counts, "success") + failed


@given(st.builds(Story, STEPS, ANY_COSTS, HABITS, POLICIES, st.booleans(), PACES))
@example(FAST)
@example(LEFT)
@example(Story([GOOD, GOOD], [3], [False], Policy(max_rows=2, max_running=3), False))
def test_the_identities_of_the_protocol_hold(story: Story) -> None:
    """Source: the protocol, chapter 10."""
    judge = play(lambda: play_story(story))
    counts = read(judge.row)
    assert counts.executing == 0
    assert counts.executions == sum(counts.execution) == judge.executions
    assert sum(size[0] for size in counts.sizes.values()) <= counts.executions
    assert counts.inferences == sum(rows * size[0] for rows, size in counts.sizes.items())
    compute_ns = counts.input_ns + counts.infer_ns + counts.output_ns
    assert judge.row[SUCCESS_NS] >= counts.queue_ns + compute_ns  # reading mends what it can
    assert compute_ns == outcome(counts, "success") * (300 + 5_000_000 + 70)
    served = sum(call.rows for _, call in judge.calls if call.error is None)
    lost = sum(call.rows for _, call in judge.calls if call.error is not None)
    # a call that was cut into parts may have lost its last part only
    was_split = judge.has_moved or any(c.rows > story.policy.max_rows for _, c in judge.calls)
    assert served <= counts.inferences <= served + (lost if was_split else 0)


ROOMY = st.builds(
    Policy,
    max_rows=st.integers(1, 8),
    max_wait_s=st.sampled_from([0.0, 4 * TICK_S]),
    max_running=st.integers(1, 3),
    max_waiting_rows=st.just(10**6),
    drain_s=st.just(1e9),
)


@given(st.builds(Story, STEPS, FINITE_COSTS, HABITS, ROOMY, st.just(False)))
@example(FAST)
def test_whoever_asked_well_and_stayed_is_answered_with_its_own_rows(story: Story) -> None:
    """Nobody's poison, leaving or lateness harms a batchmate; closing cuts nobody off."""
    judge = play(lambda: play_story(story))
    closing_s = sum(step.ticks for step in story.steps if isinstance(step, Pass)) * TICK_S
    for offer, call in judge.calls:
        told = answer_of(call)
        if told == Draining:
            assert call.arrived >= closing_s
        elif offer.is_poisoned:
            assert told in (ModelFailed, ClientGone, DeadlineExceeded)
        elif offer.leaves_after is None and offer.patience == math.inf:
            assert told == [2 * row for row in rows_of(call)]
        else:
            assert told != ModelFailed


@given(st.lists(st.booleans(), min_size=1, max_size=16), st.sampled_from([0, 3]))
def test_poison_is_found_in_few_executions(poisoned: list[bool], cost: int) -> None:
    """Each guilty call costs at most two executions a halving, and the batch itself one."""
    offers = [Offer(1, 1, 0, math.inf, None, is_poisoned, False) for is_poisoned in poisoned]
    story = Story(offers, [cost], [False], Policy(max_rows=16, drain_s=1e9), dies=False)
    judge = play(lambda: play_story(story))
    halvings = math.ceil(math.log2(len(poisoned)))
    assert judge.executions <= 1 + 2 * sum(poisoned) * halvings
