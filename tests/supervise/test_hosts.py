"""Hosts: those who meet in one Redis give out a quota together; without it they go on."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.quotas import WHOLE
from gateway.supervise.documents.store import Unreachable
from gateway.supervise.hosts import Alone, Together, read_demands
from tests.server import WATCHDOG_S
from tests.supervise.documents.papers import until
from tests.supervise.documents.redisserver import RedisServer, redis_server

SOON_S, NEVER_S = 0.02, 3600.0
DEMANDS = "{gateway:quotas}:demands"
AT = "{gateway:quotas}:hosts"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@asynccontextmanager
async def meeting(url: str, count: int, every_s: float = SOON_S) -> AsyncIterator[list[Together]]:
    """So many hosts of one fleet."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(Together(url, every_s=every_s)) for _ in range(count)
        ]


def scene(play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def watched() -> None:
        async with asyncio.timeout(WATCHDOG_S):
            await play()

    asyncio.run(watched())


def parts(hosts: list[Together]) -> list[int]:
    return [one.part("a") for one in hosts]


def test_a_host_that_is_alone_gives_out_the_whole() -> None:
    alone = Alone()
    alone.report({"a": 5})
    assert alone.part("a") == WHOLE


def test_the_first_host_gives_out_the_whole_and_the_second_halves_it(server: RedisServer) -> None:
    async def play() -> None:
        async with meeting(server.url, 1) as (one,):
            assert one.part("a") == WHOLE
            async with meeting(server.url, 1) as (other,):
                assert other.part("a") == WHOLE // 2  # as soon as it is open
                await until(lambda: one.part("a") == WHOLE // 2, lambda: one.part("a"))

    scene(play)


def test_parts_follow_what_hosts_are_asked_for(server: RedisServer) -> None:
    async def play() -> None:
        async with meeting(server.url, 3) as hosts:
            hosts[0].report({"a": WHOLE, "b": 0})
            hosts[1].report({"b": WHOLE})
            await until(lambda: parts(hosts)[0] > 900_000, lambda: parts(hosts))
            await until(lambda: sum(parts(hosts)) == WHOLE, lambda: parts(hosts))
            assert hosts[1].part("b") > 900_000
            assert min(parts(hosts)) > 0

    scene(play)


def test_a_host_that_is_gone_gives_its_part_back(server: RedisServer) -> None:
    async def play() -> None:
        async with meeting(server.url, 1) as (one,):
            server.say("HSET", DEMANDS, "dead", '{"a":9000000}')
            server.say("ZADD", AT, 4_000_000_000, "dead")
            await until(lambda: one.part("a") < WHOLE // 10, lambda: one.part("a"))
            server.say("ZADD", AT, 5, "dead")  # it was heard of last long ago
            await until(lambda: one.part("a") == WHOLE, lambda: one.part("a"))

    scene(play)


def test_while_redis_is_stopped_or_dead_the_parts_stay(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        async with meeting(server.url, 2) as hosts:
            await until(lambda: parts(hosts) == [WHOLE // 2] * 2, lambda: parts(hosts))
            with server.stopped():
                await until(lambda: len(caplog.records) == 2, lambda: caplog.records)
                assert parts(hosts) == [WHOLE // 2] * 2
            hosts[0].report({"a": WHOLE})
            await until(lambda: parts(hosts)[1] < WHOLE // 10, lambda: parts(hosts))
            server.kill()
            await until(lambda: len(caplog.records) == 4, lambda: caplog.records)
            assert sum(parts(hosts)) == WHOLE

    with caplog.at_level(logging.WARNING):
        scene(play)
    assert "Redis is away, and quotas are shared as they were" in caplog.text


def test_without_redis_a_host_starts_and_gives_out_the_whole() -> None:
    async def play() -> None:
        async with meeting("unix:///nowhere/redis", 1, NEVER_S) as (one,):
            one.report({"a": 7})
            assert one.part("a") == WHOLE

    scene(play)


@pytest.mark.parametrize(
    "spoil",
    [
        ("SET", DEMANDS, "x"),
        ("SET", AT, "x"),
        ("HSET", DEMANDS, "liar", "nonsense"),
        ("HSET", DEMANDS, "liar", "[1]"),
        ("HSET", DEMANDS, "liar", '{"a":"many"}'),
        ("HSET", DEMANDS, "liar", b"\xff\xfe"),
    ],
)
def test_a_redis_that_lies_stops_nobody(
    server: RedisServer, spoil: tuple[str | bytes, ...]
) -> None:
    async def play() -> None:
        async with meeting(server.url, 1, NEVER_S) as (one,):
            server.say("DEL", DEMANDS, AT)
            server.say(*spoil)
            await one.meet()
            assert one.part("a") in (WHOLE // 2, WHOLE)

    scene(play)


@given(
    st.one_of(
        st.none(),
        st.binary(),
        st.lists(st.binary(max_size=9) | st.none() | st.integers(), max_size=6),
    )
)
def test_whatever_is_read_there_are_numbers_or_a_named_error(found: object) -> None:
    try:
        read = read_demands(found)
    except Unreachable:
        return
    assert all(
        type(one) is int and one > 0 for demands in read.values() for one in demands.values()
    )


def test_only_numbers_above_zero_are_demands() -> None:
    told = [b"us", b'{"a":5}', b"them", b'{"a":7,"b":-1,"c":true,"d":1.5}', b"x", None]
    assert read_demands(told) == {"us": {"a": 5}, "them": {"a": 7}, "x": {}}
