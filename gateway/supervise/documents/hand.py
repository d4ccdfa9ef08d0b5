"""Hand: the thread in which a disk is waited for.

Job    do blocking work one thing after another, and say what went wrong as a room does.
Life   `async with`; leaving waits for what is under way.
Never  does two things at once: so writes keep their order, and a disk that hangs holds
       nobody else's threads.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from gateway.supervise.documents.store import Unreachable

T = TypeVar("T")


class Hand:
    """One thread, for what lies at `place`."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._thread: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "documents")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
            self._thread = None

    async def work(self, work: Callable[[], T]) -> T:
        """Return what `work` returns. Raises: Unreachable for an OSError, and what it raises.

        Cancel: it is done all the same.
        """
        assert self._thread is not None, "entered first"
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            reason = error.strerror or str(error)
            raise Unreachable(f"{error.filename or self._place}: {reason}") from error
