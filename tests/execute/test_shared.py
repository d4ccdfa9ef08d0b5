"""Shared: memory of two sides, which either makes larger and nobody smaller."""

import mmap
import os
from collections.abc import Iterator

import numpy as np
import pytest

from gateway.execute.shared import KEPT_BYTES, Shared

PAGE = mmap.PAGESIZE


@pytest.fixture
def sides() -> Iterator[tuple[Shared, Shared]]:
    """The same memory twice, as two processes have it."""
    ours = Shared.create(PAGE)
    theirs = Shared(os.dup(ours.fd))
    yield ours, theirs
    ours.close()
    theirs.close()


def test_what_one_side_writes_the_other_reads(sides: tuple[Shared, Shared]) -> None:
    ours, theirs = sides
    ours.view[3:6] = b"abc"
    assert theirs.view[3:6] == b"abc"


def test_there_is_room_for_what_is_asked(sides: tuple[Shared, Shared]) -> None:
    ours, _ = sides
    before = ours.hold(PAGE)
    assert ours.hold(PAGE) is before
    assert len(ours.hold(PAGE + 1)) == 2 * PAGE
    assert len(ours.hold(5 * PAGE)) == 8 * PAGE


@pytest.mark.parametrize("who", [0, 1])
def test_either_side_makes_more_and_the_other_finds_it(
    sides: tuple[Shared, Shared], who: int
) -> None:
    one, other = sides[who], sides[1 - who]
    one.hold(3 * PAGE)[2 * PAGE] = 7
    assert other.find(2 * PAGE + 1)[2 * PAGE] == 7


def test_who_asks_for_more_finds_what_the_other_made(sides: tuple[Shared, Shared]) -> None:
    ours, theirs = sides
    theirs.hold(8 * PAGE)
    assert len(ours.hold(2 * PAGE)) == 8 * PAGE


def test_what_was_announced_and_is_not_there_is_refused(sides: tuple[Shared, Shared]) -> None:
    _, theirs = sides
    with pytest.raises(ValueError, match=f"{PAGE + 1} bytes were announced"):
        theirs.find(PAGE + 1)


def test_nobody_makes_it_smaller(sides: tuple[Shared, Shared]) -> None:
    ours, theirs = sides
    with pytest.raises(PermissionError):
        os.ftruncate(theirs.fd, 0)
    ours.view[PAGE - 1] = 1


def test_arrays_outlive_the_view_that_they_lie_over(sides: tuple[Shared, Shared]) -> None:
    ours, theirs = sides
    array = np.frombuffer(ours.view, np.uint8, 4)
    ours.hold(4 * PAGE)
    theirs.view[0] = 9
    assert array[0] == 9


def test_what_most_batches_do_not_need_is_given_back(sides: tuple[Shared, Shared]) -> None:
    ours, theirs = sides
    ours.hold(4 * KEPT_BYTES)[:] = bytes([7]) * (4 * KEPT_BYTES)
    assert os.fstat(ours.fd).st_blocks * 512 >= 4 * KEPT_BYTES
    ours.release()
    assert os.fstat(ours.fd).st_blocks * 512 <= KEPT_BYTES
    view = theirs.find(4 * KEPT_BYTES)
    assert (view[0], view[KEPT_BYTES - 1], view[KEPT_BYTES]) == (7, 7, 0)
    view[KEPT_BYTES] = 9
    assert ours.view[KEPT_BYTES] == 9


def test_a_little_memory_is_kept(sides: tuple[Shared, Shared]) -> None:
    ours, _ = sides
    ours.view[0] = 7
    ours.release()
    assert ours.view[0] == 7


def test_more_than_there_can_be_is_an_error(sides: tuple[Shared, Shared]) -> None:
    ours, _ = sides
    with pytest.raises(OSError, match=r"large|memory|argument"):
        ours.hold(1 << 62)
    assert len(ours.view) == PAGE
