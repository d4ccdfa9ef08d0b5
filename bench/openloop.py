"""Open-loop load: requests leave when they are due, however slow the answers are.

Job    send each request at its precomputed time and time its answer from that time.
Life   `await play(plan)` connects, warms up, measures, waits for the last answers, closes.
Never  pipelines, skips a request that is late, or forgives a fault: it raises.

A request that finds every connection busy waits for one, and its wait counts, as it
would for a user. Many streams share one loop, so one process can keep a heavy model
busy (closed stream) and time small requests beside it (open streams).

The loop spins instead of sleeping, because uvloop's timers are a millisecond coarse:
it always takes a whole processor, so its load is told by `busy_ratio`, the share of time
in turns of the loop that sent or received something, and by `lateness`: how long after
its due time a request was written although a connection was idle.
"""

import argparse
import asyncio
import gc
import json
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import cast

import uvloop

from bench.arrivals import offsets
from bench.plans import Plan, Report, StreamPlan, StreamReport, decode_plan
from bench.ratios import percentile
from bench.requests import Target

GRACE_S = 10.0  # how long the last answers may take after the end
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


class AnswerRefused(RuntimeError):
    """The server answered something else than a whole 200 with a content-length, or nothing."""


class Connection(asyncio.Protocol):
    """One connection with at most one request in flight.

    `settle(self)` is called for each whole answer, `fail(error)` at the first fault.
    """

    def __init__(
        self, settle: Callable[["Connection"], None], fail: Callable[[Exception], None]
    ) -> None:
        self._settle = settle
        self._fail = fail
        self._answer = b""
        self.due_s: float | None = None  # of the request in flight

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        if self.due_s is not None:
            self._fail(AnswerRefused(f"the connection closed before an answer: {exc}"))

    def send(self, request: bytes, due_s: float) -> None:
        self.due_s = due_s
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.due_s is None:
            self._fail(AnswerRefused(f"an answer that nobody asked for: {data[:300]!r}"))
            return
        answer = self._answer + data if self._answer else data
        try:
            whole = is_whole(answer)
        except AnswerRefused as error:
            self._fail(error)
            return
        self._answer = b"" if whole else answer
        if whole:
            self._settle(self)

    def close(self) -> None:
        self.due_s = None
        self._transport.close()


def is_whole(answer: bytes) -> bool:
    """Whether `answer` is one complete 200; its length is read from the header alone.

    Raises: AnswerRefused for another status, more bytes than announced, or no length.
    """
    end = answer.find(HEAD_END)
    if end < 0:
        return False
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise AnswerRefused(f"not a 200: {answer[:300]!r}")
    at = answer.find(LENGTH, 0, end)
    if at < 0:  # other servers write it with capitals
        at = answer[:end].lower().find(LENGTH)
    if at < 0:
        raise AnswerRefused(f"no content-length: {answer[:300]!r}")
    stop = answer.find(b"\r\n", at)
    expected = end + len(HEAD_END) + int(answer[at + len(LENGTH) : stop])
    if len(answer) > expected:
        raise AnswerRefused(f"{len(answer) - expected} bytes after the answer")
    return len(answer) == expected


class Stream:
    """One kind of traffic on its own connections.

    `due` are send times in the clock's seconds; None keeps every connection busy until
    `end_s`, which makes the stream a closed loop.
    """

    def __init__(
        self,
        plan: StreamPlan,
        requests: Sequence[bytes],
        due: Sequence[float] | None,
        window: tuple[float, float],
    ) -> None:
        self._plan = plan
        self._requests = requests
        self._due = due
        self._begin_s, self.end_s = window
        self._idle: deque[Connection] = deque()
        self._waiting: deque[float] = deque()
        self._latencies: list[float] = []
        self._lateness: list[float] = []
        self._queued = 0
        self._in_window = 0  # answers that arrived inside it
        self.sent = 0
        self.answered = 0

    def join(self, connection: Connection) -> None:
        """Give the stream one more connection."""
        self._idle.append(connection)

    def advance(self, now: float) -> None:
        """Send what is due by `now`."""
        if self._due is None:
            while self._idle and now < self.end_s:
                self._send(self._idle.popleft(), now)
            return
        due, at = self._due, self.sent + len(self._waiting)
        while at < len(due) and due[at] <= now:
            if self._idle:
                self._lateness.append(now - due[at])
                self._send(self._idle.popleft(), due[at])
            else:
                self._queued += 1
                self._waiting.append(due[at])
            at += 1

    def settle(self, connection: Connection) -> None:
        """Take the answer to the connection's request, and use the connection again."""
        now = perf_counter()
        due_s = connection.due_s
        assert due_s is not None
        self.answered += 1
        if self._begin_s <= due_s < self.end_s:
            self._latencies.append(now - due_s)
        if self._begin_s <= now < self.end_s:
            self._in_window += 1
        connection.due_s = None
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        elif self._due is None and now < self.end_s:
            self._send(connection, now)
        else:
            self._idle.append(connection)

    @property
    def is_done(self) -> bool:
        """Whether everything due was sent and answered."""
        return self.sent == self.answered and (self._due is None or self.sent == len(self._due))

    def report(self) -> StreamReport:
        """Sum up."""
        return StreamReport(
            self._plan.name,
            self.sent,
            self.answered,
            len(self._latencies),
            self._in_window / (self.end_s - self._begin_s),
            percentile(self._latencies, 0.5),
            percentile(self._latencies, 0.99),
            percentile(self._latencies, 1.0),
            percentile(self._lateness, 0.99) if self._lateness else 0.0,
            self._queued,
        )

    def _send(self, connection: Connection, due_s: float) -> None:
        request = self._requests[self.sent % len(self._requests)]
        self.sent += 1
        connection.send(request, due_s)


