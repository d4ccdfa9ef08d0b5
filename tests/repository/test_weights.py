"""External data: what was hashed is what is used, whatever becomes of the files."""

import hashlib
import mmap
import os
import tempfile
from collections.abc import Iterator
from errno import ENOMEM
from io import FileIO
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from gateway.execute.session import LoadFailed, Session, SessionSettings, is_out_of_memory
from gateway.repository.load import load
from gateway.repository.manifest import identify
from gateway.repository.proof import External, Found, Proof
from gateway.repository.prove import prove
from gateway.repository.settings import ModelSettings
from gateway.repository.weights import weights_of
from tests.repository import outside
from tests.repository.outside import KINDS, WEIGHTS, write_weights
from tests.repository.versions import CHEAP, FEW, found

SETTINGS = SessionSettings(max_batch_rows=8)
IN_MEMORY = External(("w.bin",))
COPIED = External(("w.bin",), is_nested=True)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where copies are made; none is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def version(tmp_path: Path) -> Found:
    onnx = outside.initializer(tmp_path / "twice" / "7" / "model.onnx", "w.bin")
    write_weights(onnx.parent / "w.bin")
    return found(onnx, FEW)


def write(root: Path, kind: str, location: str = "w.bin") -> Path:
    onnx = KINDS[kind](root / "twice" / "7" / "model.onnx", location)
    write_weights(onnx.parent / location)
    return onnx


def proof(onnx: Path) -> Proof:
    return prove(found(onnx, FEW), CHEAP, "p")


def answer(session: Session) -> tuple[float, ...]:
    """Return what is added to a row."""
    (row,) = session.infer([np.ones((1, 2), dtype="<f4")])[0]
    return tuple(float(value) - 1 for value in row)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_loaded_stays_as_it_was_hashed_when_its_files_change(
    tmp_path: Path, kind: str
) -> None:
    """A page that was mapped and is cut off would end this process."""
    onnx = write(tmp_path, kind)
    session = load(proof(onnx)).session
    write_weights(onnx.parent / "w.bin", (1.0, 2.0))
    assert answer(session) == WEIGHTS
    os.truncate(onnx.parent / "w.bin", 0)
    assert answer(session) == WEIGHTS


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_of_a_version_is_mapped(tmp_path: Path, kind: str) -> None:
    onnx = write(tmp_path, kind)
    session = load(proof(onnx)).session
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    assert str(onnx.parent) not in maps
    assert answer(session) == WEIGHTS


@pytest.mark.parametrize("kind", KINDS)
def test_other_data_than_those_that_were_proved_are_refused(tmp_path: Path, kind: str) -> None:
    proved = proof(write(tmp_path, kind))
    write_weights(proved.found.folder / "w.bin", (1.0, 2.0))
    with pytest.raises(LoadFailed, match="changed since it was proved: expected digest"):
        load(proved)


@pytest.mark.parametrize("external", [IN_MEMORY, COPIED])
def test_what_was_read_is_what_is_hashed_and_what_is_opened(
    version: Found, external: External
) -> None:
    """A file that changes between the two would have answers under another's digest."""
    digest = identify(version)
    with weights_of(version, external) as weights:
        write_weights(version.folder / "w.bin", (1.0, 2.0))
        assert identify(version, weights.hashes) == digest != identify(version)
        session = Session(weights.onnx, SETTINGS, weights.files)
    assert answer(session) == WEIGHTS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("location", ["deep/er/w.bin", "./w.bin", "deep/../w.bin", "é.bin"])
def test_data_lie_wherever_the_version_puts_them(tmp_path: Path, kind: str, location: str) -> None:
    (tmp_path / "twice" / "7" / "deep").mkdir(parents=True)
    assert answer(load(proof(write(tmp_path, kind, location))).session) == WEIGHTS


@pytest.mark.parametrize("kind", KINDS)
def test_data_may_be_links_as_kubernetes_makes_them(tmp_path: Path, kind: str) -> None:
    onnx = write(tmp_path, kind, "..today/w.bin")
    KINDS[kind](onnx, "w.bin")
    (onnx.parent / "..data").symlink_to("..today")
    (onnx.parent / "w.bin").symlink_to("..data/w.bin")
    proved = proof(onnx)
    session = load(proved).session
    assert answer(session) == WEIGHTS
    write_weights(onnx.parent / "..today" / "w.bin", (1.0, 2.0))
    assert answer(session) == WEIGHTS


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_in_a_folder_of_its_name_has_its_data_beside_it(tmp_path: Path, kind: str) -> None:
    """As Triton wants a model that has external data: `1/model.onnx/model.onnx`."""
    place = tmp_path / "twice" / "7"
    onnx = KINDS[kind](place / "model.onnx" / "model.onnx", "w.bin")
    write_weights(onnx.parent / "w.bin")
    proved = prove(Found("twice", "7", place, onnx, FEW), CHEAP, "p")
    assert answer(load(proved).session) == WEIGHTS


