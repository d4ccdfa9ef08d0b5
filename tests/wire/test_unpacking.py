"""Unpacking: a little at once, much beside the loop, and everybody hears."""

import asyncio
import gzip
import threading

import pytest

from gateway.errors import Draining, Malformed, TooLarge
from gateway.wire.codings import Coding
from gateway.wire.unpacking import Body, Unpacker, unpack_at_once

LARGE = gzip.compress(bytes(1 << 20))


class Heard:
    """What was told, and on which thread."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Body | Exception] = asyncio.Queue()
        self.thread: threading.Thread | None = None

    def __call__(self, held: Body | Exception) -> None:
        self.thread = threading.current_thread()
        self.told.put_nowait(held)


def test_a_little_is_unpacked_before_the_call_returns() -> None:
    async def scene() -> None:
        heard = Heard()
        async with Unpacker(1000) as unpacker:
            unpacker(gzip.compress(b"text"), Coding.GZIP, heard)
            assert heard.told.get_nowait() == b"text"

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("body", "most", "expected"),
    [
        (LARGE, 1 << 20, bytes),
        (LARGE, (1 << 20) - 1, TooLarge),
        (b"nonsense", 1000, Malformed),
        (gzip.compress(b"a") + gzip.compress(b"b"), 1000, bytes),
    ],
)
def test_the_rest_is_told_later_on_the_thread_of_the_loop(
    body: bytes, most: int, expected: type
) -> None:
    async def scene() -> None:
        heard = Heard()
        async with Unpacker(most) as unpacker:
            unpacker(body, Coding.GZIP, heard)
            assert heard.told.empty()
            async with asyncio.timeout(20):
                assert isinstance(await heard.told.get(), expected)
        assert heard.thread is threading.main_thread()

    asyncio.run(scene())


def test_who_waits_when_it_is_closed_or_comes_later_is_refused() -> None:
    async def scene() -> None:
        heard = Heard()
        async with Unpacker(1 << 20) as unpacker:
            for _ in range(20):
                unpacker(LARGE, Coding.GZIP, heard)
        unpacker(LARGE, Coding.GZIP, heard)
        async with asyncio.timeout(20):
            told = [await heard.told.get() for _ in range(21)]
        assert {type(one) for one in told} <= {bytes, Draining}
        assert any(isinstance(one, Draining) for one in told)

    asyncio.run(scene())


def test_on_the_spot_means_before_it_returns() -> None:
    told: list[Body | Exception] = []
    unpack_at_once(gzip.compress(b"text"), Coding.GZIP, told.append)
    unpack_at_once(b"nonsense", Coding.GZIP, told.append)
    assert told[0] == b"text"
    assert isinstance(told[1], Malformed)
    assert told[1].__traceback__ is None
