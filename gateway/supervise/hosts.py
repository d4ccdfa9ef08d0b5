"""Hosts: which part of each quota this host gives out, where a fleet shares them.

Job    tell the others what this host is asked for, hear what they are, work out its part.
Life   `async with`: a task of its own asks Redis once a second; alone there is nobody to ask.
Never  in the way of a prediction: while Redis is slow, away or lies, parts stay what they were.

Each host writes what it is asked for, in millionths of each rate, and reads what all others
wrote: one script, one answer. All work out the same parts of the same numbers, so nobody has to
be first among them. Who has written nothing for some seconds is no longer there, by Redis'
clock. Where Redis has never answered, a host gives out the whole.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from typing import Any, Protocol, Self

import orjson

from gateway.core.quotas import WHOLE, apportion
from gateway.supervise.documents.asking import Command
from gateway.supervise.documents.redisdoor import Door, ended
from gateway.supervise.documents.store import Unreachable

_log = logging.getLogger(__name__)
_EVERY_S = 1.0
_GONE_AFTER_S = 5
_FORGOTTEN_AFTER_S = 60
_MOST_HOSTS = 1000
_MOST_DEMAND = 1_000_000 * WHOLE
_EXCHANGE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - ARGV[3]))) do
    redis.call('HDEL', KEYS[2], gone)
    redis.call('ZREM', KEYS[1], gone)
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return redis.call('HGETALL', KEYS[2])
"""

Demands = Mapping[str, int]  # by name, in millionths of the rate


class Hosts(Protocol):
    """Those who give out the same quotas."""

    def report(self, demands: Demands) -> None:
        """Say what this host is asked for; it must not raise."""

    def part(self, name: str) -> int:
        """Return this host's part of a quota, in millionths."""


class Alone:
    """A host that shares its quotas with nobody."""

    def report(self, demands: Demands) -> None:
        """Hear it, and tell nobody."""

    def part(self, name: str) -> int:
        return WHOLE


class Together:
    """The hosts that meet in one Redis.

    Mutable state: what this host is asked for (`_ours`), what each host was, this one too,
    when they last met (`_met`), and whether Redis is away.
    """

    def __init__(
        self, url: str, prefix: str = "{gateway:quotas}", every_s: float = _EVERY_S
    ) -> None:
        self._url, self._prefix, self._every_s = url, prefix, every_s
        self._host = secrets.token_hex(8)
        self._ours: Demands = {}
        self._met: Mapping[str, Demands] = {self._host: {}}
        self._is_away = False

    async def __aenter__(self) -> Self:
        self._door = await Door(self._url).__aenter__()
        await self.meet()
        self._task = asyncio.create_task(self._keep_meeting())
        return self

    async def __aexit__(self, *_: object) -> None:
        await ended(self._task)
        await self._door.__aexit__()

    def report(self, demands: Demands) -> None:
        """Say what this host is asked for, when it meets the others next."""
        self._ours = {name: demand for name, demand in demands.items() if demand}

    def part(self, name: str) -> int:
        """Return this host's part of a quota, in millionths."""
        parts = apportion([demands.get(name, 0) for demands in self._met.values()])
        return parts[list(self._met).index(self._host)]

    async def _keep_meeting(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self.meet()

    async def meet(self) -> None:
        """Tell the others and hear them, if Redis answers. Cancel: safe."""
        try:
            ours = self._ours
            met = read_demands(await self._door.answer(self._exchange(ours)))
            self._met = dict(sorted({**met, self._host: ours}.items()))  # all in the same order
        except Unreachable as error:
            if not self._is_away:
                _log.warning("Redis is away, and quotas are shared as they were: %s", error)
            self._is_away = True
        else:
            self._is_away = False

    def _exchange(self, ours: Demands) -> Command:
        keys = (f"{self._prefix}:hosts", f"{self._prefix}:demands")
        values = (self._host, orjson.dumps(ours), _GONE_AFTER_S, _FORGOTTEN_AFTER_S)
        return "EVAL", _EXCHANGE, len(keys), *keys, *values


def read_demands(found: Any) -> Mapping[str, Demands]:
    """Return what each host wrote; one that cannot be read is asked for nothing.

    Raises: Unreachable, where it is no list of pairs: whatever that is, it is not what we wrote.
    """
    if not isinstance(found, list) or len(found) % 2 or len(found) > 2 * _MOST_HOSTS:
        raise Unreachable("what it has of quotas is nothing that hosts write")
    pairs = zip(found[::2], found[1::2], strict=True)
    return {
        host.decode("latin-1"): _demands(text) for host, text in pairs if isinstance(host, bytes)
    }


def _demands(text: object) -> Demands:
    try:
        found = orjson.loads(text if isinstance(text, bytes) else b"")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        name: min(demand, _MOST_DEMAND)
        for name, demand in found.items()
        if type(demand) is int and demand > 0
    }
