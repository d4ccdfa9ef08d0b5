from typing import cast

import pytest

from gateway.control.messages import Hello
from gateway.supervise.heartbeats import judge
from gateway.supervise.overseer import Policy
from gateway.supervise.replica import Phase, Replica
from tests.clock import play
from tests.supervise.fakes import FakeReplica

POLICY = Policy(heartbeat_timeout_s=2.0, start_timeout_s=60.0)
SECOND_NS = 1_000_000_000


def judged(phase: Phase, beat_ns: int, now_s: float) -> FakeReplica:
    """A replica that began at second 100, after it was looked at."""

    async def scene() -> FakeReplica:
        fake = FakeReplica(Hello(0, 1, "{}"), lambda *_: None, 1)
        fake.phase, fake.beat_ns, fake.began_ns = phase, beat_ns, 100 * SECOND_NS
        judge(cast("Replica", fake), POLICY, round(now_s * SECOND_NS))
        return fake

    return play(scene)


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.SERVING, Phase.RETIRING])
def test_one_that_is_silent_for_too_long_is_killed_whatever_it_is_at(phase: Phase) -> None:
    assert judged(phase, 110 * SECOND_NS, 112.0).kill_reason is None
    silent = judged(phase, 110 * SECOND_NS, 112.1)
    assert silent.kill_reason == "its event loop did not turn for 2.1 s"
    assert silent.was_silent


def test_one_that_never_spoke_has_the_time_of_a_start() -> None:
    assert judged(Phase.STARTING, 0, 160.0).kill_reason is None
    late = judged(Phase.STARTING, 0, 160.1)
    assert late.kill_reason == "it did not start within 60.0 s"
    assert late.was_silent


def test_the_dead_are_not_judged() -> None:
    assert judged(Phase.ENDED, 110 * SECOND_NS, 200.0).kill_reason is None
