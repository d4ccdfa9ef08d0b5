"""The child that proves, as a process of its own: what it says, and what it keeps to itself."""

import json
import os
import resource
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.control.trial import FROM_CHILD, TO_CHILD, At, FromChild, Prove, Proved, Ready, Refused
from gateway.repository.proof import Found
from gateway.repository.settings import ModelSettings, WarmupInput, WarmupSample
from tests import models_onnx
from tests.repository.versions import CHEAP, FEW

_WAIT_S = 30.0
_GIB = 1 << 30


def asking(onnx: Path, memory_bytes: int = _GIB, settings: ModelSettings = FEW) -> bytes:
    found = Found("m", "1", onnx.parent, onnx, settings)
    return TO_CHILD.dump_json(Prove(found, CHEAP, "p", memory_bytes)) + b"\n"


@contextmanager
def a_child(parent: int | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a child; whatever the test does, it does not outlive it."""
    command = [sys.executable, "-P", "-m", "gateway.app.proving", "--parent"]
    with subprocess.Popen(
        [*command, str(parent or os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def conversation(*requests: bytes) -> tuple[list[FromChild], str]:
    """Ask a child, close its input, and return all it said, and what it wrote beside."""
    with a_child() as child:
        said, beside = child.communicate(b"".join(requests), timeout=_WAIT_S)
        assert child.returncode == 0
    return [FROM_CHILD.validate_json(line) for line in said.splitlines()], beside.decode()


def test_many_versions_are_proved_one_after_another_and_the_end_of_input_is_the_end(
    tmp_path: Path,
) -> None:
    onnx = models_onnx.twice(tmp_path / "good" / "model.onnx")
    bad = models_onnx.truncated(tmp_path / "bad" / "model.onnx")
    said, beside = conversation(asking(onnx), asking(bad), asking(onnx))
    assert said[0] == Ready()
    steps = [type(message) for message in said if not isinstance(message, At)]
    assert steps == [Ready, Proved, Refused, Proved]
    assert said[1] == At("verifying its files")
    assert beside == ""


def test_a_proof_survives_its_journey(tmp_path: Path) -> None:
    onnx = models_onnx.twice(tmp_path / "model.onnx")
    *_, last = conversation(asking(onnx))[0]
    assert isinstance(last, Proved)
    assert last.proof.found == Found("m", "1", onnx.parent, onnx, FEW)
    assert last.proof.signature.inputs[0].name == "x"


def test_a_model_that_eats_memory_is_refused_by_name_and_the_next_is_proved(
    tmp_path: Path,
) -> None:
    """The tensor would be 2 GiB: this machine may well have them, and they are not the model's."""
    onnx = models_onnx.eats_memory(tmp_path / "greedy" / "model.onnx", elements=1 << 29)
    modest = models_onnx.twice(tmp_path / "modest" / "model.onnx")
    said, _ = conversation(asking(onnx, 256 << 20), asking(modest, 256 << 20))
    refused, proved = [message for message in said if isinstance(message, Refused | Proved)]
    assert refused == Refused(
        f"{onnx}: needs more than the 256 MiB of memory it may have, while measuring 1 rows"
    )
    assert isinstance(proved, Proved)


def test_enough_memory_is_enough(tmp_path: Path) -> None:
    onnx = models_onnx.eats_memory(tmp_path / "model.onnx", elements=1 << 22)
    said, _ = conversation(asking(onnx, 256 << 20))
    assert isinstance(said[-1], Proved)


def test_an_error_that_nobody_foresaw_is_the_versions_and_is_written_beside(
    tmp_path: Path,
) -> None:
    onnx = models_onnx.twice(tmp_path / "model.onnx")
    absurd = WarmupSample("absurd", 1 << 70, {"x": WarmupInput("FP32", (1,))})
    said, beside = conversation(asking(onnx, settings=replace(FEW, warmup=(absurd,))))
    assert isinstance(said[-1], Refused)
    assert said[-1].reason.startswith(f"{onnx}: OverflowError while opening model.onnx: ")
    assert "Traceback" in beside


def test_a_child_whose_parent_is_gone_ends_at_once() -> None:
    with a_child(parent=os.getppid()) as child:
        assert child.communicate(timeout=_WAIT_S)[0] == b""
        assert child.returncode == -9


_ORPHANING = """
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-P", "-m", "gateway.app.proving", "--parent", str(os.getpid())],
    stdin=int(sys.argv[1]), stdout=subprocess.PIPE, pass_fds=(),
)
child.stdout.readline()
print(child.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_child_does_not_outlive_its_parent_though_its_input_stays_open() -> None:
    reading, writing = os.pipe()
    try:
        parent = subprocess.run(
            [sys.executable, "-c", _ORPHANING, str(reading)],
            pass_fds=(reading,),
            stdout=subprocess.PIPE,
            timeout=_WAIT_S,
            check=False,
        )
        assert parent.returncode == -9
        assert has_ended(int(parent.stdout))
    finally:
        os.close(reading)
        os.close(writing)


def has_ended(pid: int) -> bool:
    """Wait for the end of a process that is no child of ours."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], _WAIT_S)[0])
    finally:
        os.close(process)


def test_a_child_is_modest(tmp_path: Path) -> None:
    """Nice, without cores, and the first that the kernel's killer would take."""
    with a_child() as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert json.loads(child.stdout.readline()) == {"kind": "ready"}
        proc = Path("/proc") / str(child.pid)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) >= 10
        assert resource.prlimit(child.pid, resource.RLIMIT_CORE) == (0, 0)
        assert (proc / "oom_score_adj").read_text().strip() == "1000"


@pytest.mark.parametrize("fd", [0, 1])
def test_what_a_model_reads_or_prints_is_not_ours(fd: int) -> None:
    """Standard input is empty, and standard output is standard error."""
    with a_child() as child:
        assert child.stdout is not None
        child.stdout.readline()
        opened = Path(f"/proc/{child.pid}/fd/{fd}").readlink()
        assert opened == (
            Path(os.devnull) if fd == 0 else Path(f"/proc/{child.pid}/fd/2").readlink()
        )
