"""The breaker, transition by transition."""

import math
from collections.abc import Callable

import pytest

from gateway.core.breaker import Breaker, Outcome, Policy, State

SUCCESS, FAILURE, VOID = Outcome.SUCCESS, Outcome.FAILURE, Outcome.VOID
CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
START = 1000.0
LEFT = [State.FORCED_OPEN, State.DISABLED, State.METRICS_ONLY]


def fair() -> float:
    """Neither shorten nor lengthen what is drawn."""
    return 0.5


class Story:
    """A breaker and its time."""

    def __init__(self, policy: Policy | None = None, state: State = CLOSED) -> None:
        self.now = START
        self.breaker = Breaker(policy or Policy(), START, state)
        self.dice: Callable[[], float] = fair

    def run(self, *outcomes: Outcome, is_slow: bool = False) -> int:
        """Execute one after another; return how many could start."""
        return sum(self.tell(self.begin(), outcome, is_slow) for outcome in outcomes)

    def begin(self) -> int | None:
        return self.breaker.permit(self.now, self.dice)

    def tell(self, permit: int | None, outcome: Outcome, is_slow: bool = False) -> bool:
        if permit is not None:
            self.breaker.record(permit, outcome, is_slow, self.now, self.dice)
        return permit is not None

    def open(self) -> "Story":
        self.run(*[FAILURE] * 20)
        assert self.state is OPEN
        return self

    def half_open(self) -> "Story":
        """Open, wait, and have one probe on its way and back again."""
        self.open().wait(5.0)
        assert self.run(VOID) == 1
        assert self.state is HALF_OPEN
        return self

    def wait(self, seconds: float) -> "Story":
        self.now += seconds
        return self

    @property
    def state(self) -> State:
        return self.breaker.state


def test_closed_it_lets_everything_start() -> None:
    assert Story().run(*[SUCCESS] * 100) == 100


def test_fewer_calls_than_the_minimum_do_not_open_it() -> None:
    story = Story()
    story.run(*[FAILURE] * 19)
    assert story.state is CLOSED
    story.run(FAILURE)
    assert story.state is OPEN


def test_half_of_the_calls_must_fail() -> None:
    story = Story()
    story.run(*[SUCCESS] * 11, *[FAILURE] * 10)
    assert story.state is CLOSED
    story.run(FAILURE)
    assert story.state is OPEN


def test_the_success_that_makes_the_calls_enough_shows_that_too_many_failed() -> None:
    story = Story()
    story.run(*[FAILURE] * 19, SUCCESS)
    assert story.state is OPEN


def test_slow_successes_open_it_too_though_it_takes_more_of_them() -> None:
    story = Story()
    story.run(*[SUCCESS] * 5)
    story.run(*[SUCCESS] * 19, is_slow=True)
    assert story.state is CLOSED
    story.run(SUCCESS, is_slow=True)
    assert story.state is OPEN


def test_one_poisoned_call_of_fifty_never_opens_it() -> None:
    story = Story()
    for _ in range(100):
        story.run(*[SUCCESS] * 49, FAILURE)
        story.wait(0.3)
    assert story.state is CLOSED


def test_void_outcomes_teach_nothing() -> None:
    story = Story()
    story.run(*[VOID] * 1000)
    story.run(*[FAILURE] * 19)
    assert story.state is CLOSED
    assert story.breaker.reading(story.now).calls == 19


def test_what_is_older_than_the_window_is_forgotten() -> None:
    story = Story()
    story.run(*[FAILURE] * 19)
    story.wait(10.0).run(*[FAILURE] * 19)
    assert story.state is CLOSED


def test_open_it_lets_nothing_start_before_its_time() -> None:
    story = Story().open()
    assert story.wait(4.99).run(SUCCESS) == 0
    assert story.wait(0.01).run(VOID) == 1


@pytest.mark.parametrize(("rolled", "expected_s"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)])
def test_dice_move_the_end_of_an_open_time_by_a_fifth(rolled: float, expected_s: float) -> None:
    story = Story()
    story.dice = lambda: rolled
    story.open()
    assert story.breaker.reading(story.now).next_try_s == pytest.approx(expected_s)


def test_opening_again_and_again_takes_twice_as_long_up_to_a_minute() -> None:
    story, waits = Story(), []
    story.open()
    for _ in range(6):
        wait_s = story.breaker.reading(story.now).next_try_s
        assert wait_s is not None
        waits.append(wait_s)
        story.wait(wait_s).run(FAILURE, FAILURE)
        assert story.state is OPEN
    assert waits == pytest.approx([5, 10, 20, 40, 60, 60])


