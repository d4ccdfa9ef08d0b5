"""Memory: rows that another process sees, and that outlive whoever wrote them."""

import os

import pytest

from gateway.observe.counts import ZERO, read
from gateway.observe.layout import (
    LAYOUT,
    LAYOUT_CELL,
    MEMORY_BYTES,
    MOST_ROWS,
    ROW_CELLS,
    SIZE_CELLS,
    SIZES,
    SIZES_USED,
)
from gateway.observe.memory import Memory


def test_a_memory_is_zeros_and_says_its_layout() -> None:
    with Memory.create() as memory:
        assert memory.row(0)[LAYOUT_CELL] == LAYOUT
        assert not any(memory.row(0).tolist()[1:])
        assert not any(memory.row(MOST_ROWS - 1).tolist())
        assert read(memory.row(1)) is ZERO


def test_a_memory_takes_no_page_that_nobody_wrote_to() -> None:
    with Memory.create() as memory:
        memory.row(7)[5] = 1
        stat = os.fstat(memory.fd)
        assert stat.st_size == MEMORY_BYTES
        assert stat.st_blocks * 512 < 1 << 20


def test_what_one_writes_the_other_reads() -> None:
    with Memory.create() as ours, Memory.attach(os.dup(ours.fd)) as theirs:
        theirs.row(3)[9] = -5
        assert ours.row(3)[9] == -5
        ours.clear(3)
        assert theirs.row(3)[9] == 0


def test_what_was_written_stays_when_the_writer_is_gone() -> None:
    with Memory.create() as ours:
        with Memory.attach(os.dup(ours.fd)) as theirs:
            theirs.row(3)[9] = 8
        assert ours.row(3)[9] == 8


def test_rows_share_no_cell() -> None:
    with Memory.create() as memory:
        for number in (1, 2, 3):
            memory.row(number)[0] = memory.row(number)[ROW_CELLS - 1] = number
        assert [memory.row(number)[0] for number in (1, 2, 3)] == [1, 2, 3]
        assert [memory.row(number)[ROW_CELLS - 1] for number in (1, 2, 3)] == [1, 2, 3]
        assert len(memory.row(1)) == ROW_CELLS


def test_a_row_is_one_object() -> None:
    with Memory.create() as memory:
        assert memory.row(4) is memory.row(4)


@pytest.mark.parametrize("number", [-1, MOST_ROWS])
def test_there_is_no_row_beyond_the_last(number: int) -> None:
    with Memory.create() as memory, pytest.raises(IndexError, match=f"no row {number}"):
        memory.row(number)


def test_clearing_a_row_leaves_nothing_of_it_and_touches_no_other() -> None:
    with Memory.create() as memory:
        for number in (1, 2):
            row = memory.row(number)
            row[SIZES_USED] = 3
            for cell in range(SIZES_USED + 1, SIZES + 3 * SIZE_CELLS):
                row[cell] = 7
        memory.clear(1)
        assert not any(memory.row(1).tolist())
        assert memory.row(2).tolist().count(7) == SIZES + 3 * SIZE_CELLS - SIZES_USED - 1
        memory.clear(5)
        assert read(memory.row(5)) is ZERO


def test_a_closed_memory_gives_no_row_and_takes_no_number() -> None:
    memory = Memory.create()
    row = memory.row(1)
    memory.close()
    memory.close()
    with pytest.raises(ValueError, match="released"):
        row[0] = 1
    with pytest.raises(ValueError, match="released"):
        memory.row(2)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(memory.fd)


def test_a_memory_of_another_layout_is_refused() -> None:
    with Memory.create() as memory:
        memory.row(0)[LAYOUT_CELL] = LAYOUT + 1
        fd = os.dup(memory.fd)
        with pytest.raises(ValueError, match=f"expected layout {LAYOUT}, got {LAYOUT + 1}"):
            Memory.attach(fd)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_a_descriptor_of_something_else_is_refused_and_closed() -> None:
    fd = os.memfd_create("short")
    with pytest.raises(ValueError, match="mmap length"):
        Memory.attach(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_nobody_can_cut_a_memory_short() -> None:
    """A reader of a page that is gone would be killed."""
    with Memory.create() as memory:
        for length in (0, MEMORY_BYTES * 2):
            with pytest.raises(PermissionError):
                os.ftruncate(memory.fd, length)
