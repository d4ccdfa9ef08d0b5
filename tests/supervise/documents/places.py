"""Places: where several stores keep the same documents, as several processes would.

Job    open one store after another upon one place.
"""

from collections.abc import Callable
from itertools import count
from pathlib import Path

from gateway.supervise.documents.filestore import FileStore
from gateway.supervise.documents.redisstore import RedisStore
from gateway.supervise.documents.store import Store
from tests.supervise.documents.papers import read

Open = Callable[[], Store]


def in_folder(folder: Path) -> Open:
    """Open stores that share a folder."""
    return lambda: FileStore(folder / "routes", read)


def in_redis(url: str, folder: Path, prefix: str = "gateway:routes") -> Open:
    """Open stores that share a Redis, each on a machine of its own, below `folder`."""
    machines = count()

    def opened() -> Store:
        files = FileStore(folder / f"machine-{next(machines)}" / "routes", read)
        return RedisStore(url, files, read, lambda _: None, prefix)

    return opened
