"""Disk: steps that a power cut or a SIGKILL may fall between.

Job    put a file where none is, whole and for good; make folders that last.
Life   functions; they block.
Never  replaces a file, nor leaves half of one under its name.

A file is written beside its place, synced, and linked to it: `link` fails where somebody
was first, which is a compare-and-set between processes. Each `Step` is told before it is
made, so that a test can die there.

Source: link(2), fsync(2).
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Step = Literal["folder", "create", "write", "sync", "link", "unlink", "sync folder", "prune", "end"]
At = Callable[[Step], None]

_BESIDE = ".new-"
_MOST_ATTEMPTS = 5


def nowhere(step: Step) -> None:
    """Do nothing at any step."""


def make_folder(folder: Path) -> None:
    """Make `folder`, and those above it, to last. Raises: OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
        sync_folder(one.parent)


def put(text: bytes, file: Path, at: At) -> None:
    """Write `text` to `file`, which is not there before, and is whole and lasts afterwards.

    Raises: FileExistsError, and nothing has changed; OSError, and it may be there or not.
    """
    beside = file.with_name(f"{_BESIDE}{os.urandom(8).hex()}")
    for _ in range(_MOST_ATTEMPTS):
        try:
            write_new(text, beside, at)
            at("link")
            os.link(beside, file)
            break
        except FileNotFoundError:
            continue  # another process has just started, and tidied up: `remove_unlinked`
        finally:
            at("unlink")
            beside.unlink(missing_ok=True)
    else:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(beside))
    at("sync folder")
    sync_folder(file.parent)


def write_new(text: bytes, file: Path, at: At = nowhere) -> None:
    """Write a file of this name, to last, its name not yet. Raises: OSError."""
    at("create")
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        at("write")
        write_whole(descriptor, text)
        at("sync")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(descriptor: int, text: bytes) -> None:
    """Write all of `text`, at once. Raises: OSError, where a part of it may stand."""
    if os.write(descriptor, text) != len(text):  # a full disk takes what it has room for
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def remove_unlinked(folder: Path) -> None:
    """Take away what a death left between writing and linking. Raises: OSError."""
    for one in folder.glob(f"{_BESIDE}*"):
        one.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` last. Raises: OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
