"""Loader: the one thread in which models are opened, one after another.

Job    keep what takes seconds off the event loop.
Life   starts with the first job; it is a daemon, because a file may hang in native code
       for ever, and that must keep no process alive.
Never  runs two jobs at once: opening a model takes memory and cores from those served.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

Made = TypeVar("Made")


class Loader:
    """Whoever asks gets what their job returned or raised."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, job: Callable[[], Made]) -> Made:
        """Return what `job` returns, in its turn. Cancel: safe; what it makes is dropped.

        Raises: whatever `job` raises.
        """
        loop = asyncio.get_running_loop()
        made: asyncio.Future[Made] = loop.create_future()

        def work() -> None:
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
                tell(made.set_exception, error)
            else:
                tell(made.set_result, result)

        def tell(settle: Callable[..., None], value: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(lambda: None if made.done() else settle(value))

        self._jobs.put(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="loader", daemon=True)
            self._thread.start()
        return await made

    def _serve(self) -> None:
        while True:
            self._jobs.get()()
