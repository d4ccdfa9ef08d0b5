"""What every store promises, over each of them."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.documents import Document
from gateway.supervise.documents.store import (
    MOST_REVISIONS,
    Conflict,
    Store,
    Unreachable,
    Unreadable,
)
from gateway.wire.failures import status_of
from tests.server import ROOT, WATCHDOG_S
from tests.supervise.documents.papers import a_document, during, revisions_of
from tests.supervise.documents.places import Open, in_folder, in_redis
from tests.supervise.documents.racing import won
from tests.supervise.documents.redisserver import RedisServer, redis_server

HOSTILE = (
    *(".", "..", "...", "-rf", "~", "con", "a b", "%", "%2E", "a%2Fb", "=", "*?[x]", "modèle"),
    *("\u202e", "e\u0301", "\xe9", "a:b", "'\"`$(x)", ".new-0", "0000000001.json", "é" * 256),
    *("x" * 256, "x" * 255 + "y", "x" * 255, "𝔪" * 256),
)


@pytest.fixture(params=["file", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "file":
        return in_folder(tmp_path)
    shared: RedisServer = request.getfixturevalue("shared_redis")
    return in_redis(shared.url, tmp_path, f"test:{request.node.name}")


async def refused(store: Store, document: Document) -> Document | None:
    """Write what cannot be written; return what is said to be the newest."""
    with pytest.raises(Conflict) as caught:
        await store.write(document)
    return caught.value.current


def test_an_empty_place_has_no_documents(place: Open) -> None:
    async def scene() -> None:
        async with place() as store:
            assert await store.current() == {}
            assert await store.revisions("m") == ()
            assert store.trouble() is None

    during(scene)


def test_what_was_written_is_current_for_everybody(place: Open) -> None:
    async def scene() -> None:
        async with place() as one, place() as other:
            await one.write(a_document("m"))
            await one.write(a_document("n"))
            await one.write(a_document("m", 2, "again"))
            expected = {"m": a_document("m", 2, "again"), "n": a_document("n")}
            assert await one.current() == expected
            assert await other.current() == expected

    during(scene)


def test_what_was_written_is_there_after_a_restart(place: Open) -> None:
    async def scene() -> None:
        async with place() as store:
            await store.write(a_document())
        async with place() as store:
            assert await store.current() == {"m": a_document()}

    during(scene)


def test_revisions_are_told_newest_first(place: Open) -> None:
    async def scene() -> None:
        async with place() as store:
            for revision in (1, 2, 3):
                await store.write(a_document("m", revision))
            await store.write(a_document("n"))
            expected = tuple(a_document("m", revision) for revision in (3, 2, 1))
            assert await store.revisions("m") == expected

    during(scene)


def test_a_hundred_revisions_are_kept(place: Open) -> None:
    async def scene() -> None:
        async with place() as store, place() as other:
            for revision in range(1, MOST_REVISIONS + 4):
                await store.write(a_document("m", revision))
            expected = list(range(MOST_REVISIONS + 3, 3, -1))
            assert [one.revision for one in await store.revisions("m")] == expected
            assert [one.revision for one in await other.revisions("m")] == expected

    during(scene)


@pytest.mark.parametrize("revision", [0, 1, 2, 4, 100])
def test_a_revision_that_is_not_the_next_changes_nothing(place: Open, revision: int) -> None:
    async def scene() -> None:
        async with place() as store:
            for written in (1, 2):
                await store.write(a_document("m", written))
            assert await refused(store, a_document("m", revision, "late")) == a_document("m", 2)
            assert await store.current() == {"m": a_document("m", 2)}
            assert len(await store.revisions("m")) == 2

    during(scene)


@pytest.mark.parametrize("revision", [0, 2])
def test_the_first_revision_is_one(place: Open, revision: int) -> None:
    async def scene() -> None:
        async with place() as store:
            assert await refused(store, a_document("m", revision)) is None
            assert await store.current() == {}

    during(scene)


def test_of_racing_writers_in_one_process_exactly_one_wins(place: Open) -> None:
    async def scene() -> None:
        async with place() as one, place() as other:
            for revision in range(1, 11):
                written = [
                    a_document("m", revision, reason) for reason in ("one", "other", "one too")
                ]
                stores = (one, other, one)
                ends = await asyncio.gather(
                    *(store.write(each) for store, each in zip(stores, written, strict=True)),
                    return_exceptions=True,
                )
                winners = [each for each, end in zip(written, ends, strict=True) if end is None]
                assert [type(end) for end in ends].count(Conflict) == 2, ends
                assert await one.current() == await other.current() == {"m": winners[0]}

    during(scene)


def test_racing_writers_share_the_revisions_among_them(place: Open) -> None:
    async def scene() -> None:
        async with place() as one, place() as other:
            parts = await asyncio.gather(won(one, "one", 40), won(other, "other", 40))
            assert sorted(revision for part in parts for revision in part) == list(range(1, 41))

    during(scene)


@pytest.mark.parametrize("kind", ["file", "redis"])
def test_of_racing_processes_exactly_one_wins_each_revision(kind: str, tmp_path: Path) -> None:
    with redis_server() as server:
        urls = [server.url] if kind == "redis" else []
        command = [sys.executable, "-m", "tests.supervise.documents.racing"]
        racers = [
            subprocess.Popen(
                [*command, who, "300", str(tmp_path), *urls],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for who in ("one", "other")
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        said = [racer.communicate(timeout=2 * WATCHDOG_S)[0].split() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert sorted(int(word) for part in said for word in part) == list(range(1, 301))


def test_names_hostile_to_file_systems_are_names_like_any_other(place: Open) -> None:
    async def scene() -> None:
        async with place() as store:
            for model in HOSTILE:
                await store.write(a_document(model))
                await store.write(a_document(model, 2))
        async with place() as store:
            assert revisions_of(await store.current()) == dict.fromkeys(HOSTILE, 2)
            for model in HOSTILE:
                kept = await store.revisions(model)
                assert kept == (a_document(model, 2), a_document(model))

    during(scene)


@pytest.mark.parametrize("kind", [Unreachable, Unreadable])
def test_a_store_that_cannot_answer_is_not_ready(kind: type[Unreachable | Unreadable]) -> None:
    assert status_of(kind("the disk is full")) == 503


def test_a_conflict_says_what_is_newest() -> None:
    assert str(Conflict("m", None)) == "the newest of 'm' is no document"
    assert str(Conflict("m", a_document("m", 7))) == "the newest of 'm' is revision 7"
