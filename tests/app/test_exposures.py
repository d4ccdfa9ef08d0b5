"""Exposures: each unit that meets a variant has a line, also after the disk was full."""

import asyncio
import logging
import resource
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from gateway.app.exposures import Exposures, Met

AT = 1763935200.12345
MOST_LOOKS = 3000
LINE = b'{"at":1763935200.123,"model":"m","revision":7,"variant":"canary","unit":"%016x"}\n'


def met(unit: int, variant: str = "canary", revision: int = 7) -> Met:
    return "m", revision, variant, unit


def exposures(path: Path, most_remembered: int = 100, most_lines: int = 100) -> Exposures:
    """Whose lines are written when it is left, and not before."""
    return Exposures(path, most_remembered, lambda: AT, most_lines, gather_s=3600.0)


def written(path: Path, *units: Met, most_remembered: int = 100, most_lines: int = 100) -> None:
    """Meet these units, and write."""

    async def scene() -> None:
        async with exposures(path, most_remembered, most_lines) as one:
            for unit in units:
                one.meet(unit)

    asyncio.run(scene())


def run(scene: Callable[[], Coroutine[object, object, None]]) -> None:
    asyncio.run(scene())


def units_in(path: Path) -> list[int]:
    """The units of all whole lines."""
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(int(orjson.loads(line)["unit"], 16))
        except orjson.JSONDecodeError:
            continue
    return found


@contextmanager
def no_file_above(size_bytes: int) -> Iterator[None]:
    """Have the system refuse what is written beyond, as a full disk does: after a part of it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(MOST_LOOKS):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never comes to that")


def test_a_line_says_when_and_what_and_not_who(tmp_path: Path) -> None:
    log = tmp_path / "new" / "folder" / "exposures.jsonl"
    written(log, met(0xABC))
    assert log.read_bytes() == LINE % 0xABC
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_unit_has_one_line_for_each_variant_and_each_revision(tmp_path: Path) -> None:
    log = tmp_path / "log"
    written(log, met(1), met(1), met(1, "stable"), met(1, revision=8), met(2), met(1))
    assert units_in(log) == [1, 1, 1, 2]


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    log = tmp_path / "log"
    written(log, met(1))
    written(log, met(2))
    assert log.read_bytes() == LINE % 1 + LINE % 2


def test_lines_are_written_a_while_after_they_came(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scene() -> None:
        async with Exposures(log, gather_s=0.0) as one:
            one.meet(met(1))
            await until(lambda: log.exists() and units_in(log) == [1])
            one.meet(met(2))
            await until(lambda: units_in(log) == [1, 2])

    run(scene)


def test_what_comes_while_lines_are_written_is_written_next(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scene() -> None:
        async with Exposures(log, gather_s=0.0) as one:
            for unit in range(50):
                one.meet(met(unit))
                await asyncio.sleep(0)
            await until(lambda: log.exists() and len(units_in(log)) == 50)

    run(scene)
    assert units_in(log) == list(range(50))


def test_units_are_remembered_for_two_generations(tmp_path: Path) -> None:
    log = tmp_path / "log"
    # 1 and 2 are one generation, 3 and 4 the next; 1 is met in between, and stays known
    written(log, *map(met, (1, 2, 3, 1, 4, 1)), most_remembered=2)
    assert units_in(log) == [1, 2, 3, 4]
    written(log, *map(met, (1, 2, 3, 4, 5, 1)), most_remembered=2)
    assert units_in(log)[4:] == [1, 2, 3, 4, 5, 1]


# the disk


def test_lines_beyond_the_bound_are_dropped_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    written(log, *map(met, range(5)), most_lines=2)
    assert units_in(log) == [0, 1]
    assert caplog.messages == ["3 exposures were dropped"]


def test_a_unit_whose_line_was_dropped_gets_one_when_it_comes_again(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scene() -> None:
        async with Exposures(log, most_lines=1, gather_s=0.0) as one:
            one.meet(met(1))
            one.meet(met(2))  # there is no room
            await until(lambda: log.exists() and units_in(log) == [1])
            one.meet(met(1))
            one.meet(met(2))

    run(scene)
    assert units_in(log) == [1, 2]


def test_what_had_room_in_part_is_told_and_the_next_line_is_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    size = len(LINE % 0)
    with no_file_above(3 * size + 10):
        written(log, *map(met, range(5)))
    assert log.stat().st_size == 3 * size + 10
    assert caplog.messages == [
        f"exposures cannot be written: {log}: File too large",
        "2 exposures were dropped",
    ]
    written(log, met(9))
    whole = b"".join(LINE % unit for unit in range(3))
    assert log.read_bytes() == whole + (LINE % 3)[:10] + b"\n" + LINE % 9


def test_who_was_not_written_because_the_disk_was_full_is_written_later(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scene() -> None:
        async with Exposures(log, gather_s=0.0) as one:
            with no_file_above(len(LINE % 0) + 10):
                for unit in range(3):
                    one.meet(met(unit))
                await until(lambda: one._fault != "")  # noqa: SLF001 - nothing else shows it
            for unit in range(3):
                one.meet(met(unit))

    run(scene)
    assert units_in(log) == [0, 1, 2]


def test_a_disk_that_stays_full_is_told_of_once_and_what_was_dropped_in_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    log = tmp_path / "file" / "log"  # whose folder cannot be made

    async def scene() -> None:
        async with Exposures(log, gather_s=0.0) as one:
            for _ in range(3):
                one.meet(met(1))
                await until(lambda: met(1) not in one._young)  # noqa: SLF001 - nothing else shows it

    with caplog.at_level(logging.WARNING):
        run(scene)
    assert caplog.messages == [
        f"exposures cannot be written: {log}: File exists",
        "1 exposures were dropped",
        "2 exposures were dropped",
    ]