class Spin:
    """Turns the loop without sleeping until every stream is done."""

    def __init__(self, streams: Sequence[Stream], done: asyncio.Future[None]) -> None:
        self._streams = streams
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._moves = -1  # sends and answers seen so far
        self._turned_s = perf_counter()
        self._started_s = self._turned_s
        self._idle_s = 0.0
        self._give_up_s = max(stream.end_s for stream in streams) + GRACE_S

    @property
    def busy_ratio(self) -> float:
        return 1.0 - self._idle_s / (self._turned_s - self._started_s)

    def turn(self) -> None:
        """Send what is due, and turn again until all is done; a fault of ours ends it too."""
        if self._done.done():
            return
        try:
            is_over = self._step(perf_counter())
        except Exception as error:  # noqa: BLE001 - the loop would only log it, and we would hang
            self._done.set_exception(error)
            return
        if is_over:
            self._done.set_result(None)
        else:
            self._loop.call_soon(self.turn)

    def _step(self, now: float) -> bool:
        """A step in which nothing moved since the last one was idle. Raises: AnswerRefused."""
        for stream in self._streams:
            stream.advance(now)
        moves = sum(stream.sent + stream.answered for stream in self._streams)
        if moves == self._moves:
            self._idle_s += now - self._turned_s
        self._moves, self._turned_s = moves, now
        if now >= self._give_up_s:
            raise AnswerRefused(f"no answer within {GRACE_S} s of the end")
        return all(stream.is_done and now >= stream.end_s for stream in self._streams)


async def play(plan: Plan) -> Report:
    """Run the plan once.

    Raises: AnswerRefused at the first bad, missing or surplus answer.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def fail(error: Exception) -> None:
        if not done.done():
            done.set_exception(error)

    # Requests are formatted, and times drawn, before the clock starts.
    prepared = [(stream, _requests(stream), offsets(stream, plan)) for stream in plan.streams]
    connections: list[Connection] = []
    start_s = perf_counter() + 0.05 + 0.001 * sum(stream.connections for stream in plan.streams)
    window = (start_s + plan.warmup_s, start_s + plan.warmup_s + plan.window_s)
    streams = []
    try:
        for stream_plan, requests, drawn in prepared:
            due = None if drawn is None else [start_s + offset for offset in drawn]
            stream = Stream(stream_plan, requests, due, window)
            for _ in range(stream_plan.connections):
                make = partial(Connection, stream.settle, fail)
                _, connection = await loop.create_connection(make, "127.0.0.1", plan.port)
                connections.append(connection)
                stream.join(connection)
            streams.append(stream)
        spin = Spin(streams, done)
        spin.turn()
        await done
        return Report(tuple(stream.report() for stream in streams), spin.busy_ratio)
    finally:
        for connection in connections:
            connection.close()


def _requests(stream: StreamPlan) -> list[bytes]:
    return Target(stream.path, Path(stream.bodies) if stream.bodies else None).formatted()


def main() -> None:
    """Play the plan in the named file and print the report as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.openloop")
    parser.add_argument("plan", type=Path)
    plan = decode_plan(parser.parse_args().plan.read_text())
    gc.disable()  # a pause here would look like one of the server's
    json.dump(asdict(uvloop.run(play(plan))), sys.stdout)


if __name__ == "__main__":
    main()
