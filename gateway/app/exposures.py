"""Exposures: which unit was given to which variant, as lines for whoever analyses it.

Job    write a line of JSON the first time that a unit meets a variant of a revision.
Life   `async with`; leaving writes what is left.
Never  is waited for, or holds more than its bounds: where the disk is too slow, or full, lines
       are dropped, and that is said. Never says who the unit is: only its salted hash.

    {"at": 1763935200.123, "model": "digits", "revision": 7, "variant": "canary", "unit": "9f…"}

Lines gather for a while and are then written in a thread, with one append: replicas may
share a file. Where there was room for a part only, what is on disk whole counts as written,
and whoever appends next begins a line of its own after the torn one. Each replica remembers
for itself whom it has met lately, so a line may come again, from another one or after a long
time; a unit whose line was dropped is not remembered, so that it gets one when it comes again.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import orjson

_log = logging.getLogger(__name__)
_MOST_REMEMBERED = 100_000  # in each of two generations
_MOST_LINES = 20_000  # that wait
_GATHER_S = 0.5

Met = tuple[str, int, str, int]  # model, revision, variant, hash of the unit
Line = tuple[float, Met]


class Exposures:
    """Mutable state: who was met lately (`_young`, `_old`), the lines that wait, how many were
    dropped and not told of yet, why none can be written, and the write under way.
    """

    def __init__(
        self,
        path: Path,
        most_remembered: int = _MOST_REMEMBERED,
        wall_s: Callable[[], float] = time.time,
        most_lines: int = _MOST_LINES,
        gather_s: float = _GATHER_S,
    ) -> None:
        """Units: `wall_s` gives seconds since 1970."""
        self._path = path
        self._most_remembered = most_remembered
        self._most_lines = most_lines
        self._gather_s = gather_s
        self._wall_s = wall_s
        self._young: set[Met] = set()
        self._old: set[Met] = set()
        self._lines: list[Line] = []
        self._dropped = 0
        self._fault = ""
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel: safe; lines are lost."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await self._writing
        await self._write()
        self._tell_dropped()

    def meet(self, met: Met) -> None:
        """Write that a unit was given to a variant, unless that was written lately."""
        if met in self._young:
            return
        is_known = met in self._old
        if not is_known and len(self._lines) >= self._most_lines:
            self._dropped += 1
            return
        if len(self._young) >= self._most_remembered:
            self._old, self._young = self._young, set()
        self._young.add(met)
        if is_known:
            return
        self._lines.append((self._wall_s(), met))
        if self._timer is None and self._writing is None:
            self._timer = self._loop.call_later(self._gather_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._writing = self._loop.create_task(self._write())
        self._writing.add_done_callback(self._end)

    def _end(self, _writing: "asyncio.Task[None]") -> None:
        self._writing = None
        if self._lines:
            self._timer = self._loop.call_later(self._gather_s, self._begin)

    async def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            written, fault = await asyncio.to_thread(_append, self._path, lines)
            self._forget(lines[written:])
            is_news, self._fault = fault != self._fault, fault
            if fault and is_news:
                _log.error("exposures cannot be written: %s: %s", self._path, fault)
            if fault and not is_news:
                return  # it has been said; how many were dropped is, when it is over
        self._tell_dropped()

    def _forget(self, lines: Sequence[Line]) -> None:
        self._dropped += len(lines)
        for _, met in lines:
            self._young.discard(met)
            self._old.discard(met)

    def _tell_dropped(self) -> None:
        if self._dropped:
            _log.warning("%d exposures were dropped", self._dropped)
            self._dropped = 0


def _append(path: Path, lines: Sequence[Line]) -> tuple[int, str]:
    """Return how many of the lines are on disk, and why the others are not."""
    text, on_disk = b"".join(map(_line, lines)), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            if _is_torn(descriptor):
                os.write(descriptor, b"\n")
            while on_disk < len(text):
                on_disk += os.write(descriptor, memoryview(text)[on_disk:])
        finally:
            os.close(descriptor)
    except OSError as error:
        return text[:on_disk].count(b"\n"), error.strerror or str(error)
    return len(lines), ""


def _is_torn(descriptor: int) -> bool:
    """Say whether what is there ends in the middle of a line."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _line(line: Line) -> bytes:
    at, (model, revision, variant, unit) = line
    shown = {
        "at": round(at, 3),
        "model": model,
        "revision": revision,
        "variant": variant,
        "unit": f"{unit:016x}",
    }
    return orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)
