"""A process that writes a document and kills itself at a step of it.

python -m tests.supervise.documents.dying <folder> <revision> <step>
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from gateway.supervise.documents.disk import Step
from gateway.supervise.documents.filestore import FileStore
from tests.supervise.documents.papers import a_document, read


async def _die(folder: str, revision: str, fatal: str) -> None:
    def at(step: Step) -> None:
        if step == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    async with FileStore(Path(folder), read, at) as store:
        await store.write(a_document("m", int(revision), "written by one who dies"))


if __name__ == "__main__":
    asyncio.run(_die(*sys.argv[1:]))