def test_an_age_of_failures_overflows_nothing() -> None:
    story = Story(Policy(probes=1)).open()
    for _ in range(2000):
        story.wait(1000.0).run(FAILURE)
    assert story.breaker.reading(story.now).next_try_s == 60.0


def test_half_open_lets_three_probes_start_and_no_more() -> None:
    story = Story().half_open()
    permits = [story.begin() for _ in range(5)]
    assert [permit is not None for permit in permits] == [True, True, True, False, False]


def test_a_void_probe_gives_its_permit_back() -> None:
    story = Story().half_open()
    assert story.run(*[VOID] * 50) == 50
    assert story.state is HALF_OPEN


def test_it_closes_as_soon_as_the_last_probe_cannot_change_it() -> None:
    story = Story().half_open()
    story.run(SUCCESS)
    assert story.state is HALF_OPEN
    story.run(SUCCESS)
    assert story.state is CLOSED


def test_one_failure_among_three_probes_closes_it_still() -> None:
    story = Story().half_open()
    story.run(FAILURE)
    assert story.state is HALF_OPEN
    story.run(SUCCESS, SUCCESS)
    assert story.state is CLOSED


def test_two_failures_among_three_probes_open_it_again() -> None:
    story = Story().half_open()
    story.run(FAILURE, FAILURE)
    assert story.state is OPEN


def test_probes_that_are_all_slow_open_it_again() -> None:
    story = Story().half_open()
    story.run(SUCCESS, SUCCESS, is_slow=True)
    assert story.state is HALF_OPEN
    story.run(SUCCESS, is_slow=True)
    assert story.state is OPEN


def test_a_probe_that_never_ends_does_not_keep_it_half_open() -> None:
    story = Story().half_open()
    hung = story.begin()
    assert hung is not None
    story.wait(9.99).breaker.settle(story.now, fair)
    assert story.state is HALF_OPEN
    assert story.wait(0.01).run(SUCCESS) == 0
    assert story.state is OPEN
    assert story.breaker.reading(story.now).next_try_s == pytest.approx(10.0)


@pytest.mark.parametrize("outcome", [SUCCESS, FAILURE, VOID])
def test_a_late_probe_changes_nothing(outcome: Outcome) -> None:
    story = Story().half_open()
    late = story.begin()
    story.wait(10.0).run(SUCCESS)
    before = story.breaker.reading(story.now)
    for _ in range(30):
        story.tell(late, outcome)
    assert story.breaker.reading(story.now) == before


def test_results_from_before_it_opened_do_not_count_among_the_probes() -> None:
    story = Story()
    old = story.begin()
    story.half_open()
    for _ in range(3):
        story.tell(old, SUCCESS)
    assert story.state is HALF_OPEN


def test_one_that_is_asked_seldom_is_not_refused_for_ever() -> None:
    """Each probe goes well, and half open it would be over before the next one comes."""
    story = Story().half_open()
    for _ in range(5):
        assert story.wait(30.0).run(SUCCESS) == 1
        assert story.state is HALF_OPEN
    assert story.wait(1.0).run(SUCCESS) == 1
    assert story.state is CLOSED


def test_a_failed_probe_that_nobody_followed_opens_it_again() -> None:
    story = Story().half_open()
    story.run(FAILURE)
    assert story.wait(10.0).run(SUCCESS) == 0
    assert story.breaker.reading(story.now).next_try_s == pytest.approx(10.0)


def test_it_begins_anew_once_closed() -> None:
    story = Story().half_open()
    story.run(SUCCESS, SUCCESS)
    assert story.breaker.reading(story.now).calls == 0
    story.run(*[FAILURE] * 19)
    assert story.state is CLOSED


def test_a_relapse_before_it_is_steady_lasts_twice_as_long() -> None:
    story = Story().half_open()
    story.run(SUCCESS, SUCCESS)
    story.wait(9.0).run(*[FAILURE] * 20)
    assert story.breaker.reading(story.now).next_try_s == pytest.approx(10.0)


def test_a_relapse_after_it_was_steady_counts_as_the_first() -> None:
    story = Story().half_open()
    story.run(SUCCESS, SUCCESS)
    story.wait(10.0).run(*[FAILURE] * 20)
    assert story.breaker.reading(story.now).next_try_s == pytest.approx(5.0)


