"""Redis door: commands and their replies, in bounded time, by our names.

Job    ask Redis; hear what is published.
Life   `async with`; connects when it is asked, and asks once.
Never  waits for Redis longer than `_ANSWER_S` at a time; raises what only its client knows.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.supervise.documents.asking import Command
from gateway.supervise.documents.store import Unreachable

T = TypeVar("T")
News = Callable[[float], Awaitable[None]]

_SOCKET_S = 1.0  # to connect, and for a reply
_ANSWER_S = 2.0  # for both
_CANCEL_EVERY_S = 0.1
_MOST_HEARD = 10_000  # messages that one look answers
# Its client takes replies apart before it looks at them: what lies may be anything.
_AWAY = (RedisError, OSError, ValueError, TypeError)


class Door:
    """One client of one Redis."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Self:
        self._redis = Redis.from_url(
            self._url,
            protocol=2,  # any Redis speaks it
            socket_connect_timeout=_SOCKET_S,
            socket_timeout=_SOCKET_S,
            retry=Retry(NoBackoff(), 0),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._redis.aclose()

    async def answer(self, command: Command) -> Any:
        """Return the reply to a command. Raises: Unreachable."""
        (reply,) = await self.answers([command])
        if isinstance(reply, Exception):
            raise Unreachable(str(reply)) from reply
        return reply

    async def answers(self, commands: Sequence[Command]) -> list[Any]:
        """Return the reply to each command, or its error. Raises: Unreachable."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await _answer(pipeline.execute(raise_on_error=False))

    @asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[News]:
        """Give what waits until somebody says something, or so many seconds.

        Raises: Unreachable, as what it gives does.
        """
        async with self._redis.pubsub(ignore_subscribe_messages=True) as heard:
            await _answer(heard.subscribe(channel))

            async def news(within_s: float) -> None:
                await _news(heard, within_s)

            yield news


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends: it may be where its client closes, and forgets as well."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=_CANCEL_EVERY_S)


@contextmanager
def _asking() -> Iterator[None]:
    """Name what goes wrong as a room does, and lose no cancellation.

    The client waits by `asyncio.wait_for`: up to Python 3.11 it forgets one that meets an answer.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        yield
    except _AWAY as error:
        if task.cancelling() == before:
            raise Unreachable(str(error) or f"no answer within {_ANSWER_S:g} s") from error
    if task.cancelling() > before:
        raise asyncio.CancelledError


async def _news(heard: PubSub, within_s: float) -> None:
    """Wait until somebody says something, or so long. Raises: Unreachable."""
    with _asking():
        message = await heard.get_message(timeout=within_s)
        for _ in range(_MOST_HEARD):  # one look answers them all
            if message is None:
                break
            message = await heard.get_message()


async def _answer(asked: Awaitable[T]) -> T:
    """Return the answer to what is asked. Raises: Unreachable."""
    with _asking():
        async with asyncio.timeout(_ANSWER_S):
            return await asked
