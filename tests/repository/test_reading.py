"""Files are read as files; anything else in their place is refused at once."""

import os
import socket
from pathlib import Path

import pytest

from gateway.repository.reading import opened, read


def test_a_file_is_read_within_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    assert read(file, 3) == b"abc"
    assert read(file, 2) is None


def test_a_file_that_does_not_tell_its_size_is_bounded_too() -> None:
    assert read(Path("/proc/self/maps"), 16) is None


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read(tmp_path / "link", 3) == b"abc"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is no regular file"):
        opened(tmp_path / "pipe")


def test_a_device_has_no_end_and_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "zeros").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="is no regular file"):
        read(tmp_path / "zeros", 3)


def test_a_socket_and_a_folder_are_no_files(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(OSError, match="No such device"):
            opened(tmp_path / "s")
    with pytest.raises(IsADirectoryError):
        opened(tmp_path)


def test_a_file_that_is_not_there_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "gone", 3)