def test_one_file_under_two_names_is_held_once(version: Found) -> None:
    with weights_of(version, External(("w.bin", "./w.bin"))) as weights:
        assert weights.files["w.bin"].obj is weights.files["./w.bin"].obj
    assert len(weights.hashes) == 1


def test_one_file_under_two_names_is_copied_once(version: Found) -> None:
    with weights_of(version, External(("w.bin", "./w.bin"), is_nested=True)) as weights:
        names = sorted(file.name for file in weights.onnx.parent.iterdir())
    assert names == ["model.onnx", "w.bin"]


@pytest.mark.parametrize("external", [IN_MEMORY, COPIED])
@pytest.mark.parametrize("size", [0, 1, 1 << 20, (3 << 20) + 1])
def test_files_of_any_size_are_read_whole(version: Found, external: External, size: int) -> None:
    file = version.folder / "w.bin"
    content = os.urandom(size)
    file.write_bytes(content)
    with weights_of(version, external) as weights:
        assert weights.hashes[file.resolve()] == hashlib.sha256(content).digest()
        held = weights.files["w.bin"] if weights.files else (weights.onnx.parent / "w.bin")
        assert (bytes(held) if isinstance(held, memoryview) else held.read_bytes()) == content


def test_what_is_held_can_be_written_by_nobody(version: Found) -> None:
    with weights_of(version, IN_MEMORY) as weights:
        assert weights.files["w.bin"].readonly


def test_data_that_are_shorter_than_the_model_says_are_refused(tmp_path: Path) -> None:
    onnx = write(tmp_path, "initializer")
    os.truncate(onnx.parent / "w.bin", 4)
    with pytest.raises(LoadFailed, match=r"model\.onnx: .*out of bounds"):
        proof(onnx)


@pytest.mark.parametrize("kind", ["subgraph", "function"])
def test_a_copy_that_cannot_be_opened_is_told_as_the_version_itself(
    tmp_path: Path, kind: str
) -> None:
    onnx = write(tmp_path, kind)
    os.truncate(onnx.parent / "w.bin", 4)
    with pytest.raises(LoadFailed) as caught:
        proof(onnx)
    assert str(caught.value).startswith(f"{onnx}: ")
    assert "temporary" not in str(caught.value)


@pytest.mark.parametrize("external", [IN_MEMORY, COPIED])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(
    version: Found, external: External
) -> None:
    (version.folder / "w.bin").unlink()
    os.mkfifo(version.folder / "w.bin")
    with pytest.raises(OSError, match="is no regular file"), weights_of(version, external):
        pass


class Shrinking(FileIO):
    """A file of which the second half is gone before it is read."""

    def readinto(self, into: object, /) -> int:
        assert isinstance(into, memoryview)
        left = 4 - self.tell()
        return super().readinto(into[:left])


def test_a_file_that_becomes_shorter_is_not_filled_up_with_zeros(
    version: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.repository.weights.opened", Shrinking)
    with (
        pytest.raises(OSError, match="became shorter while it was read"),
        weights_of(version, IN_MEMORY),
    ):
        pass


def test_two_files_that_would_be_one_in_the_copy_are_refused(version: Found) -> None:
    """Through a linked folder `..` leads elsewhere than the name says."""
    write_weights(version.folder / "real" / "w.bin", (1.0, 2.0))
    (version.folder / "real" / "in").mkdir()
    (version.folder / "linked").symlink_to("real/in")
    external = External(("w.bin", "linked/../w.bin"), is_nested=True)
    with pytest.raises(FileExistsError), weights_of(version, external):
        pass


def test_a_file_that_changes_between_two_of_its_names_is_refused(
    version: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    (version.folder / "v.bin").symlink_to("w.bin")
    turns = iter([WEIGHTS, WEIGHTS, (1.0, 2.0)])

    def changing(file: Path) -> FileIO:
        write_weights(version.folder / "w.bin", next(turns))
        return FileIO(file)

    monkeypatch.setattr("gateway.repository.weights.opened", changing)
    external = External(("w.bin", "v.bin"), is_nested=True)
    with pytest.raises(OSError, match="changed while"), weights_of(version, external):
        pass


def test_data_for_which_there_is_no_memory_are_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = write(tmp_path, "initializer")

    class Full(mmap.mmap):
        def __new__(cls, file: int, size: int, **how: int) -> Self:
            if file == -1:
                raise OSError(ENOMEM, os.strerror(ENOMEM))
            return super().__new__(cls, file, size, **how)

    monkeypatch.setattr(mmap, "mmap", Full)
    with pytest.raises(LoadFailed) as caught:
        proof(onnx)
    assert is_out_of_memory(caught.value)


def test_a_version_without_external_data_is_opened_where_it_lies(tmp_path: Path) -> None:
    version = Found("m", "1", tmp_path, tmp_path / "model.onnx", ModelSettings())
    with weights_of(version, External()) as weights:
        assert (weights.onnx, weights.files, weights.hashes) == (version.onnx, {}, {})
