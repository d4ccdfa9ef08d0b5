"""Shared: memory that a replica and one of its processes both see.

Job    make it, find it by its descriptor, make more of it.
Life   one for each process, and no longer than it: who comes next finds nothing of it.
Never  gets smaller: what one side has mapped stays there, whatever becomes of the other. The
       pages behind it may be given back, and read as zeros then.

A memfd: it has no name, and ends with the last who has it open. Either side makes it larger;
the other sees that when it reads how long what was written is, and maps it anew. Arrays may
still lie over the old mapping, which ends with the last of them.

Source: memfd_create(2); fcntl(2), F_SEAL_SHRINK.
"""

import fcntl
import mmap
import os
from contextlib import suppress
from typing import Self

_FIRST_BYTES = 1 << 20
KEPT_BYTES = 16 << 20  # to fetch as much anew takes as long as to copy it


class Shared:
    """Mutable state: `view`, which is replaced when there is more."""

    __slots__ = ("fd", "view")

    def __init__(self, fd: int) -> None:
        """Map all that there is behind a descriptor, which becomes ours. Raises: OSError."""
        self.fd = fd
        self.view = mmap.mmap(fd, os.fstat(fd).st_size)

    @classmethod
    def create(cls, size_bytes: int = _FIRST_BYTES) -> Self:
        """Make new memory. Raises: OSError."""
        fd = os.memfd_create("gateway-process", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size_bytes)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            return cls(fd)
        except BaseException:
            os.close(fd)
            raise

    def hold(self, size_bytes: int) -> mmap.mmap:
        """Return a view of at least so many bytes. Raises: OSError, where they cannot be had."""
        if size_bytes > len(self.view):
            if size_bytes > os.fstat(self.fd).st_size:
                os.ftruncate(self.fd, 1 << (size_bytes - 1).bit_length())
            self.view = mmap.mmap(self.fd, os.fstat(self.fd).st_size)
        return self.view

    def find(self, size_bytes: int) -> mmap.mmap:
        """Return a view of so many bytes that the other side has written.

        Raises: ValueError, where there are not so many.
        """
        if size_bytes > len(self.view):
            there = os.fstat(self.fd).st_size
            if size_bytes > there:
                raise ValueError(f"{size_bytes} bytes were announced, and there are {there}")
            self.view = mmap.mmap(self.fd, there)
        return self.view

    def release(self) -> None:
        """Give back what lies beyond what most batches need; nobody may look at it any more."""
        size_bytes = len(self.view)
        if size_bytes > KEPT_BYTES:
            self.view.madvise(mmap.MADV_REMOVE, KEPT_BYTES, size_bytes - KEPT_BYTES)

    def close(self) -> None:
        """Let go of it; what is mapped goes with the last who looks at it."""
        os.close(self.fd)
        with suppress(BufferError):  # somebody does
            self.view.close()
