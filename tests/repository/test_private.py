"""A folder of our own: nobody else enters it, and nothing of it stays."""

import fcntl
import os
import stat
import tempfile
from pathlib import Path

import pytest

from gateway.repository.private import private_folder


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_behind(parent: Path, name: str = "gateway-weights-dead") -> Path:
    """Make what a process leaves that is killed while it opens a copy."""
    folder = parent / name
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"x")
    return folder


def test_it_is_empty_and_ours_alone_and_gone_afterwards(parent: Path) -> None:
    with private_folder() as folder:
        assert folder.parent == parent
        assert list(folder.iterdir()) == []
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "file").write_bytes(b"x")
    assert list(parent.iterdir()) == []


def test_it_is_gone_after_a_failure(parent: Path) -> None:
    with pytest.raises(ValueError, match="odd"), private_folder():
        raise ValueError("odd")
    assert list(parent.iterdir()) == []


def test_it_is_gone_where_it_could_not_be_had(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", full)
    with pytest.raises(OSError, match="no locks"), private_folder():
        pass
    assert list(parent.iterdir()) == []


def test_what_a_killed_process_left_is_taken_away_by_the_next(parent: Path) -> None:
    left = left_behind(parent)
    with private_folder():
        assert not left.exists()


def test_what_another_process_uses_is_left_alone(parent: Path) -> None:
    with private_folder() as first, private_folder() as second:
        assert first.exists()
        assert second.exists()
    used = left_behind(parent)
    lock = os.open(used, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with private_folder():
            assert used.exists()
    finally:
        os.close(lock)


def test_a_link_of_that_name_is_not_followed(parent: Path) -> None:
    mine = left_behind(parent, "mine")
    (parent / "gateway-weights-link").symlink_to(mine)
    with private_folder():
        pass
    assert (mine / "model.onnx").exists()


def test_other_folders_are_left_alone(parent: Path) -> None:
    other = left_behind(parent, "gateway-other")
    with private_folder():
        pass
    assert other.exists()
