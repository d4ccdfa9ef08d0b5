"""Steering: what this host shares with others, and keeps: as the configuration says where.

Job    open traffic with its store and audit, in their order; open the way to other hosts.
Life   `open_traffic` and `open_hosts`, as long as the supervisor.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from gateway.config import Config
from gateway.core.proposals import read_stored
from gateway.supervise.commits import Commits
from gateway.supervise.documents.audit import Audit
from gateway.supervise.documents.filestore import FileStore
from gateway.supervise.documents.redisstore import RedisStore
from gateway.supervise.documents.store import Store
from gateway.supervise.hosts import Alone, Hosts, Together
from gateway.supervise.sights import Sights
from gateway.supervise.traffic import Traffic


class _News:
    """Passes on which model's document somebody else has changed.

    Mutable state: to whom. What is heard before anybody listens is in the store by then.
    """

    def __init__(self) -> None:
        self.tell: Callable[[str], None] | None = None

    def __call__(self, model: str) -> None:
        if self.tell is not None:
            self.tell(model)


@asynccontextmanager
async def open_traffic(config: Config) -> AsyncIterator[Traffic]:
    """Have documents kept and changed until the block is left.

    Raises: NotReady where the folder of the state cannot be used.
    """
    folder, serves_new = config.state.dir, config.routes.new_versions == "serve"
    news = _News()
    async with (
        _store(config, news) as store,
        Audit(folder / "audit.jsonl") as audit,
    ):
        commits = Commits(store, audit)
        async with (
            Sights(commits, _now, serves_new_versions=serves_new) as sights,
            Traffic(commits, sights, _now) as traffic,
        ):
            news.tell = traffic.hear
            try:
                yield traffic
            finally:
                news.tell = None


@asynccontextmanager
async def open_hosts(config: Config) -> AsyncIterator[Hosts]:
    """Have quotas shared with other hosts until the block is left, where there is a Redis."""
    if config.redis.url is None:
        yield Alone()
        return
    async with Together(config.redis.url) as hosts:
        yield hosts


def _store(config: Config, news: Callable[[str], None]) -> Store:
    files = FileStore(config.state.dir / "routes", read_stored)
    url = config.redis.url
    return files if url is None else RedisStore(url, files, read_stored, news)


def _now() -> str:
    return datetime.now(UTC).isoformat("T", "milliseconds")
