"""Groups: the clients of one kind at work, for the surge generator.

Job    keep their connections, send what is due on them, count what comes back.
Never  waits for a free connection, asks again, or looks at the body of an answer.

A request belongs to the slice in which it was due, whatever becomes of it, and whenever.
Connections are used in turn, the longest idle first. One that says `connection: close`, or
ends, is made anew; what was on its way on one that ended is CUT.
"""

import asyncio
import math
import random
import re
import socket
import struct
import time
from array import array
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import cast

from bench.bursts import bursts_of, due_offsets
from bench.cells import Cell, by_phase, cell_at, cells_of, counts_of
from bench.courses import CUT, HUNG, SLICE_S, Clients, ClientsReport, Course

STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
HEAD = 12  # bytes of a status line that do not make one yet
CLOSES = b"onnection: close"
OK = b"200"
AGAIN_S = 0.05  # after a connection was refused
BACK_OFF_S = 0.01  # of a closed loop that is told to stay away
TO_STAY_AWAY = frozenset({b"429", b"503"})
RESET = struct.pack("ii", 1, 0)  # linger, for no time
HALF_BODY_RATIO = 1 / 3  # of those who leave: before their request is whole


class Line(asyncio.Protocol):
    """One connection, idle or with a burst on its way."""

    def __init__(self, group: "Group") -> None:
        self._group = group
        self._rest = b""
        self._closes = False
        self.awaited = 0  # answers
        self.sent = 0  # bursts
        self.due_s = 0.0
        self.cell: Cell | None = None  # of the burst on its way
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._group.join(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self._group.lose(self)

    def send(self, burst: bytes, requests: int, due_s: float, cell: Cell) -> None:
        self.awaited, self.due_s, self.cell = requests, due_s, cell
        self.sent += 1
        self._transport.write(burst)

    def data_received(self, data: bytes) -> None:
        text = self._rest + data if self._rest else data
        at = text.rfind(b"H", -HEAD)
        self._rest = text[at:] if at >= 0 else b""
        if CLOSES in text:
            self._closes = True
        if statuses := STATUS.findall(text):
            self._group.hear(self, statuses)

    def is_done(self) -> bool:
        """Whether the server will answer nothing more here: then hang up."""
        if self._closes and not self.is_over:
            self.is_over = True
            self._transport.close()
        return self.is_over

    def leave(self, sent: int) -> None:
        """Be gone if the burst of that number is not answered; every other one with a reset."""
        if self.awaited and self.sent == sent and not self.is_over:
            assert self.cell is not None
            self.cell.left += self.awaited
            self.awaited = 0
            if self.cell.left % 2:
                plain = self._transport.get_extra_info("socket")
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()

    def close(self) -> None:
        self.is_over = True
        self._transport.close()


class Group:
    """The clients of one kind at work.

    Mutable state: `lines`, `_idle` (some over by now), `_at` (the next that is due), the cells.
    """

    def __init__(self, clients: Clients, course: Course) -> None:
        self.clients = clients
        self._bursts = bursts_of(clients)
        self._offsets = due_offsets(clients, course.phases_s)
        self._port = course.port
        self._phases_s = course.phases_s
        self.cells = cells_of(course.phases_s)
        self.lines: set[Line] = set()
        self.lateness = array("d")
        self.moves = self.surplus = self.unconnected = 0
        self._idle: deque[Line] = deque()
        self._dice = random.Random(clients.seed)
        self._at = self._sent = 0
        self._due = array("d")
        self._began_s, self.end_s = math.inf, math.inf
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Connect once, however often that takes."""
        loop = asyncio.get_running_loop()
        while time.monotonic() < self.end_s:
            try:
                await loop.create_connection(partial(Line, self), "127.0.0.1", self._port)
            except OSError:
                self.unconnected += 1
                await asyncio.sleep(AGAIN_S)
            else:
                return

    def begin(self, began_s: float) -> None:
        """Send from now on."""
        self._began_s, self.end_s = began_s, began_s + SLICE_S * len(self.cells)
        if self._offsets is not None:
            self._due = array("d", (self._offsets + began_s).tolist())

    def advance(self, now: float) -> None:
        """Send what is due by `now`."""
        if self._offsets is None:
            while self._began_s <= now < self.end_s and (line := self._free()) is not None:
                self._send(line, now, self._cell(now))
            return
        due, at = self._due, self._at
        while at < len(due) and due[at] <= now:
            cell = self._cell(due[at])
            line = self._free()
            if line is None:
                cell.offered += self.clients.burst
                cell.unsent += self.clients.burst
            else:
                self.lateness.append(now - due[at])
                self._send(line, due[at], cell)
            at += 1
        self._at = at

    def join(self, line: Line) -> None:
        self.lines.add(line)
        self._idle.append(line)

    def hear(self, line: Line, statuses: Sequence[bytes]) -> None:
        now = time.monotonic()
        self.moves += 1
        cell = line.cell
        if len(statuses) > line.awaited:
            self.surplus += len(statuses) - line.awaited
            statuses = statuses[: line.awaited]
        if cell is None or not statuses:
            return
        took_s = now - line.due_s
        for status in statuses:
            if status == OK:
                cell.latencies.append(took_s)
            else:
                cell.answers[status.decode()] += 1
        line.awaited -= len(statuses)
        if not line.awaited and not line.is_done():
            if self._offsets is not None or now >= self.end_s:
                self._idle.append(line)
            elif TO_STAY_AWAY.isdisjoint(statuses):
                self._send(line, now, self._cell(now))
            else:
                asyncio.get_running_loop().call_later(BACK_OFF_S, self._idle.append, line)

    def lose(self, line: Line) -> None:
        """A connection ended: count what was on its way there, and make another."""
        self.lines.discard(line)
        if line.awaited and line.cell is not None:
            line.cell.answers[CUT] += line.awaited
            line.awaited = 0
        if time.monotonic() < self.end_s:
            task = asyncio.get_running_loop().create_task(self.connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def awaited(self) -> int:
        """How many answers are missing."""
        return sum(line.awaited for line in self.lines)

    def close(self) -> None:
        """Hang up; what has no answer yet will have none."""
        self.end_s = -math.inf  # and connect no more
        for line in list(self.lines):
            if line.awaited and line.cell is not None:
                line.cell.answers[HUNG] += line.awaited
                line.awaited = 0
            line.close()

    def report(self) -> ClientsReport:
        """Sum up."""
        deadline_s = self.clients.deadline_s
        return ClientsReport(
            self.clients.name,
            tuple(counts_of([cell], deadline_s) for cell in self.cells),
            by_phase(self.cells, self._phases_s, deadline_s),
            self.surplus,
            self.unconnected,
        )

    def _cell(self, moment_s: float) -> Cell:
        return cell_at(self.cells, moment_s - self._began_s)

    def _free(self) -> Line | None:
        while self._idle:
            line = self._idle.popleft()
            if not line.is_over:
                return line
        return None

    def _send(self, line: Line, due_s: float, cell: Cell) -> None:
        clients, burst = self.clients, self._bursts[self._sent % len(self._bursts)]
        self._sent += 1
        self.moves += 1
        cell.offered += clients.burst
        if clients.leaves_within_s is not None:
            if self._dice.random() < HALF_BODY_RATIO:
                burst = burst[: len(burst) // 2]
            delay_s = self._dice.uniform(0.0, clients.leaves_within_s)
            loop = asyncio.get_running_loop()
            loop.call_later(delay_s, line.leave, line.sent + 1)
        line.send(burst, clients.burst, due_s, cell)
