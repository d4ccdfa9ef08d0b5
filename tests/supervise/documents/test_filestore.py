"""Documents on disk: what a death, a full disk and a rotten one leave."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from gateway.supervise.documents.disk import Step
from gateway.supervise.documents.filestore import FileStore, revisions_in
from gateway.supervise.documents.names import file_name
from gateway.supervise.documents.store import MOST_REVISIONS, Conflict, Unreachable, Unreadable
from tests.server import ROOT, WATCHDOG_S
from tests.supervise.documents.papers import a_document, during, read, revisions_of

STEPS: tuple[Step, ...] = get_args(Step)
BEFORE = ("folder", "create", "write", "sync", "link")  # what dies there has not written


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the next write prunes."""
    folder = tmp_path_factory.mktemp("full") / "routes"

    async def scene() -> None:
        async with FileStore(folder, read) as store:
            for revision in range(1, MOST_REVISIONS + 1):
                await store.write(a_document("m", revision))

    during(scene)
    return folder


def files_in(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}


def die(folder: Path, revision: int, step: Step) -> int:
    """Have another process write a revision and die; return its exit code."""
    command = [sys.executable, "-m", "tests.supervise.documents.dying"]
    return subprocess.run(
        [*command, str(folder), str(revision), step], cwd=ROOT, timeout=WATCHDOG_S, check=False
    ).returncode


@pytest.mark.parametrize("step", STEPS)
def test_a_death_at_any_step_leaves_the_old_document_or_the_new(
    tmp_path: Path, full: Path, step: Step
) -> None:
    folder = tmp_path / "routes"
    shutil.copytree(full, folder)
    old, new = MOST_REVISIONS, MOST_REVISIONS + 1
    assert die(folder, new, step) == -signal.SIGKILL
    newest = old if step in BEFORE else new

    async def scene() -> None:
        async with FileStore(folder, read) as store:
            assert revisions_of(await store.current()) == {"m": newest}
            await store.write(a_document("m", newest + 1))
            kept = [one.revision for one in await store.revisions("m")]
            assert kept == list(range(newest + 1, newest + 1 - MOST_REVISIONS, -1))
            assert files_in(folder) == {f"m/{file_name(revision)}" for revision in kept}

    during(scene)


@pytest.mark.parametrize("step", [step for step in STEPS if step != "prune"])
def test_a_death_at_the_first_write_leaves_no_document_or_the_first(
    tmp_path: Path, step: Step
) -> None:
    folder = tmp_path / "state" / "routes"
    assert die(folder, 1, step) == -signal.SIGKILL
    found = {} if step in BEFORE else {"m": 1}

    async def scene() -> None:
        async with FileStore(folder, read) as store:
            assert revisions_of(await store.current()) == found
            await store.write(a_document("m", found.get("m", 0) + 1))

    during(scene)


def test_a_start_tidies_up_after_a_death(tmp_path: Path) -> None:
    folder = tmp_path / "routes"
    die(folder, 1, "link")
    assert len(files_in(folder)) == 1

    async def scene() -> None:
        async with FileStore(folder, read):
            assert files_in(folder) == set()

    during(scene)


def test_one_that_starts_meanwhile_spoils_no_write(tmp_path: Path) -> None:
    """Its tidying up takes what is written and not linked yet, once."""
    folder = tmp_path / "routes"
    taken: list[Path] = []

    def tidy_up(step: Step) -> None:
        if step == "link" and not taken:
            taken.extend(folder.glob("*/.new-*"))
            for one in taken:
                one.unlink()

    async def scene() -> None:
        async with FileStore(folder, read, tidy_up) as store:
            await store.write(a_document())
            assert await store.current() == {"m": a_document()}
            assert len(taken) == 1

    during(scene)


