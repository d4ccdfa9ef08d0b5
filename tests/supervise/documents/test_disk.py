import os
from pathlib import Path

import pytest

from gateway.supervise.documents.disk import (
    Step,
    make_folder,
    nowhere,
    put,
    remove_unlinked,
    write_whole,
)


def test_folders_are_made_down_to_the_last(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_file_appears_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    steps: list[tuple[Step, bool]] = []
    file = tmp_path / "x"
    put(b"text", file, lambda step: steps.append((step, file.exists())))
    assert file.read_bytes() == b"text"
    assert list(tmp_path.iterdir()) == [file]
    assert steps == [
        ("create", False),
        ("write", False),
        ("sync", False),
        ("link", False),
        ("unlink", True),
        ("sync folder", True),
    ]


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"first")
    with pytest.raises(FileExistsError):
        put(b"second", file, nowhere)
    assert file.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [file]


def test_one_whose_folder_is_taken_away_gives_up(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        put(b"text", tmp_path / "gone" / "x", nowhere)


def test_only_what_was_never_linked_is_tidied_up(tmp_path: Path) -> None:
    (tmp_path / ".new-0").touch()
    (tmp_path / "0000000001.json").touch()
    remove_unlinked(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["0000000001.json"]


def test_a_part_of_a_text_is_no_text() -> None:
    """A pipe takes what it has room for, as a full disk does."""
    ends = os.pipe()
    os.set_blocking(ends[1], False)
    try:
        with pytest.raises(OSError, match="No space left on device"):
            write_whole(ends[1], bytes(1 << 20))
    finally:
        for end in ends:
            os.close(end)
