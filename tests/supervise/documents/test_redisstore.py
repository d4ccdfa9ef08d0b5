"""Documents in Redis: what is known while it is away, wiped, stopped, or lies."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.supervise.documents.filestore import FileStore
from gateway.supervise.documents.redisstore import RedisStore
from gateway.supervise.documents.store import Conflict, Unreachable, Unreadable
from gateway.supervise.documents.texts import text_of
from tests.supervise.documents.papers import a_document, during, read, revisions_of, until
from tests.supervise.documents.redisserver import RedisServer, redis_server

NEWEST, HISTORY = "gateway:routes:newest", "gateway:routes:history:m"
SOON_S, NEVER_S = 0.1, 3600.0
BOUND_S = 3.0  # of a write; two for Redis, and one for a machine that is busy


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server(is_lasting=True) as running:
        yield running


@dataclass
class Machine:
    """A gateway's machine: its disk, and what its store heard."""

    url: str
    folder: Path
    every_s: float = SOON_S
    heard: Counter[str] = field(default_factory=Counter)

    def store(self) -> RedisStore:
        files = FileStore(self.folder, read)
        changed: Callable[[str], None] = lambda model: self.heard.update([model])
        return RedisStore(self.url, files, read, changed, every_s=self.every_s)


@pytest.fixture
def ours(server: RedisServer, tmp_path: Path) -> Machine:
    return Machine(server.url, tmp_path / "ours" / "routes")


@pytest.fixture
def theirs(server: RedisServer, tmp_path: Path) -> Machine:
    return Machine(server.url, tmp_path / "theirs" / "routes")


async def write(store: RedisStore, *revisions: int) -> None:
    for revision in revisions:
        await store.write(a_document("m", revision))


async def is_away(store: RedisStore) -> None:
    await until(lambda: "Redis is away" in str(store.trouble()), store.trouble)


async def is_well(store: RedisStore) -> None:
    await until(lambda: store.trouble() is None, store.trouble)


@asynccontextmanager
async def within(bound_s: float) -> AsyncIterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < bound_s


# news


def test_what_others_write_is_heard_at_once(ours: Machine, theirs: Machine) -> None:
    ours.every_s = NEVER_S

    async def scene() -> None:
        async with ours.store() as store, theirs.store() as other:
            await other.write(a_document())
            await until(lambda: ours.heard == {"m": 1}, lambda: ours.heard)
            assert await store.current() == {"m": a_document()}

    during(scene)


def test_ones_own_writes_are_no_news(ours: Machine, theirs: Machine) -> None:
    async def scene() -> None:
        async with ours.store() as store, theirs.store():
            await write(store, *range(1, 21))
            await until(lambda: theirs.heard["m"] > 0, lambda: theirs.heard)
        assert ours.heard == {}

    during(scene)


def test_looking_finds_what_no_message_told(server: RedisServer, ours: Machine) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            server.say("LPUSH", HISTORY, text_of(a_document()))
            server.say("HSET", NEWEST, "m", 1)
            await until(lambda: ours.heard == {"m": 1}, lambda: ours.heard)
            assert await store.current() == {"m": a_document()}

    during(scene)


def test_a_lost_subscription_is_made_again(
    server: RedisServer, ours: Machine, theirs: Machine
) -> None:
    ours.every_s = theirs.every_s = NEVER_S

    def subscribers() -> int:
        return int(server.say("PUBSUB", "NUMSUB", "gateway:routes:changed").split(b":")[-1])

    async def scene() -> None:
        async with ours.store(), theirs.store() as other:
            await write(other, 1)
            await until(lambda: ours.heard["m"] == 1, lambda: ours.heard)
            server.say("CLIENT", "KILL", "TYPE", "pubsub")
            await write(other, 2)
            await until(lambda: ours.heard["m"] == 2, lambda: ours.heard)
            await until(lambda: subscribers() == 2, subscribers)
            await write(other, 3)
            await until(lambda: ours.heard["m"] == 3, lambda: ours.heard)

    during(scene)


# away


