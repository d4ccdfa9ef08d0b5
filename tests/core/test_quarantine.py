"""Which version kills whoever executes it."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.quarantine import Death, History, Policy, is_attributable, judge


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGILL,
        signal.SIGFPE,
        signal.SIGABRT,
        signal.SIGSYS,
        signal.SIGTRAP,
    ],
)
def test_a_crash_is_somebody_s_doing(number: signal.Signals) -> None:
    assert is_attributable(Death(-number))


@pytest.mark.parametrize(
    ("death", "expected"),
    [
        (Death(1), True),
        (Death(0), False),
        (Death(-signal.SIGKILL), False),
        (Death(-signal.SIGTERM), False),
        (Death(-signal.SIGHUP), False),
        (Death(-signal.SIGKILL, is_oom=True), True),
        (Death(-signal.SIGTERM, is_oom=True), False),
        (Death(-signal.SIGKILL, was_silent=True), True),
        (Death(-signal.SIGKILL, was_silent=True, was_stopped=True), False),
    ],
)
def test_what_comes_from_outside_is_nobody_s_doing(death: Death, expected: bool) -> None:
    assert is_attributable(death) == expected


def test_two_deaths_under_one_digest_condemn_it() -> None:
    history, condemned = judge(History(), ["a"], 0.0)
    assert condemned == ()
    assert judge(history, ["a"], 599.0)[1] == ("a",)


def test_deaths_that_are_far_apart_do_not() -> None:
    history, _ = judge(History(), ["a"], 0.0)
    assert judge(history, ["a"], 600.0)[1] == ()


def test_only_deaths_count_at_which_a_version_was_executing() -> None:
    history, _ = judge(History(), ["a", "b"], 0.0)
    history, condemned = judge(history, ["b", "c"], 1.0)
    assert condemned == ("b",)
    assert judge(history, ["c"], 2.0)[1] == ("c",)


def test_a_death_with_nothing_executing_accuses_nobody() -> None:
    assert judge(History(), [], 0.0) == (History(), ())


def test_who_is_condemned_begins_anew_if_it_is_loaded_again() -> None:
    history, _ = judge(History(), ["a"], 0.0)
    history, _ = judge(history, ["a"], 1.0)
    assert judge(history, ["a"], 2.0)[1] == ()


def test_the_history_is_bounded() -> None:
    history = History()
    for number in range(1000):
        history, _ = judge(history, [str(number)], 0.0)
    assert len(history.deaths) <= 256


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.floats(0, 400)), max_size=20))
def test_nobody_is_condemned_for_fewer_deaths_of_its_own_than_the_policy_says(
    deaths: list[tuple[set[str], float]],
) -> None:
    policy = Policy(deaths=3)
    history, now = History(), 0.0
    own: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    for suspects, later_s in deaths:
        now += later_s
        history, condemned = judge(history, suspects, now, policy)
        for digest in suspects:
            own[digest] = [at for at in own[digest] if now - at < policy.window_s] + [now]
        expected = tuple(sorted(one for one in suspects if len(own[one]) >= policy.deaths))
        assert condemned == expected
        for digest in condemned:
            own[digest] = []
