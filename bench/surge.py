"""The surge generator: open-loop load beyond what a server can bear.

`python -m bench.surge COURSE` prints {"began_s": ...} when all are connected, the moment at
which the course begins, and the report when the last request is answered.

Job    send each request when it is due, read every answer by its status alone, count.
Life   `await play(course, say)` connects, sends, waits at most GRACE_S for what is left.
Never  takes a refusal for a fault of its own.

Theory of operation. Requests are rendered beforehand and joined to bursts; a connection has
one burst on its way or is idle (bench/groups.py). Statuses are found by one search over what
was read, so that an answer costs about a microsecond, whatever its size: in bursts of eight
one processor sends and hears several times what a gateway can answer on another. The loop
spins, as that of bench/openloop.py does, and for the same reason.
"""

import argparse
import asyncio
import gc
import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import uvloop

from bench.courses import GRACE_S, Course, Report, decode_course
from bench.groups import Group
from bench.rabble import Rabble
from bench.ratios import percentile

SETTLE_S = 0.3  # between the last connection and the first request


class Spin:
    """Turns the loop without sleeping until every group is done."""

    def __init__(self, groups: Sequence[Group], rabble: Rabble, done: asyncio.Future[None]) -> None:
        self._groups = groups
        self._rabble = rabble
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._moves = -1  # seen so far
        self._turned_s = self._started_s = time.monotonic()
        self._idle_s = 0.0
        self._end_s = groups[0].end_s  # they end together

    @property
    def busy_ratio(self) -> float:
        return 1.0 - self._idle_s / max(1e-9, self._turned_s - self._started_s)

    def turn(self) -> None:
        """Send what is due, and turn again until all is done; a fault of ours ends it too."""
        try:
            is_over = self._step(time.monotonic())
        except Exception as error:  # noqa: BLE001 - the loop would only log it, and we would hang
            self._done.set_exception(error)
            return
        if is_over:
            self._done.set_result(None)
        else:
            self._loop.call_soon(self.turn)

    def _step(self, now: float) -> bool:
        """A step in which nothing moved since the last one was idle."""
        for group in self._groups:
            group.advance(now)
        self._rabble.advance(now)
        moves = sum(group.moves for group in self._groups)
        if moves == self._moves:
            self._idle_s += now - self._turned_s
        self._moves, self._turned_s = moves, now
        if now < self._end_s:
            return False
        return now >= self._end_s + GRACE_S or not any(group.awaited() for group in self._groups)


async def play(course: Course, say: Callable[[object], None]) -> Report:
    """Run the course once; say when it begins."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    groups = [Group(clients, course) for clients in course.clients]
    rabble = Rabble(course.port, course.slow, course.idle)
    try:
        await rabble.connect()
        for group in groups:
            for _ in range(group.clients.connections):
                await group.connect()
        began_s = time.monotonic() + SETTLE_S
        for group in groups:
            group.begin(began_s)
        say({"began_s": began_s})
        spin = Spin(groups, rabble, done)
        spin.turn()
        await done
    finally:
        for group in groups:
            group.close()
        rabble.close()
    lateness = [late_s for group in groups for late_s in group.lateness]
    return Report(
        began_s,
        spin.busy_ratio,
        percentile(lateness, 0.99) if lateness else 0.0,
        tuple(group.report() for group in groups),
        rabble.reconnected,
    )


def main() -> None:
    """Play the course in the named file and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.surge")
    parser.add_argument("course", type=Path)
    course = decode_course(parser.parse_args().course.read_text())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.disable()  # a pause here would look like one of the server's

    def say(message: object) -> None:
        print(json.dumps(message), flush=True)

    say(asdict(uvloop.run(play(course, say))))


if __name__ == "__main__":
    main()
