"""Working: a real process opens the version that was proved, within its limits, and no other."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from onnx import TensorProto

from gateway.app.isolated import COMMAND
from gateway.control.opening import OPENING, Opening
from gateway.errors import ModelFailed
from gateway.repository.proof import Proof
from gateway.repository.prove import prove
from gateway.repository.settings import ExecutionSettings, ModelSettings
from gateway.types import Call, Outputs
from tests import models_onnx
from tests.app.test_proving import has_ended
from tests.execute.stage import PATIENCE_S, acted
from tests.execute.test_worker import Keeping
from tests.fakes import a_call, first_column
from tests.repository.versions import CHEAP, FEW, declaring, found

pytestmark = pytest.mark.slow

T = TypeVar("T")
_MIB = 1 << 20


def proof(onnx: Path, settings: ModelSettings = FEW) -> Proof:
    return prove(found(onnx, settings), CHEAP, "p")


class Working(Keeping):
    """A process that works on a version that was proved."""

    def __init__(self, proved: Proof) -> None:
        super().__init__(OPENING.dump_json(Opening(proved)), (*COMMAND, "--model=m", "--version=1"))
        self._signature = proved.signature

    async def runs(self, *calls: Call) -> Outputs | ModelFailed:
        batches = self._signature.max_batch_rows > 0
        return await self.asked(*calls, signature=self._signature, has_rows=batches)


def worked(proved: Proof, scene: Callable[[Working], Coroutine[object, object, T]]) -> T:
    async def act() -> T:
        working = Working(proved)
        try:
            return await scene(working)
        finally:
            working.worker.kill()
            await working.code()

    return acted(act)


def test_what_was_proved_is_run(tmp_path: Path) -> None:
    proved = proof(models_onnx.twice(tmp_path / "model.onnx"))

    async def scene(working: Working) -> list[float]:
        assert await working.readiness() is None
        outputs = await working.runs(a_call(1, 2), a_call(3))
        assert isinstance(outputs, Outputs)
        assert outputs.infer_ns > 0
        return first_column(outputs.arrays[0])

    assert worked(proved, scene) == [2, 4, 6]


def test_strings_and_numbers_come_back_as_the_model_gave_them(tmp_path: Path) -> None:
    proved = proof(models_onnx.sum_and_names(tmp_path / "model.onnx"))
    names = ["", "ein Käse", "\N{CHEESE WEDGE}"]
    payloads = (
        np.arange(6, dtype="<f4").tobytes(),
        np.arange(6, dtype="<i8").tobytes(),
        names,
    )
    call = replace(a_call(1), payloads=payloads, rows=3, shapes=((2,), (2,), ()))

    async def scene(working: Working) -> list[object]:
        await working.readiness()
        outputs = await working.runs(call)
        assert isinstance(outputs, Outputs)
        return [array.tolist() for array in outputs.arrays]

    pairs = [[0, 1], [2, 3], [4, 5]]
    assert worked(proved, scene) == [[[2 * a, 2 * b] for a, b in pairs], names, pairs]


def test_bits_of_bfloat16_come_back_as_they_were(tmp_path: Path) -> None:
    proved = proof(models_onnx.echo(tmp_path / "model.onnx", TensorProto.BFLOAT16))
    bits = np.array([[1, 0x7FC1], [0x8000, 0x3F80]], dtype="<u2")
    call = replace(a_call(1), payloads=(bits.tobytes(),), rows=2, shapes=((2,),))

    async def scene(working: Working) -> object:
        await working.readiness()
        outputs = await working.runs(call)
        assert isinstance(outputs, Outputs)
        return outputs.arrays[0].tolist()

    assert worked(proved, scene) == bits.tolist()


def test_external_data_are_those_that_were_proved(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(np.array([1, 2], "<f4").tobytes())
    proved = proof(models_onnx.with_external_weights(tmp_path / "model.onnx", "weights"))

    async def scene(working: Working) -> object:
        assert await working.readiness() is None
        (tmp_path / "weights").write_bytes(bytes(8))
        outputs = await working.runs(a_call(10, width=2))
        assert isinstance(outputs, Outputs)
        return outputs.arrays[0].tolist()

    assert worked(proved, scene) == [[11, 12]]


def test_files_that_changed_since_they_were_proved_are_refused(tmp_path: Path) -> None:
    onnx = models_onnx.twice(tmp_path / "model.onnx")
    proved = proof(onnx)
    models_onnx.overflows_the_stack(onnx)  # opening it would be the end

    async def act() -> str:
        working = Working(proved)
        reason = str(await working.readiness())
        assert await working.code() == 1
        return reason

    assert "changed since it was proved" in acted(act)


def limited(max_memory_bytes: int) -> ModelSettings:
    execution = ExecutionSettings(executor="process", max_memory_bytes=max_memory_bytes)
    return replace(declaring(execution), batching=FEW.batching)


def test_a_version_that_needs_more_memory_than_it_may_have_is_refused(tmp_path: Path) -> None:
    onnx = models_onnx.eats_memory(tmp_path / "model.onnx", elements=1 << 24)
    proved = replace(proof(onnx), found=found(onnx, limited(16 * _MIB)))

    async def act() -> object:
        working = Working(proved)
        reason = await working.readiness()
        assert await working.code() == 1
        return reason

    assert acted(act) == f"{onnx}: needs more than the 16 MiB of memory it may have"


def test_a_version_runs_in_the_memory_that_it_may_have(tmp_path: Path) -> None:
    onnx = models_onnx.eats_memory(tmp_path / "model.onnx", elements=1 << 20)
    proved = replace(proof(onnx), found=found(onnx, limited(256 * _MIB)))

    async def scene(working: Working) -> tuple[int, object]:
        assert await working.readiness() is None
        limit, _ = resource.prlimit(working.worker.pid, resource.RLIMIT_DATA)
        outputs = await working.runs(a_call(3, width=2))
        assert isinstance(outputs, Outputs)
        return limit, outputs.arrays[0].tolist()

    limit, rows = worked(proved, scene)
    assert 256 * _MIB < limit < 512 * _MIB
    assert rows == [[3, 3]]


def test_a_process_is_modest_and_can_be_found_by_its_version(tmp_path: Path) -> None:
    proved = proof(models_onnx.twice(tmp_path / "model.onnx"))

    async def scene(working: Working) -> None:
        await working.readiness()
        pid = working.worker.pid
        assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        proc = Path("/proc") / str(pid)
        assert (proc / "oom_score_adj").read_text().strip() == "500"
        assert b"--model=m\0--version=1\0" in (proc / "cmdline").read_bytes()

    worked(proved, scene)


_REPLICA = """
import asyncio, os, sys
from gateway.execute.worker import Worker

