"""Unpacking: compressed bodies, without holding the event loop.

Job    unpack a little at once, and much in a thread.
Life   `async with`; leaving refuses what waits.
Never  has more than one large body open at a time: each may be as large as the limit.

A bomb costs its sender a thousandth of what it costs us, so no more than a millisecond of
it is spent on the loop: what is not done by then begins anew in the thread.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol, Self

from gateway.errors import Draining
from gateway.wire.codings import Coding, unpack, unpack_little

_AT_ONCE_BYTES = 1 << 18  # unpacked; a millisecond or less
_LEAVING = Draining("this server is shutting down")

Body = bytes | bytearray
Then = Callable[[Body | Exception], None]  # hears once; must not raise


class Unpack(Protocol):
    """Who unpacks bodies."""

    def __call__(self, body: Body, coding: Coding, then: Then) -> None:
        """Tell `then`, perhaps before this returns, what the body holds, or what is wrong."""


def unpack_at_once(body: Body, coding: Coding, then: Then, max_bytes: int = 64 << 20) -> None:
    """Unpack on the spot: for whoever has nothing else to do meanwhile."""
    then(_outcome(body, coding, max_bytes))


class Unpacker:
    """Unpacks for one event loop. Mutable state: the thread, once there is one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, "unpacking")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def __call__(self, body: Body, coding: Coding, then: Then) -> None:
        """Tell `then` what the body holds, or what is wrong with it."""
        found = unpack_little(body, coding, min(self._max_bytes, _AT_ONCE_BYTES))
        if found is not None:
            then(found)
            return
        loop = asyncio.get_running_loop()

        def tell(done: "Future[Body | Exception]") -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(then, _LEAVING if done.cancelled() else done.result())

        try:
            job = self._thread.submit(_outcome, body, coding, self._max_bytes)
        except RuntimeError:  # it was shut down
            then(_LEAVING)
        else:
            job.add_done_callback(tell)


def _outcome(body: Body, coding: Coding, max_bytes: int) -> Body | Exception:
    try:
        return unpack(body, coding, max_bytes)
    except Exception as error:  # noqa: BLE001 - it is raised where the body was asked for
        return error.with_traceback(None)
