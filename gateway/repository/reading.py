"""Reading: a file is read as a file, whatever somebody put in its place.

Job    open what a repository holds, and read it within a bound.
Life   functions.
Never  waits: a pipe or a device under a file's name is refused, not read.
"""

import os
import stat
from errno import EINVAL, EISDIR
from io import FileIO
from pathlib import Path


def opened(file: Path) -> FileIO:
    """Open a file, unbuffered. Raises: OSError, also where it is no regular file."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    stream = FileIO(descriptor, "rb")
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return stream
    stream.close()
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(file))
    raise OSError(EINVAL, "is no regular file", str(file))


def read(file: Path, most_bytes: int) -> bytes | None:
    """Return what a file holds, None where that is more than `most_bytes`. Raises: OSError."""
    with opened(file) as stream:
        if os.fstat(stream.fileno()).st_size > most_bytes:
            return None
        content = stream.read(most_bytes + 1)
    return None if len(content) > most_bytes else content
