"""The traffic of a host, with the store and the audit that its configuration names."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.core.documents import Document
from gateway.core.lifecycle import Ready
from gateway.core.pinning import AUTOMATIC
from gateway.errors import NotReady, RevisionConflict
from gateway.supervise.steering import open_traffic
from gateway.supervise.traffic import Traffic
from tests.server import WATCHDOG_S
from tests.supervise.documents.redisserver import RedisServer, redis_server
from tests.supervise.steered import FakeInventory, proposal


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def config(folder: Path, url: str | None = None, new_versions: str = "hold") -> Config:
    tables: dict[str, object] = {"state": {"dir": str(folder)}, "redis": {"url": url}}
    return Config.model_validate({**tables, "routes": {"new_versions": new_versions}})


@asynccontextmanager
async def host(settings: Config) -> AsyncIterator[tuple[Traffic, "Listening"]]:
    """A traffic that has started, in a host that serves version 1 and 2 of model `m`."""
    inventory = Listening()
    async with asyncio.timeout(WATCHDOG_S), open_traffic(settings) as traffic:
        inventory.see = traffic.see
        traffic.introduce(inventory, dict)
        for version in ("1", "2"):
            inventory.have("m", version, Ready())
        await traffic.start()
        await inventory.adopt()
        await traffic.settle()
        yield traffic, inventory


class Listening(FakeInventory):
    """An inventory in which one may wait for a revision."""

    def __init__(self) -> None:
        super().__init__()
        self._adopted = asyncio.Event()

    async def adopt(self, *documents: Document, is_back: bool = False) -> None:
        await super().adopt(*documents, is_back=is_back)
        self._adopted.set()

    async def revision(self, wanted: int) -> Document:
        """Return the document of `m` once it has this revision."""
        while (found := self.document("m")) is None or found.revision < wanted:
            self._adopted.clear()
            await self._adopted.wait()
        return found


def test_documents_and_their_audit_lie_in_the_folder_of_the_state(tmp_path: Path) -> None:
    folder = tmp_path / "state"

    async def scene() -> None:
        async with host(config(folder)) as (traffic, _):
            await traffic.put(traffic.document("m"), proposal(), "ann")
            assert traffic.trouble() is None

    asyncio.run(scene())
    kept = [json.loads(file.read_bytes()) for file in sorted(folder.glob("routes/m/*.json"))]
    assert [(one["revision"], one["changed_by"]) for one in kept] == [(1, AUTOMATIC), (2, "ann")]
    lines = [json.loads(line) for line in (folder / "audit.jsonl").read_bytes().splitlines()]
    assert [(one["action"], one["to"]) for one in lines] == [("first_sight", 1), ("put", 2)]


def test_what_was_in_force_is_so_after_a_restart_to_the_letter(tmp_path: Path) -> None:
    async def scene(is_first: bool) -> Document:
        async with host(config(tmp_path)) as (traffic, _):
            if is_first:
                sticky = {"by": "header:x-user-id", "salt": "s"}
                raw = proposal(sticky=sticky, rules=RULES)
                await traffic.put(traffic.document("m"), raw, "ann")
            return traffic.document("m")

    assert asyncio.run(scene(is_first=True)) == asyncio.run(scene(is_first=False))


RULES = [{"if": {"any": [{"header": "x-tier", "equals": "beta"}]}, "variant": "canary"}]


def test_a_change_says_when_it_was_made_in_utc(tmp_path: Path) -> None:
    async def scene() -> str:
        async with host(config(tmp_path)) as (traffic, _):
            return traffic.document("m").changed_at

    told = asyncio.run(scene())
    assert told.endswith("+00:00")
    assert len(told) == len("2026-01-01T00:00:00.000+00:00")


@pytest.mark.parametrize("new_versions", ["hold", "serve"])
def test_what_new_versions_get_is_as_configured(tmp_path: Path, new_versions: str) -> None:
    async def scene() -> str:
        async with host(config(tmp_path, new_versions=new_versions)) as (traffic, inventory):
            inventory.have("m", "3", Ready())
            await inventory.adopt()
            return traffic.document("m").variants[0].version

    assert asyncio.run(scene()) == {"hold": "2", "serve": "3"}[new_versions]


@pytest.mark.parametrize("taken", ["state", "state/routes", "state/audit.jsonl"])
def test_a_folder_that_cannot_be_used_is_said_at_once(tmp_path: Path, taken: str) -> None:
    """A file where a folder should be, or the other way round: permissions stop no root."""
    place = tmp_path / taken
    place.parent.mkdir(exist_ok=True)
    if taken.endswith("jsonl"):
        place.mkdir()
    else:
        place.write_text("")

    async def scene() -> None:
        async with open_traffic(config(tmp_path / "state")):
            raise AssertionError

    with pytest.raises(NotReady) as refused:
        asyncio.run(scene())
    assert str(tmp_path / "state") in str(refused.value)


def test_what_is_stored_and_is_no_document_takes_its_model_alone_out(tmp_path: Path) -> None:
    async def scene(is_first: bool) -> None:
        async with host(config(tmp_path)) as (traffic, inventory):
            inventory.have("n", "1", Ready())
            await inventory.adopt()
            assert traffic.document("n").revision == 1
            if is_first:
                await traffic.put(traffic.document("m"), proposal(), "ann")
                return
            for model in (None, "m"):
                assert "is not the document" in (traffic.trouble(model) or "")
            with pytest.raises(NotReady, match="is not the document"):
                traffic.document("m")

    asyncio.run(scene(is_first=True))
    newest = max(tmp_path.glob("routes/m/*.json"))
    newest.write_text("{}")
    asyncio.run(scene(is_first=False))
    assert newest.read_text() == "{}"


# a fleet


def test_hosts_with_one_redis_have_one_document(tmp_path: Path, redis: RedisServer) -> None:
    async def scene() -> None:
        a, b = (config(tmp_path / name, redis.url) for name in "ab")
        async with host(a) as (one, here), host(b) as (other, there):
            assert one.document("m") == other.document("m")
            changed = await one.put(one.document("m"), proposal(), "ann")
            assert await there.revision(2) == changed
            back = await other.roll_back(other.document("m"), None, "it is bad", "bob")
            assert await here.revision(3) == back
            assert one.trouble() is None

    asyncio.run(scene())
    lines = (tmp_path / "b" / "audit.jsonl").read_bytes().splitlines()
    told = [(json.loads(line)["who"], json.loads(line)["action"]) for line in lines]
    assert told[-2:] == [("ann", "adopted"), ("bob", "rollback")]


def test_of_two_hosts_that_change_one_revision_one_is_refused(
    tmp_path: Path, redis: RedisServer
) -> None:
    async def scene() -> list[object]:
        a, b = (config(tmp_path / name, redis.url) for name in "ab")
        async with host(a) as (one, _), host(b) as (other, _):
            racing = [each.put(each.document("m"), proposal(), "ann") for each in (one, other)]
            return await asyncio.gather(*racing, return_exceptions=True)

    ended = asyncio.run(scene())
    assert sorted(type(each).__name__ for each in ended) == ["Document", "RevisionConflict"]
    (lost,) = [each for each in ended if isinstance(each, RevisionConflict)]
    assert lost.current == 2


def test_without_its_redis_a_host_knows_no_document_and_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        async with host(config(tmp_path, f"unix://{tmp_path}/nobody")) as (traffic, _):
            with pytest.raises(NotReady, match="no routing document"):
                traffic.document("m")
            assert (traffic.trouble() or "").startswith("Redis is away: ")

    asyncio.run(scene())


def test_without_its_redis_a_host_goes_on_by_what_it_knew(
    tmp_path: Path, redis: RedisServer
) -> None:
    async def scene() -> Document:
        async with host(config(tmp_path, redis.url)) as (traffic, _):
            return traffic.document("m")

    before = asyncio.run(scene())
    redis.kill()
    assert asyncio.run(scene()) == before