def test_after_closing_its_share_of_the_calls_grows_to_all_of_them() -> None:
    story = Story().half_open()
    assert story.breaker.share(story.now) == 0.0
    story.run(SUCCESS, SUCCESS)
    shares = []
    for _ in range(6):
        shares.append(story.breaker.share(story.now))
        story.wait(2.0)
    assert shares == pytest.approx([0.1, 0.28, 0.46, 0.64, 0.82, 1.0])


def test_one_that_never_opened_takes_every_call() -> None:
    assert Story().breaker.share(START) == 1.0


@pytest.mark.parametrize("where", [Story.wait, Story.half_open])
def test_where_nothing_can_run_any_more_it_opens_at_once(where: Callable[..., Story]) -> None:
    story = where(Story()) if where is Story.half_open else where(Story(), 1.0)
    story.breaker.trip(story.now, fair)
    assert story.state is OPEN
    assert story.run(SUCCESS) == 0


def test_what_is_open_is_not_opened_again_by_hand() -> None:
    story = Story().open()
    generation = story.breaker.generation
    story.wait(1.0).breaker.trip(story.now, fair)
    assert (story.breaker.generation, story.breaker.since) == (generation, START)


@pytest.mark.parametrize("state", LEFT)
def test_what_operators_ordered_stays_whatever_happens(state: State) -> None:
    story = Story()
    story.breaker.force(state, story.now)
    for _ in range(10):
        story.run(*[FAILURE] * 50, is_slow=True)
        story.breaker.trip(story.now, fair)
        story.breaker.settle(story.now, fair)
        story.wait(60.0)
    assert story.state is state
    assert story.run(SUCCESS) == (state is not State.FORCED_OPEN)


def test_metrics_only_counts_and_disabled_does_not_refuse_to() -> None:
    story = Story(state=State.METRICS_ONLY)
    story.run(*[FAILURE] * 30, *[SUCCESS] * 30)
    reading = story.breaker.reading(story.now)
    assert (reading.state, reading.calls, reading.failure_ratio) == (State.METRICS_ONLY, 60, 0.5)


def test_an_operator_who_closes_it_begins_anew() -> None:
    story = Story().open()
    story.breaker.force(CLOSED, story.now)
    assert story.run(*[FAILURE] * 19) == 19
    assert (story.state, story.breaker.share(story.now)) == (CLOSED, 1.0)


def test_an_operator_who_closes_it_makes_it_forget_how_often_it_had_opened() -> None:
    story = Story().half_open()
    story.run(SUCCESS, SUCCESS)
    story.breaker.force(CLOSED, story.now)
    assert story.breaker.share(story.now) == 1.0
    assert story.open().breaker.reading(story.now).next_try_s == pytest.approx(5.0)


@pytest.mark.parametrize("state", [OPEN, HALF_OPEN])
def test_nobody_orders_what_only_it_can_find_out(state: State) -> None:
    with pytest.raises(AssertionError):
        Story().breaker.force(state, START)


def test_a_reading_says_what_opened_it_for_as_long_as_it_is_open() -> None:
    story = Story()
    story.run(*[SUCCESS] * 5)
    story.run(*[FAILURE] * 15, is_slow=True)
    for _ in range(2):
        reading = story.breaker.reading(story.now)
        assert (reading.state, reading.since, reading.calls) == (OPEN, START, 20)
        assert (reading.failure_ratio, reading.slow_ratio) == (0.75, 0.75)
        story.wait(100.0)
    assert story.breaker.reading(story.now).next_try_s == 0.0


def test_when_it_is_tried_again_is_unknown_where_an_operator_decides() -> None:
    story = Story()
    story.breaker.force(State.FORCED_OPEN, story.now)
    assert story.breaker.reading(story.now).next_try_s is None


def test_the_worse_it_is_the_higher_its_number() -> None:
    assert sorted(State) == [
        State.DISABLED, State.METRICS_ONLY, CLOSED, HALF_OPEN, OPEN, State.FORCED_OPEN,
    ]  # fmt: skip
    assert (CLOSED, HALF_OPEN, OPEN) == (0, 1, 2)
    assert math.prod(State) == 0


def test_there_is_a_next_try_only_where_nothing_runs_or_it_is_being_tried() -> None:
    breaker = Breaker(Policy(), 0.0, State.CLOSED)
    assert breaker.reading(1.0).next_try_s is None
    breaker.trip(1.0, lambda: 0.5)
    assert breaker.reading(1.0).next_try_s == pytest.approx(5.0)