def test_a_redis_that_is_killed_leaves_what_is_last_known(
    server: RedisServer, ours: Machine
) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1, 2)
            server.kill()
            assert await store.current() == {"m": a_document("m", 2)}
            await is_away(store)
            assert await store.revisions("m") == (a_document("m", 2), a_document("m", 1))
            async with within(BOUND_S):
                with pytest.raises(Unreachable):
                    await write(store, 3)
        assert ours.heard == {}

    during(scene)


def test_a_redis_that_comes_back_is_followed_again(
    server: RedisServer, ours: Machine, theirs: Machine
) -> None:
    async def scene() -> None:
        async with ours.store() as store, theirs.store() as other:
            await write(store, 1)
            server.kill()
            await is_away(store)
            await is_away(other)
            server.start()
            await is_well(store)
            await is_well(other)
            await write(store, 2)
            await until(lambda: theirs.heard["m"] == 2, lambda: theirs.heard)

    during(scene)


def test_what_is_last_known_outlives_a_restart_of_ours(server: RedisServer, ours: Machine) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1, 2)
        server.kill()
        async with ours.store() as store:
            assert await store.current() == {"m": a_document("m", 2)}
            assert "Redis is away" in str(store.trouble())

    during(scene)


def test_what_others_wrote_is_last_known_too(
    server: RedisServer, ours: Machine, theirs: Machine
) -> None:
    async def scene() -> None:
        async with ours.store(), theirs.store() as other:
            await write(other, 1)
            await until(lambda: ours.heard["m"] == 1, lambda: ours.heard)
        server.kill()
        async with ours.store() as store:
            assert await store.current() == {"m": a_document()}

    during(scene)


def test_without_any_document_and_without_redis_nothing_is_known(
    server: RedisServer, ours: Machine
) -> None:
    server.kill()

    async def scene() -> None:
        async with ours.store() as store:
            with pytest.raises(Unreachable, match="Redis is away"):
                await store.current()
            server.start()
            await is_well(store)
            assert await store.current() == {}

    during(scene)


def test_a_redis_that_is_stopped_holds_nobody(server: RedisServer, ours: Machine) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1)
            with server.stopped():
                async with within(BOUND_S):
                    with pytest.raises(Unreachable):
                        await write(store, 2)
                async with within(BOUND_S):
                    assert await store.current() == {"m": a_document()}
                async with within(BOUND_S):
                    assert await store.revisions("m") == (a_document(),)
                await is_away(store)
                async with within(0.5):
                    assert await store.current() == {"m": a_document()}
            await is_well(store)

    during(scene)


def test_a_write_that_a_stopped_redis_does_later_is_news(
    server: RedisServer, ours: Machine
) -> None:
    """Whoever was told that it failed is told that it was done after all."""

    async def scene() -> None:
        async with ours.store() as store:
            with server.stopped(), pytest.raises(Unreachable):
                await write(store, 1)
            await until(lambda: ours.heard == {"m": 1}, lambda: ours.heard)
            assert await store.current() == {"m": a_document()}

    during(scene)


@pytest.mark.parametrize("is_known", [False, True])
def test_one_may_start_and_leave_while_redis_is_stopped(
    server: RedisServer, ours: Machine, is_known: bool
) -> None:
    async def scene() -> None:
        if is_known:
            async with ours.store() as store:
                await write(store, 1)
        with server.stopped():
            async with within(2 * BOUND_S), ours.store() as store:
                assert "Redis is away" in str(store.trouble())
                if is_known:
                    assert await store.current() == {"m": a_document()}
            async with within(2 * BOUND_S):
                await write_nothing(ours)

    async def write_nothing(machine: Machine) -> None:
        async with machine.store() as store:
            with pytest.raises(Unreachable):
                await store.write(a_document("n"))

    during(scene)


def test_nothing_is_left_behind(server: RedisServer, ours: Machine) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1)
        assert len(asyncio.all_tasks()) == 1
        await until(
            lambda: server.say("CLIENT", "LIST").count(b"id=") == 1,
            lambda: server.say("CLIENT", "LIST"),
        )

    during(scene)


