"""A short soak in the gate, and proof that it would see what it looks for."""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from gateway.batch.batcher import Batcher, Finish
from gateway.types import Call, Outputs
from tests.soak import eras, whims
from tests.soak.eras import played, threaded, virtual

CALLS = 3000


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["a", "b", "c", "d"])
def test_every_call_is_answered_once_whatever_executors_and_callers_do(seed: str) -> None:
    tally = virtual(seed, CALLS)
    assert tally.faults == []
    assert tally.answered + tally.errors.total() == tally.offered == CALLS
    assert tally.answered > CALLS / 10
    assert {"client_gone", "deadline_exceeded", "model_failed"} <= tally.errors.keys()


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["a", "b"])
def test_real_executors_answer_every_call_once_too(seed: str) -> None:
    tally = threaded(seed, CALLS)
    assert tally.faults == []
    assert tally.answered + tally.errors.total() == CALLS


def test_a_seed_can_be_told_again() -> None:
    first, again, other = (virtual(seed, 500) for seed in ("a", "a", "b"))
    assert first == again != other


class Losing(Batcher):
    """Forgets a call now and then."""

    offered = 0

    def offer(self, call: Call) -> None:
        Losing.offered += 1
        if Losing.offered % 50:
            super().offer(call)


class Repeating(Batcher):
    """Tells a caller twice."""

    def offer(self, call: Call) -> None:
        tell = call.on_done

        def twice(done: Call) -> None:
            tell(done)
            tell(done)

        call.on_done = twice
        super().offer(call)


class Ghost(Batcher):
    """Leaves somebody busy for ever."""

    def offer(self, call: Call) -> None:
        super().offer(call)
        self._busy.add(call)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (Losing, "calls that nobody answered"),
        (Repeating, "a call was answered twice"),
        (Ghost, "batchers that are busy"),
    ],
)
def test_a_batcher_that_errs_is_found_out(
    monkeypatch: pytest.MonkeyPatch, kind: type[Batcher], fault: str
) -> None:
    monkeypatch.setattr(eras, "Batcher", kind)
    assert any(fault in one for one in virtual("a", 1000).faults)


def test_rows_of_another_caller_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = whims.execute

    def mixed(calls: Sequence[Call]) -> Outputs:
        outputs = honest(calls)
        return Outputs([np.roll(outputs.arrays[0], 1, axis=0)], outputs.calls)

    monkeypatch.setattr(whims, "execute", mixed)
    assert any("were answered with" in one for one in virtual("a", 1000).faults)


def test_an_execution_that_nobody_recorded_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    run: Callable[[whims.Whims, Sequence[Call], Finish], None] = whims.Whims.run

    def uncounted(self: whims.Whims, calls: Sequence[Call], finish: Finish) -> None:
        run(self, calls, finish)
        self.runs += 1

    monkeypatch.setattr(whims.Whims, "run", uncounted)
    assert any("executions recorded" in one for one in virtual("a", 1000).faults)


def test_an_era_that_breaks_down_is_a_fault_with_its_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(_era: eras.Era) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(eras.Era, "live", hang)
    (fault,) = played(7, 3).faults
    assert fault.startswith("era 7 3: Stuck(")
