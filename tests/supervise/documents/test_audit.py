"""The log of changes: what a death may leave, and what it may not."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.documents import Document
from gateway.supervise.documents.audit import (
    Audit,
    Entry,
    entry_of,
    line_of,
    lines_from_end,
    missing,
    shown,
)
from gateway.supervise.documents.store import Unreachable
from tests.server import ROOT, WATCHDOG_S
from tests.supervise.documents.papers import a_document, during


def an_entry(after: int, model: str = "m", reason: str = "because") -> Entry:
    before = after - 1 or None
    return Entry("2026-01-02T03:04:05Z", "ann", model, "put", before, after, reason)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit.jsonl"


def appended(file: Path, *entries: Entry) -> None:
    async def scene() -> None:
        async with Audit(file) as audit:
            for entry in entries:
                await audit.append(entry)

    during(scene)


def read(file: Path, limit: int = 1000, model: str | None = None) -> tuple[Entry, ...]:
    async def scene() -> tuple[Entry, ...]:
        async with Audit(file) as audit:
            return await audit.read(limit, model)

    return asyncio.run(scene())


def test_a_log_that_is_not_there_is_empty(file: Path) -> None:
    assert read(file) == ()


def test_entries_are_told_newest_first(file: Path) -> None:
    appended(file, an_entry(1), an_entry(2))
    appended(file, an_entry(3))
    assert read(file) == (an_entry(3), an_entry(2), an_entry(1))
    assert read(file, 2) == (an_entry(3), an_entry(2))
    assert read(file, 0) == ()


def test_entries_of_one_model_can_be_asked_for(file: Path) -> None:
    appended(file, an_entry(1), an_entry(1, "n"), an_entry(2))
    assert read(file, 10, "m") == (an_entry(2), an_entry(1))
    assert read(file, 1, "n") == (an_entry(1, "n"),)


def test_an_entry_is_a_line_of_json(file: Path) -> None:
    entry = Entry("2026-01-02T03:04:05Z", "ann", "m", "first_sight", None, 1, 'ä\n"')
    appended(file, entry)
    assert file.read_text() == (
        '{"at":"2026-01-02T03:04:05Z","who":"ann","model":"m","action":"first_sight",'
        '"from":null,"to":1,"reason":"ä\\n\\""}\n'
    )
    assert read(file) == (entry,)


@pytest.mark.parametrize("count", [1, 40])
def test_a_torn_line_is_taken_away_and_no_whole_one(file: Path, count: int) -> None:
    long = "x" * 5000  # so that a tail is longer than what is read at once
    entries = [an_entry(revision, reason=long) for revision in range(1, count + 1)]
    appended(file, *entries)
    whole = file.read_bytes()
    torn = line_of(an_entry(count + 1, reason=long * 30))
    for length in (1, 2, 100, 5000, 140_000, len(torn) - 2):
        file.write_bytes(whole + torn[:length])
        assert read(file) == tuple(reversed(entries))
        assert file.read_bytes() == whole
    file.write_bytes(whole + bytes(4096))  # what a power cut leaves of a page
    assert read(file) == tuple(reversed(entries))
    assert file.read_bytes() == whole


@pytest.mark.parametrize("reason", ["short", "x" * 150_000])
def test_a_line_that_lacks_its_end_alone_is_whole(file: Path, reason: str) -> None:
    appended(file, an_entry(1), an_entry(2, reason=reason))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert read(file) == (an_entry(2, reason=reason), an_entry(1))
    assert file.read_bytes() == whole


def test_what_is_no_entry_is_passed_over(file: Path) -> None:
    appended(file, an_entry(1))
    with file.open("ab") as stream:
        stream.write(b"\n[]\n{}\nrubbish\n\0\n\xff\n")
    appended(file, an_entry(2))
    assert read(file) == (an_entry(2), an_entry(1))


def test_a_log_that_was_moved_away_begins_anew(file: Path) -> None:
    def move_away() -> None:
        file.rename(file.with_suffix(".old"))

    async def scene() -> None:
        async with Audit(file) as audit:
            await audit.append(an_entry(1))
            move_away()
            await audit.append(an_entry(2))
            assert await audit.read(10) == (an_entry(2),)

    during(scene)


def test_a_disk_that_refuses_tears_no_line(file: Path) -> None:
    """What a full disk took of a line is taken away before the next."""

    def refuse() -> bytes:
        whole = file.read_bytes()
        file.unlink()
        file.mkdir()
        return whole

    def take_a_part(whole: bytes) -> None:
        file.rmdir()
        file.write_bytes(whole + line_of(an_entry(2))[:9])

    async def scene() -> None:
        async with Audit(file) as audit:
            await audit.append(an_entry(1))
            whole = refuse()
            with pytest.raises(Unreachable, match="Is a directory"):
                await audit.append(an_entry(2))
            take_a_part(whole)
            await audit.append(an_entry(3))
            assert await audit.read(10) == (an_entry(3), an_entry(1))

    during(scene)


def test_the_newest_of_a_long_log_are_found_without_reading_all_of_it(file: Path) -> None:
    line = line_of(an_entry(1, reason="x" * 1000))
    file.parent.mkdir()
    with file.open("wb") as stream:
        for _ in range(20_000):
            stream.write(line)
    stream_read: list[int] = []

    def counted(size: int) -> bytes:
        stream_read.append(size)
        return long.read(size)

    with file.open("rb", buffering=0) as long:
        lines = lines_from_end(long.seek, counted, file.stat().st_size)
        assert [next(lines) for _ in range(3)] == [b"", line[:-1], line[:-1]]
    assert len(stream_read) == 1
    assert len(read(file, 7)) == 7


@given(st.lists(st.binary(max_size=3).filter(lambda one: b"\n" not in one), min_size=1))
def test_lines_from_the_end_are_the_lines(lines: list[bytes]) -> None:
    whole = io.BytesIO(b"\n".join(lines))
    found = list(lines_from_end(whole.seek, whole.read, len(whole.getvalue())))
    assert found == lines[::-1]


@pytest.mark.parametrize("at", [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 200_000])
def test_a_line_may_end_wherever_a_block_does(at: int) -> None:
    lines = [b"first", b"x" * at, b"y" * ((64 << 10) - 1), b"last"]
    whole = io.BytesIO(b"\n".join(lines))
    found = list(lines_from_end(whole.seek, whole.read, len(whole.getvalue())))
    assert found == lines[::-1]


@pytest.mark.parametrize(
    "change",
    [{"to": None}, {"to": "1"}, {"from": "0"}, {"action": "guess"}, {"action": []}, {"who": 7}],
)
def test_an_entry_has_all_its_members(change: dict[str, object]) -> None:
    assert entry_of(orjson.dumps(shown(an_entry(1)))) == an_entry(1)
    assert entry_of(orjson.dumps(shown(an_entry(1)) | change)) is None


def test_whoever_is_killed_while_writing_loses_no_line_that_was_told(file: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from gateway.supervise.documents.audit import Audit\n"
        "from tests.supervise.documents.test_audit import an_entry\n"
        "async def main():\n"
        "    async with Audit(Path(sys.argv[1])) as audit:\n"
        "        for after in range(1, 10**6):\n"
        "            await audit.append(an_entry(after))\n"
        "            print(after, flush=True)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(50)]
        os.kill(writer.pid, signal.SIGKILL)
        told += [int(line) for line in writer.stdout if line.endswith("\n")]
        writer.wait(WATCHDOG_S)
    found = [entry.after for entry in reversed(read(file))]
    assert found[: len(told)] == told
    assert found == list(range(1, len(found) + 1))


# what a death left out


def test_what_is_told_is_not_missing() -> None:
    assert missing([an_entry(1), an_entry(2)], [a_document("m", 1), a_document("m", 2)]) == ()
    assert missing([], []) == ()


def test_a_document_says_itself_what_its_entry_would() -> None:
    (entry,) = missing([an_entry(1)], [a_document("m", 2, "cautious")])
    assert entry == Entry("2026-01-02T03:04:02Z", "ann", "m", "put", 1, 2, "cautious")


def test_the_first_revision_is_a_first_sight() -> None:
    (entry,) = missing([an_entry(9, "n")], [a_document("m")])
    assert (entry.action, entry.before, entry.after) == ("first_sight", None, 1)


def test_no_more_is_read_than_tells_that_the_newest_were_written() -> None:
    left = iter([an_entry(2, "n"), an_entry(4), an_entry(3), an_entry(1, "n")])
    assert missing(left, [a_document("m", 3), a_document("m", 4), a_document("n", 2)]) == ()
    assert list(left) == [an_entry(3), an_entry(1, "n")]


def test_nothing_is_read_for_nothing() -> None:
    left = iter([an_entry(1)])
    assert missing(left, []) == ()
    assert list(left) == [an_entry(1)]


def test_a_long_look_back_holds_up_no_entry(file: Path) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> Iterator[Document]:
        begun.set()
        assert may_end.wait(WATCHDOG_S)
        yield a_document("m", 2)

    async def scene() -> None:
        async with Audit(file) as audit:
            looking = asyncio.create_task(audit.untold(slow()))
            await asyncio.to_thread(begun.wait, WATCHDOG_S)
            await audit.append(an_entry(1))
            may_end.set()
            assert [entry.after for entry in await looking] == [2]

    during(scene)


def test_what_is_older_than_the_last_entry_is_not_missing() -> None:
    """It may have been told in a log that was moved away."""
    documents = [a_document("m", revision) for revision in (4, 3, 2, 1)]
    assert [one.after for one in missing([an_entry(3)], documents)] == [4]


def test_missing_entries_are_in_the_order_of_their_changes() -> None:
    documents = [a_document("n", 3), a_document("m", 2), a_document("m", 1)]
    found = [(one.model, one.after) for one in missing([], documents)]
    assert found == [("m", 1), ("m", 2), ("n", 3)]