def test_one_may_leave_at_any_moment(ours: Machine) -> None:
    """A client that forgets a cancellation would keep its task, and whoever waits for that."""

    async def scene() -> None:
        for moment in range(60):
            async with within(BOUND_S), ours.store() as store:
                if moment % 2:
                    await store.current()
                for _ in range(moment // 2):
                    await asyncio.sleep(0)

    during(scene)


@pytest.mark.parametrize(
    "banner", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*-7\r\n", b"\0" * 99]
)
def test_what_is_no_redis_is_away(tmp_path: Path, banner: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(banner)
        writer.close()

    async def scene() -> None:
        impostor = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with impostor:
            port = impostor.sockets[0].getsockname()[1]
            async with Machine(f"redis://127.0.0.1:{port}", tmp_path).store() as store:
                assert "Redis is away" in str(store.trouble())
                with pytest.raises(Unreachable):
                    await write(store, 1)

    during(scene)


# wiped, and lying


def test_a_redis_that_was_wiped_gets_back_what_it_lost(
    server: RedisServer, ours: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1, 2)
            server.say("FLUSHALL")
            await until(lambda: server.say("HGET", NEWEST, "m") == b"$1\r\n2\r\n", store.trouble)
            assert await store.current() == {"m": a_document("m", 2)}
            assert await store.revisions("m") == (a_document("m", 2), a_document("m", 1))
        assert ours.heard == {}

    with caplog.at_level(logging.WARNING):
        during(scene)
    assert "Redis had lost, and has again: revision 2 of 'm'" in caplog.text


def test_the_next_revision_can_be_written_right_after_a_wipe(
    server: RedisServer, ours: Machine, theirs: Machine
) -> None:
    ours.every_s = NEVER_S

    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1, 2)
            server.say("FLUSHALL")
            await write(store, 3)
            async with theirs.store() as other:
                assert await other.current() == {"m": a_document("m", 3)}

    during(scene)


def test_one_who_knows_less_cannot_write_below_what_another_gave_back(
    server: RedisServer, ours: Machine, theirs: Machine
) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1, 2)
            server.say("FLUSHALL")
            async with theirs.store() as other:
                await store.current()
                with pytest.raises(Conflict) as caught:
                    await other.write(a_document("m", 1, "anew"))
                assert caught.value.current == a_document("m", 2)

    during(scene)


@pytest.mark.parametrize("revision", ["1", "banana", "-1", "", "1e3", "\udcff"])
def test_what_is_lower_or_no_revision_is_no_news(
    server: RedisServer, ours: Machine, revision: str
) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1, 2)
            server.say("HSET", NEWEST, "m", revision.encode(errors="surrogateescape"))
            if revision == "1e3":  # a number to Lua, so it stands; and to us it is none
                await until(lambda: "is no number" in str(store.trouble()), store.trouble)
                with pytest.raises(Unreachable, match="does not take what it lacks"):
                    await write(store, 3)
            else:
                await until(
                    lambda: server.say("HGET", NEWEST, "m") == b"$1\r\n2\r\n", store.trouble
                )
                await is_well(store)
            assert await store.current() == {"m": a_document("m", 2)}
        assert ours.heard == {}

    during(scene)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"\xff", text_of(a_document("m", 2)), text_of(a_document("n", 9))],
)
def test_a_higher_revision_that_cannot_be_read_is_told_and_not_taken(
    server: RedisServer, ours: Machine, text: bytes
) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1, 2)
            server.say("LPUSH", HISTORY, text)
            server.say("HSET", NEWEST, "m", 9)
            await until(lambda: "revision 9 of 'm'" in str(store.trouble()), store.trouble)
            assert await store.current() == {"m": a_document("m", 2)}
            assert await store.revisions("m") == (a_document("m", 2), a_document("m", 1))
            with pytest.raises(Unreadable, match="revision 9 of 'm'"):
                await write(store, 3)
            await store.write(a_document("n"))
        assert ours.heard == {}

    during(scene)


def test_a_document_that_is_gone_is_told(server: RedisServer, ours: Machine) -> None:
    server.say("HSET", NEWEST, "m", 9)

    async def scene() -> None:
        async with ours.store() as store:
            assert "as revision 9 of 'm' is no document: it is gone" in str(store.trouble())
            assert await store.current() == {}

    during(scene)