class Keeping:
    def heard(self, worker):
        print(worker.pid, flush=True)
        os.kill(os.getpid(), 9)

async def main():
    Worker.spawn(sys.argv[2:], open(sys.argv[1], "rb").read(), Keeping())
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_process_does_not_outlive_its_replica(tmp_path: Path) -> None:
    opening = tmp_path / "opening"
    proved = proof(models_onnx.twice(tmp_path / "model.onnx"))
    opening.write_bytes(OPENING.dump_json(Opening(proved)))
    replica = subprocess.run(
        [sys.executable, "-c", _REPLICA, opening, *COMMAND, "--model=m", "--version=1"],
        stdout=subprocess.PIPE,
        timeout=PATIENCE_S,
        check=False,
    )
    assert replica.returncode == -9
    assert has_ended(int(replica.stdout))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_everybody_leaves_it_to_the_replica_to_end_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Who stops a whole group asks the replica to drain, which needs its processes."""
    proved = proof(models_onnx.twice(tmp_path / "model.onnx"))

    async def scene(working: Working) -> None:
        await working.readiness()
        os.kill(working.worker.pid, number)
        assert isinstance(await working.runs(a_call(1)), Outputs)
        working.worker.dismiss()
        assert await working.code() == 0

    async def act() -> None:
        await scene(Working(proved))

    acted(act)


def test_a_process_is_interrupted_by_nobody_in_its_terminal(tmp_path: Path) -> None:
    """A Ctrl-C is for the supervisor: it goes to a group in which the process is not."""
    proved = proof(models_onnx.twice(tmp_path / "model.onnx"))

    async def scene(working: Working) -> None:
        await working.readiness()
        assert os.getpgid(working.worker.pid) == working.worker.pid

    worked(proved, scene)
