"""A process that writes revision after revision, and says which ones it won.

    python -m tests.supervise.documents.racing <who> <revisions> <folder> [<Redis URL>]

It begins when it is told to: by a line on its standard input.
"""

import asyncio
import sys
from pathlib import Path

from gateway.supervise.documents.store import Conflict, Store
from tests.supervise.documents.papers import a_document
from tests.supervise.documents.places import in_folder, in_redis


async def won(store: Store, who: str, revisions: int) -> list[int]:
    """Write until so many revisions are there, by whomever; return one's own."""
    found = []
    revision = 1
    while revision <= revisions:
        try:
            await store.write(a_document("m", revision, who))
            found.append(revision)
            revision += 1
        except Conflict as conflict:
            newest = conflict.current
            revision = 1 if newest is None else newest.revision + 1
    return found


async def _race(who: str, revisions: str, folder: str, *urls: str) -> None:
    place = in_redis(urls[0], Path(folder) / who) if urls else in_folder(Path(folder))
    async with place() as store:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        sys.stdout.write(" ".join(map(str, await won(store, who, int(revisions)))))


if __name__ == "__main__":
    asyncio.run(_race(*sys.argv[1:]))
