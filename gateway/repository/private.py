"""Private: a folder that is ours for as long as a block runs, and no longer.

Job    make a folder that only this user can enter, and take it away.
Life   a block; and where its process was killed in it, until the next block of anybody.
Never  takes away a folder whose maker still lives: as long as it does, it holds a lock.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX, _UNLOCKED = "gateway-weights-", "gateway-making-"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Have a new, empty folder where the system keeps what is temporary. Raises: OSError."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    made = Path(tempfile.mkdtemp(prefix=_UNLOCKED, dir=parent))
    # It is locked before it has the name by which others look for what was left.
    folder = made.with_name(made.name.replace(_UNLOCKED, _PREFIX, 1))
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.rename(folder)
        yield folder
    finally:
        for one in (made, folder):
            shutil.rmtree(one, ignore_errors=True)
        os.close(lock)


def _remove_if_left(folder: Path) -> None:
    """Take a folder away if nobody holds its lock any more."""
    with suppress(OSError):  # another's, or taken away meanwhile
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_uid == os.geteuid():
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
