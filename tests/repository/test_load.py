"""From what was proved to what is warm: the same version, and no other."""

import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.stacking import bucket
from gateway.execute.session import LoadFailed
from gateway.repository.load import load, sizes, version_of, warm
from gateway.repository.proof import Proof
from gateway.repository.prove import prove
from gateway.repository.settings import BatchingSettings, ExecutionSettings, ModelSettings
from gateway.types import Signature
from tests import models_onnx
from tests.fakes import a_call, first_column
from tests.repository.versions import BATCHES, CHEAP, FEW, declaring, found, twice

_WAIT_S = 30.0


@pytest.fixture(autouse=True)
def _switch_interval() -> Iterator[None]:
    """Loading in a thread makes the interpreter switch sooner; the next test finds it as it was."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def proof(onnx: Path, settings: ModelSettings = FEW) -> Proof:
    return prove(found(onnx, settings), CHEAP, "p")


def refusal(proved: Proof) -> str:
    with pytest.raises(LoadFailed) as caught:
        load(proved)
    return str(caught.value)


def test_what_is_loaded_is_what_was_proved(tmp_path: Path) -> None:
    proved = proof(twice(tmp_path), BATCHES)
    loaded = load(proved)
    version = loaded.version
    assert (version.model, version.version, version.platform) == ("twice", "7", "p")
    assert version.digest == proved.digest
    assert version.signature == proved.signature
    assert version.signature == loaded.session.signature
    assert (loaded.settings, loaded.cost) == (BATCHES, proved.cost)
    assert loaded.placement == proved.placement


def test_who_only_answers_for_a_version_opens_nothing(tmp_path: Path) -> None:
    proved = proof(twice(tmp_path))
    loaded = load(proved)
    proved.found.onnx.unlink()
    for name in ("model", "version", "signature", "digest", "platform", "labels"):
        assert getattr(version_of(proved), name) == getattr(loaded.version, name)


def test_what_is_loaded_can_be_run(tmp_path: Path) -> None:
    session = load(proof(twice(tmp_path))).session
    outputs = session.execute([a_call(1, 2), a_call(3)])
    assert first_column(outputs.arrays[0]) == [2, 4, 6]


def test_threads_and_buckets_reach_the_session(tmp_path: Path) -> None:
    onnx = models_onnx.only_rows_above(tmp_path / "model.onnx", 4)
    batching = BatchingSettings(max_batch_size=8, pad_to=(4, 8))
    session = load(proof(onnx, declaring(ExecutionSettings(intra_op_threads=2), batching))).session
    assert session._ort.get_session_options().intra_op_num_threads == 2  # noqa: SLF001 - as told
    assert len(session.infer([np.ones(1, dtype="<f4")])[0]) == 1


def test_files_that_changed_since_they_were_proved_are_never_opened(tmp_path: Path) -> None:
    proved = proof(twice(tmp_path))
    models_onnx.overflows_the_stack(proved.found.onnx)  # opening it would end this process
    reason = refusal(proved)
    assert reason.startswith(f"{proved.found.folder}: changed since it was proved: expected digest")
    assert proved.digest in reason


def test_a_file_that_went_is_named(tmp_path: Path) -> None:
    proved = proof(twice(tmp_path))
    (proved.found.folder / "notes.txt").touch()
    assert "changed since it was proved" in refusal(proved)
    (proved.found.folder / "notes.txt").unlink()
    assert load(proved).version.digest == proved.digest


def test_a_manifest_that_no_longer_holds_names_the_file(tmp_path: Path) -> None:
    proved = proof(twice(tmp_path))
    (proved.found.folder / "manifest.sha256").write_text(f"{'0' * 64}  model.onnx\n")
    assert refusal(proved).startswith(f"{proved.found.onnx}: expected SHA-256 {'0' * 64}")


def test_a_folder_that_went_is_named(tmp_path: Path) -> None:
    proved = proof(twice(tmp_path))
    proved.found.onnx.unlink()
    proved.found.folder.rmdir()
    assert str(proved.found.folder) in refusal(proved)


def test_another_signature_than_the_proved_one_is_refused(tmp_path: Path) -> None:
    proved = replace(proof(twice(tmp_path)), signature=Signature((), (), 8))
    assert refusal(proved).endswith("its tensors are not those that were proved")


def test_a_version_that_changes_while_it_is_loaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved = proof(twice(tmp_path))

    def touch(*given: object) -> None:
        os.utime(proved.found.onnx, ns=(1, 1))

    monkeypatch.setattr("gateway.repository.load.warm", touch)
    assert refusal(proved).endswith("changed while it was loaded")


def test_a_trial_run_that_breaks_is_named_with_its_rows(tmp_path: Path) -> None:
    class Broken:
        def time_s(self, rows: int) -> float:
            raise ValueError("odd")

    onnx = tmp_path / "model.onnx"
    with pytest.raises(LoadFailed) as caught:
        warm(Broken(), found(onnx), 4)
    assert str(caught.value) == f"{onnx}: a trial run of 4 rows failed: odd"


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_who_loads_is_no_nicer_for_it_and_soon_gives_the_interpreter_back(tmp_path: Path) -> None:
    """A nice thread that is preempted while it holds the interpreter would stall the loop."""
    proved = proof(twice(tmp_path))
    before = niceness()
    seen: list[int] = []

    def loading() -> None:
        load(proved)
        seen.append(niceness())

    thread = threading.Thread(target=loading)
    thread.start()
    thread.join(_WAIT_S)
    assert seen == [before]
    assert sys.getswitchinterval() <= 0.0005


def test_sizes_are_doublings_up_to_the_largest() -> None:
    assert sizes(1) == (1,)
    assert sizes(6) == (1, 2, 4, 6)
    assert sizes(8) == (1, 2, 4, 8)


buckets = st.sets(st.integers(1, 300), max_size=6).map(lambda found: tuple(sorted(found)))


@given(st.integers(1, 200), buckets)
def test_every_bucket_that_can_be_filled_is_warmed_and_no_other(
    max_rows: int, pad_to: tuple[int, ...]
) -> None:
    warmed = sizes(max_rows, pad_to)
    reached = {bucket(rows, pad_to) for rows in range(1, max_rows + 1)}
    assert set(warmed) <= reached
    assert reached & set(pad_to) <= set(warmed)
    assert list(warmed) == sorted(set(warmed))