@pytest.mark.parametrize("key", [NEWEST, HISTORY])
def test_a_key_of_a_wrong_type_loses_nothing_and_is_told(
    server: RedisServer, ours: Machine, key: str
) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1, 2)
            server.say("FLUSHALL")
            server.say("SET", key, "mine")
            await until(lambda: "WRONGTYPE" in str(store.trouble()), store.trouble)
            assert await store.current() == {"m": a_document("m", 2)}
            assert await store.revisions("m") == (a_document("m", 2), a_document("m", 1))
            with pytest.raises(Unreachable, match="WRONGTYPE"):
                await write(store, 3)
            assert server.say("GET", key) == b"$4\r\nmine\r\n"
            server.say("DEL", key)
            await is_well(store)
            await write(store, 3)

    during(scene)


def test_a_redis_that_takes_no_writes_is_read(
    server: RedisServer, ours: Machine, theirs: Machine
) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1)
            server.say("REPLICAOF", "127.0.0.1", 1)
            with pytest.raises(Unreachable, match="read only"):
                await write(store, 2)
            assert store.trouble() is None
            async with theirs.store() as other:
                assert await other.current() == {"m": a_document()}
            server.say("REPLICAOF", "NO", "ONE")
            await write(store, 2)

    during(scene)


def test_a_redis_that_does_not_take_back_what_it_lost_is_trouble(
    server: RedisServer, ours: Machine
) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1)
            server.say("MULTI")
            server.say("FLUSHALL")
            server.say("REPLICAOF", "127.0.0.1", 1)
            await store.current()
            if server.say("HGET", NEWEST, "m") == b"$-1\r\n":
                await until(lambda: "does not take it back" in str(store.trouble()), store.trouble)
            server.say("REPLICAOF", "NO", "ONE")
            await is_well(store)
            assert server.say("HGET", NEWEST, "m") == b"$1\r\n1\r\n"

    during(scene)


def test_machines_that_meet_agree_on_the_highest_revision(
    server: RedisServer, ours: Machine, theirs: Machine
) -> None:
    """So those who had files before they had a Redis bring them along."""

    async def scene() -> None:
        for machine, models in ((ours, {"m": 3, "n": 1}), (theirs, {"m": 1, "n": 5, "o": 1})):
            async with FileStore(machine.folder, read) as files:
                for model, revision in models.items():
                    await files.keep(a_document(model, revision))
        async with ours.store() as store, theirs.store() as other:
            expected = {"m": 3, "n": 5, "o": 1}
            assert revisions_of(await store.current()) == expected
            assert revisions_of(await other.current()) == expected
            await store.write(a_document("n", 6))
            await other.write(a_document("m", 4))

    during(scene)


def test_hundreds_of_models_are_fetched_and_given_back(
    server: RedisServer, ours: Machine, theirs: Machine
) -> None:
    models = [f"model-{number}" for number in range(205)]

    async def scene() -> None:
        async with ours.store() as store:
            for model in models:
                await store.write(a_document(model))
            server.say("FLUSHALL")
            await store.current()
            async with theirs.store() as other:
                assert revisions_of(await other.current()) == dict.fromkeys(models, 1)
                assert theirs.heard == dict.fromkeys(models, 1)

    during(scene)


# our own disk


def test_a_disk_that_keeps_nothing_is_told_and_keeps_nobody_from_serving(
    server: RedisServer, tmp_path: Path, theirs: Machine
) -> None:
    def refuse(step: str) -> None:
        if step == "sync":
            raise OSError(28, "No space left on device")

    async def scene() -> None:
        files = FileStore(tmp_path / "full", read, refuse)
        heard: list[str] = []
        async with (
            RedisStore(server.url, files, read, heard.append, every_s=SOON_S) as store,
            theirs.store() as other,
        ):
            await other.write(a_document())
            await until(lambda: heard == ["m"], lambda: heard)
            assert await store.current() == {"m": a_document()}
            assert "No space left on device" in str(store.trouble())
            await store.write(a_document("m", 2))
            assert await other.current() == {"m": a_document("m", 2)}

    during(scene)


def test_a_rotten_file_is_told_and_redis_is_asked(ours: Machine) -> None:
    async def scene() -> None:
        async with ours.store() as store:
            await write(store, 1)
        next(ours.folder.glob("m/*.json")).write_text("{")
        async with ours.store() as store:
            assert await store.current() == {"m": a_document()}
            assert "is not the document it should be" in str(store.trouble())

    during(scene)
