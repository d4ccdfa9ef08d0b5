"""Ruin: random clients of a real gateway whose replicas are killed, and every request counted.

Job    ask on many connections, some kept and some not, many requests ahead; leave at any
       point; send poison and deadlines that cannot be kept; kill a replica now and then; see
       that every request gets one answer, its own, in its turn.
Life   `await ruin(server, plan)` ends with its time; no wait is longer than the watchdog.
Never  takes a lost request for a fault where a replica was killed under it, or one that came
       twice for none.

What may become of a request: an answer; nothing, because its client left; nothing, because
its connection ended within `GRIEF_S` of a kill. Anything else is a fault.
"""

import asyncio
import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from prometheus_client.parser import text_string_to_metric_families

from tests.server import Server, request, tensor

WATCHDOG_S = 30.0
GRIEF_S = 5.0  # a connection that waited in the queue of one who died is reset when that ends
KILL_EVERY_S = 2.0
MOST_AHEAD = 16
_SHELF, _POISON = 10, 99
_HOPELESS = "X-Request-Timeout-Ms: 1"


class Plan(NamedTuple):
    """How long, with how many clients at a time, and whether replicas are killed."""

    seconds: float
    clients: int
    seed: int
    kills: bool = True
    requests: float = math.inf  # an end by number, if that comes first


class Asked(NamedTuple):
    """A request, with all answers that are right: statuses, and what its outputs must be."""

    raw: bytes
    number: str
    statuses: frozenset[int]
    output: list[float]


@dataclass
class Tally:
    """What came of all requests."""

    asked: int = 0
    answers: Counter[int] = field(default_factory=Counter)  # by status
    left: int = 0
    cut: int = 0
    kills: list[float] = field(default_factory=list)  # when
    faults: list[str] = field(default_factory=list)

    def counted(self) -> int:
        """All of whom it is known what came of them."""
        return self.answers.total() + self.left + self.cut


def an_asked(dice: random.Random, number: int) -> Asked:
    """Return a request of some kind, which is told from all others by its number."""
    roll, name = dice.random(), str(number)
    if roll < 0.55:
        values = [float(number % 1000), 0.5, -1.0, float(number % 7)]
        x = tensor("x", "FP32", [1, 4], values)
        return Asked(_infer("echo", x, name), name, frozenset({200}), values)
    if roll < 0.9:
        row = number % _SHELF
        x = tensor("x", "INT64", [1, 1], [row])
        return Asked(_infer("shelf", x, name), name, frozenset({200}), [row * 10])
    if roll < 0.93:
        x = tensor("x", "INT64", [1, 1], [_POISON])
        return Asked(_infer("shelf", x, name), name, frozenset({500}), [])
    if roll < 0.97:
        steps = number % 2000
        x = tensor("x", "INT64", [1], [steps])
        return Asked(_infer("patient", x, name), name, frozenset({200}), [steps])
    steps = 20_000 + number % 1000  # more than a millisecond
    x = tensor("x", "INT64", [1], [steps])
    raw = _infer("patient", x, name, _HOPELESS)
    return Asked(raw, name, frozenset({200, 504}), [steps])


def _infer(model: str, x: dict[str, Any], number: str, *headers: str) -> bytes:
    body = orjson.dumps({"id": number, "inputs": [x]})
    return request(f"/v2/models/{model}/infer", body, headers)


def wrong_with(asked: Asked, status: int, body: bytes) -> str | None:
    """Say what is wrong with an answer."""
    if status not in asked.statuses:
        return f"{asked.number}: expected {sorted(asked.statuses)}, got {status} {body[:200]!r}"
    if status != 200:
        return None
    said = orjson.loads(body)
    got = (said.get("id"), said["outputs"][0]["data"])
    expected = (asked.number, asked.output)
    return None if got == expected else f"{asked.number}: expected {expected}, got {got}"


