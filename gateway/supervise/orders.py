"""Orders: things that are done strictly one at a time, in the order in which they came.

Job    keep a bounded line of orders; tell each caller how its own ended.
Life   `work` is one task of the owner's; `close` refuses what comes and what waits.
Never  leaves a caller waiting; never stops an order because its caller went away.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.errors import Draining, Overloaded

Order = Callable[[], Awaitable[None]]

_LEAVING = "the gateway is shutting down"


class Orders:
    """Mutable state: who waits, with the future that each of them awaits."""

    def __init__(self, most: int) -> None:
        self._waiting: asyncio.Queue[tuple[Order, asyncio.Future[None]]] = asyncio.Queue(most)
        self._is_closed = False

    async def give(self, order: Order) -> None:
        """Have `order` done after all that were given before; return, or raise, as it does.

        Raises: Overloaded when too many wait; Draining. Cancel: safe; the order is done
        all the same.
        """
        if self._is_closed:
            raise Draining(_LEAVING)
        if self._waiting.full():
            raise Overloaded(f"{self._waiting.maxsize} changes of what is served wait already")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_hear)
        self._waiting.put_nowait((order, done))
        await asyncio.shield(done)

    async def work(self) -> None:
        """Do what was ordered, for ever. Cancel: the order under way fails with Draining."""
        while True:
            order, done = await self._waiting.get()
            try:
                await order()
            except asyncio.CancelledError:
                done.set_exception(Draining(_LEAVING))
                raise
            except Exception as error:  # noqa: BLE001 - whoever gave the order hears it
                done.set_exception(error)
            else:
                done.set_result(None)

    def close(self) -> None:
        """Refuse every order from now on, those that wait too."""
        self._is_closed = True
        while not self._waiting.empty():
            self._waiting.get_nowait()[1].set_exception(Draining(_LEAVING))


def _hear(done: "asyncio.Future[None]") -> None:
    """Take note of how an order ended: its caller may have gone away."""
    if not done.cancelled():
        done.exception()
