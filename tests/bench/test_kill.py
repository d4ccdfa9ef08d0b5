import math
import signal
from pathlib import Path

import pytest
import redis

from bench.courses import ClientsReport, Counts, Report
from bench.kill import Trial, felt_s, judge, redis_server, unmeasured, wait_until
from bench.managed import NeverSo
from bench.ratios import Verdict

CALM = Counts(10, 0, 0, 10, {"200": 10}, 0.005, 0.01, 0.012)
BAD = Counts(10, 0, 0, 5, {"200": 5, "500": 4, "hung": 1}, 0.5, 1.0, 1.0)


def trial(after: Counts = CALM, bad: int = 0, mended_s: float = 0.5) -> Trial:
    slices = (CALM,) * 30 + (BAD,) * bad + (CALM,) * (150 - bad)
    return Trial(
        Report(0.0, 0.1, 0.0, (ClientsReport("a", slices, (CALM, after), 0, 0),)), mended_s
    )


def test_no_request_may_fail_or_hang() -> None:
    failed, hung, mended, felt = judge("it", [trial(), trial(mended_s=1.5)])
    assert isinstance(failed, Verdict)
    assert isinstance(hung, Verdict)
    assert (failed.is_met, hung.is_met) == (True, True)
    assert (mended.seen.median, felt.seen.median) == (1.0, 0.0)
    failed, hung, *_ = judge("it", [trial(), trial(BAD)])
    assert isinstance(failed, Verdict)
    assert isinstance(hung, Verdict)
    assert (failed.is_met, failed.seen.median) == (False, 5.0)
    assert (hung.is_met, hung.seen.median) == (False, 1.0)


def test_recovery_counts_from_the_fault() -> None:
    assert felt_s(trial(bad=20).report) == pytest.approx(1.9)  # one slice of a second may be bad
    assert felt_s(trial().report) == 0.0


def test_a_bar_that_nobody_could_look_at_is_not_met() -> None:
    verdict = unmeasured("it", "first line\nthe reason\n")
    assert not verdict.is_met
    assert math.isnan(verdict.seen.median)
    assert verdict.note == "not measured: the reason"


def test_what_never_comes_is_waited_for_no_longer_than_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.kill.WAIT_S", 0.05)
    wait_until(lambda: True, "it")
    with pytest.raises(NeverSo, match="expected it within"):
        wait_until(lambda: False, "it")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_redis_comes_back_with_what_it_had(tmp_path: Path, number: signal.Signals) -> None:
    with redis_server(tmp_path) as store:
        client = redis.Redis(port=store.port, socket_timeout=30)
        wait_until(lambda: is_up(client), "Redis")
        client.set("what", "it had")
        store.strike(number)
        store.mend(number)
        wait_until(lambda: is_up(client), "Redis again")
        assert client.get("what") == b"it had"
        client.close()


def is_up(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