class Client:
    """One client after another; each keeps its connection for a while."""

    def __init__(
        self, port: int, dice: random.Random, tally: Tally, is_over: Callable[[], bool]
    ) -> None:
        self._port = port
        self._dice = dice
        self._tally = tally
        self._is_over = is_over

    async def ask(self) -> None:
        """Come again and again."""
        while not self._is_over():
            try:
                async with asyncio.timeout(WATCHDOG_S):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                self._tally.faults.append(f"not connected: {error!r}")
                return
            try:
                for _ in range(self._dice.choice((1, 1, 3, 20))):
                    if self._is_over() or not await self._talk(reader, writer):
                        break
            finally:
                writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Ask some at once; say whether the connection goes on."""
        dice, tally = self._dice, self._tally
        batch = []
        for _ in range(dice.choice((1, 1, 2, 5, MOST_AHEAD))):
            tally.asked += 1
            batch.append(an_asked(dice, tally.asked))
        raw = b"".join(one.raw for one in batch)
        leaves = dice.random() < 0.1
        stays = dice.randrange(len(batch)) if leaves else len(batch)
        if leaves and dice.random() < 0.5:  # amid a request, and nothing is awaited
            writer.write(raw[: dice.randrange(len(raw))])
            stays = 0
        else:
            writer.write(raw)
        sent_s = time.monotonic()
        for at, one in enumerate(batch[:stays]):
            try:
                async with asyncio.timeout(WATCHDOG_S):
                    status, body = await _answer(reader)
            except TimeoutError:
                tally.faults.append(f"{one.number}: no answer within {WATCHDOG_S:g} s")
                tally.cut += len(batch) - at
                return False
            except (EOFError, ConnectionError) as error:
                self._lose(len(batch) - at, sent_s, f"{one.number}: {error!r}")
                return False
            tally.answers[status] += 1
            if wrong := wrong_with(one, status, body):
                tally.faults.append(wrong)
        tally.left += len(batch) - stays
        if not leaves and reader._buffer:  # type: ignore[attr-defined]  # noqa: SLF001 - nothing says it
            tally.faults.append(f"{batch[-1].number}: more came than was asked for")
            return False
        return not leaves

    def _lose(self, count: int, sent_s: float, what: str) -> None:
        """A connection ended; that is no fault if a replica was killed meanwhile."""
        self._tally.cut += count
        if not any(killed_s > sent_s - GRIEF_S for killed_s in self._tally.kills):
            self._tally.faults.append(f"cut off: {what}")


async def ruin(server: Server, plan: Plan) -> Tally:
    """Do all of it for so long."""
    tally = Tally()
    end_s = time.monotonic() + plan.seconds

    def is_over() -> bool:
        return time.monotonic() > end_s or tally.asked >= plan.requests

    async with asyncio.TaskGroup() as group:
        for at in range(plan.clients):
            dice = random.Random(f"{plan.seed} {at}")
            group.create_task(Client(server.port, dice, tally, is_over).ask())
        if plan.kills:
            dice = random.Random(f"{plan.seed} killer")
            group.create_task(_kill(server, dice, tally, is_over))
    return tally


def unaccounted(tally: Tally, server: Server) -> list[str]:
    """Say whose end nobody knows, and where the gateway counts other answers than came.

    It counts an answer before it is written: those to clients who left, or whose replica was
    killed, may be among its successes.
    """
    faults = []
    if tally.counted() != tally.asked:
        faults.append(f"of {tally.asked} requests {tally.counted()} are accounted for")
    with server.admin() as admin:
        page = admin.get("/metrics").text
    for outcome, status in (("success", 200), ("model_failed", 500)):
        counted = sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == "gateway_inference_requests_total"
            and sample.labels["outcome"] == outcome
        )
        least = tally.answers[status]
        if not least <= counted <= least + tally.left + tally.cut:
            faults.append(
                f"{outcome}: {least} answers of {status}, {tally.left} left, {tally.cut} cut off; "
                f"{counted:.0f} in the metrics"
            )
    return faults


async def _kill(
    server: Server, dice: random.Random, tally: Tally, is_over: Callable[[], bool]
) -> None:
    """Kill a replica now and then, as soon as all of them serve again."""
    count = len(await asyncio.to_thread(server.replicas))
    while True:
        await asyncio.sleep(KILL_EVERY_S * (0.5 + dice.random()))
        if is_over():
            return
        seen = await asyncio.to_thread(server.replicas)
        pids = [one["pid"] for one in seen if one["state"] == "serving"]
        if len(pids) == count:
            tally.kills.append(time.monotonic())
            os.kill(dice.choice(pids), signal.SIGKILL)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines: Sequence[bytes] = head.lower().split(b"\r\n")
    length = next(int(one[15:]) for one in lines if one.startswith(b"content-length:"))
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)