def test_one_that_slept_through_a_hundred_writes_has_not_won(tmp_path: Path) -> None:
    folder = tmp_path / "routes"

    def sleep(step: Step) -> None:
        if step == "link":
            write_on()

    def write_on() -> None:
        for revision in range(2, MOST_REVISIONS + 3):
            text = (folder / "m" / file_name(1)).read_bytes()
            (folder / "m" / file_name(revision)).write_bytes(
                text.replace(b'"revision":1,', b'"revision":%d,' % revision)
            )
        (folder / "m" / file_name(2)).unlink()  # pruned

    async def scene() -> None:
        async with FileStore(folder, read) as store:
            await store.write(a_document())
        async with FileStore(folder, read, sleep) as late:
            with pytest.raises(Conflict) as caught:
                await late.write(a_document("m", 2, "late"))
            newest = replace(a_document(), revision=MOST_REVISIONS + 2)
            assert caught.value.current == newest
            assert not (folder / "m" / file_name(2)).exists()

    during(scene)


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: b"",
        lambda text: text[: len(text) // 2],
        lambda text: bytes(len(text)),
        lambda text: b"[]",
        lambda text: text.replace(b'"revision":2', b'"revision":3'),
        lambda text: text.replace(b'"model":"m"', b'"model":"n"'),
    ],
)
def test_a_newest_document_that_cannot_be_read_is_named_and_no_older_one_is_taken(
    tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    folder = tmp_path / "routes"
    newest = folder / "m" / file_name(2)

    async def scene() -> None:
        async with FileStore(folder, read) as store:
            await store.write(a_document("n"))
            for revision in (1, 2):
                await store.write(a_document("m", revision))
            newest.write_bytes(harm(newest.read_bytes()))
            assert store.trouble() is None
            assert revisions_of(await store.current()) == {"n": 1}
            assert str(newest) in (store.trouble() or "")
            assert store.trouble("m") == store.trouble()
            assert store.trouble("n") is None
            with pytest.raises(Unreadable, match=str(newest)):
                await store.write(a_document("m", 1))
            with pytest.raises(Unreadable, match=str(newest)):
                await store.revisions("m")
            found, faults = await store.readable()
            assert (revisions_of(found), len(faults)) == ({"n": 1}, 1)

    during(scene)


def test_an_older_document_that_cannot_be_read_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with FileStore(tmp_path, read) as store:
            for revision in (1, 2, 3):
                await store.write(a_document("m", revision))
            (tmp_path / "m" / file_name(2)).write_bytes(b"{")
            assert [one.revision for one in await store.revisions("m")] == [3, 1]

    with caplog.at_level(logging.WARNING):
        during(scene)
    assert file_name(2) in caplog.text


def test_what_is_no_document_of_ours_is_passed_over(tmp_path: Path) -> None:
    async def scene() -> None:
        async with FileStore(tmp_path, read) as store:
            await store.write(a_document())
            (tmp_path / "notes.txt").write_text("mine")
            (tmp_path / "empty").mkdir()
            (tmp_path / "m" / "1.json").write_text("{}")
            (tmp_path / "m" / file_name(9)).with_suffix(".json~").write_text("{}")
            assert await store.current() == {"m": a_document()}

    during(scene)


def test_what_is_kept_may_leave_revisions_out_and_never_goes_back(tmp_path: Path) -> None:
    async def scene() -> None:
        async with FileStore(tmp_path, read) as store:
            for revision, reason in ((7, "first"), (3, "older"), (7, "the same"), (9, "newer")):
                await store.keep(a_document("m", revision, reason))
            expected = (a_document("m", 9, "newer"), a_document("m", 7, "first"))
            assert await store.revisions("m") == expected

    during(scene)


def test_of_what_is_kept_a_hundred_stay(tmp_path: Path) -> None:
    async def scene() -> None:
        async with FileStore(tmp_path, read) as store:
            for revision in range(2, 2 * MOST_REVISIONS + 6, 2):
                await store.keep(a_document("m", revision))
        assert len(revisions_in(tmp_path / "m")) == MOST_REVISIONS

    during(scene)


def test_a_disk_that_refuses_is_no_conflict(tmp_path: Path) -> None:
    def refuse(step: Step) -> None:
        if step == "sync":
            raise OSError(28, os.strerror(28))

    async def scene() -> None:
        async with FileStore(tmp_path, read, refuse) as store:
            with pytest.raises(Unreachable, match="No space left on device"):
                await store.write(a_document())
            assert await store.current() == {}
            assert files_in(tmp_path) == set()

    during(scene)


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")

    async def scene() -> None:
        with pytest.raises(Unreachable, match="state"):
            async with FileStore(tmp_path / "state" / "routes", read):
                pass

    during(scene)


def test_documents_are_nobody_elses_to_read(tmp_path: Path) -> None:
    async def scene() -> None:
        async with FileStore(tmp_path / "routes", read) as store:
            await store.write(a_document())

    during(scene)
    modes = [one.stat().st_mode & 0o777 for one in (tmp_path / "routes").rglob("*")]
    assert [mode & 0o077 for mode in modes] == [0, 0]
