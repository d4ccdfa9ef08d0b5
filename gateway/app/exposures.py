"""Exposures: which unit was given to which variant, as lines for whoever analyses it.

Job    write a line of JSON the first time that a unit meets a variant of a revision.
Life   `async with`; leaving writes what is left.
Never  is waited for, or holds more than its bounds: where the disk is too slow, or full, lines
       are dropped, and that is said. Never says who the unit is: only its salted hash.

    {"at": 1763935200.123, "model": "digits", "revision": 7, "variant": "canary", "unit": "9f…"}

Lines gather for a while and are then written in a thread, with one append: replicas may
share a file. Each replica remembers for itself whom it has met lately, so a line may come
again, from another one or after a long time.
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
    """Mutable state: who was met lately (`_young`, `_old`), the lines that wait, those that
    were dropped, and the write under way.
    """

    def __init__(
        self,
        path: Path,
        most_remembered: int = _MOST_REMEMBERED,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """Units: `wall_s` gives seconds since 1970."""
        self._path = path
        self._most_remembered = most_remembered
        self._wall_s = wall_s
        self._young: set[Met] = set()
        self._old: set[Met] = set()
        self._lines: list[Line] = []
        self._dropped = 0
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

    def meet(self, met: Met) -> None:
        """Write that a unit was given to a variant, unless that was written lately."""
        if met in self._young:
            return
        if len(self._young) >= self._most_remembered:
            self._old, self._young = self._young, set()
        self._young.add(met)
        if met in self._old:
            return
        if len(self._lines) >= _MOST_LINES:
            self._dropped += 1
            return
        self._lines.append((self._wall_s(), met))
        if self._timer is None and self._writing is None:
            self._timer = self._loop.call_later(_GATHER_S, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._writing = self._loop.create_task(self._write())
        self._writing.add_done_callback(self._end)

    def _end(self, _writing: "asyncio.Task[None]") -> None:
        self._writing = None
        if self._lines:
            self._timer = self._loop.call_later(_GATHER_S, self._begin)

    async def _write(self) -> None:
        lines, self._lines = self._lines, []
        dropped, self._dropped = self._dropped, 0
        if lines:
            try:
                await asyncio.to_thread(_append, self._path, lines)
            except OSError as error:
                _log.error("exposures cannot be written: %s: %s", self._path, error.strerror)
                dropped += len(lines)
        if dropped:
            _log.warning("%d exposures were dropped", dropped)


def _append(path: Path, lines: Sequence[Line]) -> None:
    text = b"".join(
        orjson.dumps(
            {
                "at": round(at, 3),
                "model": model,
                "revision": revision,
                "variant": variant,
                "unit": f"{unit:016x}",
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for at, (model, revision, variant, unit) in lines
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(descriptor, "ab", buffering=0) as file:  # noqa: PTH123 - it is open already
        file.write(text)
