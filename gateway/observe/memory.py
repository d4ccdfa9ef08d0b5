"""Memory: the telemetry cells of one replica, in pages that outlive it.

Job    one shared mapping of the layout's rows.
Life   made by the supervisor, or by a lone replica for itself; a supervised replica
       attaches to the descriptor that it inherits. Closing takes every row back.
Never  grows or shrinks; takes a page that nobody wrote to.
"""

import fcntl
import mmap
import os
from typing import Self

from gateway.observe.layout import (
    LAYOUT,
    LAYOUT_CELL,
    MEMORY_BYTES,
    ROW_CELLS,
    SIZE_CELLS,
    SIZES,
    SIZES_USED,
)

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW  # or a reader could be killed by a SIGBUS


class Memory:
    """All rows of one replica, zero until somebody writes to them.

    Mutable state: `_rows`, the views that were given out.
    """

    def __init__(self, fd: int) -> None:
        """Map what `fd` is open on, and own it. Raises: OSError, ValueError."""
        self.fd = fd
        self._map = mmap.mmap(fd, MEMORY_BYTES)
        self._cells = memoryview(self._map).cast("q")
        self._rows: dict[int, memoryview] = {}

    @classmethod
    def create(cls) -> Self:
        """Make a memory of zeros. Raises: OSError."""
        fd = os.memfd_create("gateway-telemetry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, MEMORY_BYTES)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            memory = cls(fd)
        except BaseException:
            os.close(fd)
            raise
        memory.row(0)[LAYOUT_CELL] = LAYOUT
        return memory

    @classmethod
    def attach(cls, fd: int) -> Self:
        """Map a memory that another process made; `fd` is this one's from now on.

        Raises: OSError; ValueError, where it is no memory of this layout. `fd` is closed
        then.
        """
        try:
            memory = cls(fd)
        except BaseException:
            os.close(fd)
            raise
        found = memory.row(0)[LAYOUT_CELL]
        if found != LAYOUT:
            memory.close()
            raise ValueError(f"telemetry memory: expected layout {LAYOUT}, got {found}")
        return memory

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def row(self, number: int) -> memoryview:
        """Return the cells of a row: the same object each time, until the memory is closed.

        Raises: IndexError.
        """
        view = self._rows.get(number)
        if view is None:
            start = number * ROW_CELLS
            if not 0 <= start < len(self._cells):
                raise IndexError(f"telemetry memory: there is no row {number}")
            view = self._rows[number] = self._cells[start : start + ROW_CELLS]
        return view

    def clear(self, number: int) -> None:
        """Zero a row that nobody writes any more."""
        row = self.row(number)
        written = row[: SIZES + row[SIZES_USED] * SIZE_CELLS]
        written[:] = memoryview(bytes(written.nbytes)).cast("q")

    def close(self) -> None:
        """Take all rows back: who reads or writes one afterwards gets a ValueError."""
        if self._map.closed:
            return
        for view in (*self._rows.values(), self._cells):
            view.release()
        self._map.close()
        os.close(self.fd)
