"""Eras: batchers under everything that may happen to them, and every call counted.

Job    offer calls of all kinds to batchers whose executors have whims; have callers leave,
       batchers move to other executors, close and open again; then see that every call was
       answered once, with its own rows, and that the telemetry counts what the callers heard.
Life   one era is a few thousand calls; its seed decides all of it, so it can be told again.
       In virtual time a hang is `Stuck`, and thirty seconds of it cost nothing.
Never  stops at a fault: it is written down, with the seed.

In an era of threads the executors are the gateway's own and time is real, so that its seed
decides what is asked, but not when it is answered.
"""

import asyncio
import logging
import math
import random
import selectors
import struct
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from gateway.batch.batcher import Batcher, Run
from gateway.batch.turns import Turns
from gateway.core.batching import Policy
from gateway.errors import ClientGone, GatewayError
from gateway.execute.executors import Inline, Threads
from gateway.observe import layout
from gateway.observe.record import Record
from gateway.types import Call, Shape
from tests.clock import JumpingLoop, JumpingSelector
from tests.fakes import TWICE_ARM, a_row
from tests.soak.whims import HANG_S, MOST_COST_S, Moody, Whims

CALLS = 20_000  # of an era
THREADED_EVERY = 20  # one era in so many has real executors
WATCHDOG_S = 120.0  # of an era of threads
_BURSTS = ((1, 1, 2, 5, 20, 60), (1, 2, 5, 20, 100, 300))  # calm, and more than can be borne
_DEADLINE_S = 0.03
_ROWS = (1,) * 12 + (2, 3, 8, 40)
_WIDTHS: tuple[tuple[Shape, ...], ...] = (((1,),),) * 6 + (((2,),), ((3,),))
_NUMBERS = 1 << 20  # whole numbers of which FP32 holds the double
_PACK = struct.Struct("<f")


@dataclass
class Tally:
    """What came of the calls of some eras."""

    offered: int = 0
    answered: int = 0
    executions: int = 0
    moves: int = 0
    closings: int = 0
    errors: Counter[str] = field(default_factory=Counter)  # by their code
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.offered += other.offered
        self.answered += other.answered
        self.executions += other.executions
        self.moves += other.moves
        self.closings += other.closings
        self.errors += other.errors
        self.faults += other.faults


class Place:
    """One of the batchers: its record outlives it. Mutable state: all of it."""

    def __init__(self, batcher: Batcher, record: Record, row: memoryview) -> None:
        self.batcher = batcher
        self.record = record
        self.row = row
        self.answered = self.rows = 0


class Era:
    """One era, whose `tally` says what came of it."""

    def __init__(self, seed: str, calls: int, runs: Sequence[Run], gaps_s: Sequence[float]) -> None:
        self.tally = Tally()
        self._seed = seed
        self._calls = calls
        self._runs = runs
        self._gaps_s = gaps_s
        self._dice = random.Random(seed)
        self._bursts = self._dice.choice(_BURSTS)
        self._loop = asyncio.get_running_loop()
        self._pending: dict[Call, Place] = {}
        self._busy: set[object] = set()
        self._turns = Turns(self._dice.randint(1, 3)) if self._dice.random() < 0.5 else None
        self._places = [self._place() for _ in range(self._dice.randint(1, 3))]

    async def live(self) -> None:
        """Do all of it, and close what is open."""
        async with asyncio.TaskGroup() as group:
            while self.tally.offered < self._calls:
                left = self._calls - self.tally.offered
                for _ in range(min(left, self._dice.choice(self._bursts))):
                    self._offer()
                whim = self._dice.random()
                if whim < 0.02:
                    self._move()
                elif whim < 0.025:
                    group.create_task(self._renew(self._dice.choice(self._places)))
                await asyncio.sleep(self._dice.choice(self._gaps_s))
        for place in self._places:
            await self._close(place.batcher)

    def check(self, runs: int) -> None:
        """Compare what was offered, heard and recorded; the executors count `runs`."""
        tally = self.tally
        tally.executions = runs
        heard = tally.answered + tally.errors.total()
        self._expect("calls that nobody answered", 0, len(self._pending))
        self._expect("answers", tally.offered, heard)
        cells = [[place.row[cell] for place in self._places] for cell in range(layout.HEAD_CELLS)]
        self._expect("executions recorded", runs, sum(cells[layout.EXECUTIONS]))
        self._expect("executions under way", 0, sum(cells[layout.EXECUTING]))
        for at, place in enumerate(self._places):
            successes = place.row[layout.OUTCOMES]
            self._expect(f"successes recorded of {at}", place.answered, successes)
            if place.row[layout.INFERENCES] < place.rows:
                self._fault(f"{place.rows} rows answered, {place.row[layout.INFERENCES]} recorded")
            held = place.batcher.statistics()
            self._expect(f"rows and executions left in {at}", (0, 0), tuple(_told(held)))
        self._expect("batchers that are busy", 0, len(self._busy))
        if self._turns is not None:
            self._expect("executors that are free", True, self._turns.is_free())

    def _offer(self) -> None:
        dice = self._dice
        place = dice.choice(self._places)
        roll = dice.random()
        rows, shapes = dice.choice(_ROWS), dice.choice(_WIDTHS)
        number = -1.0 if roll < 0.004 else float(dice.randrange(_NUMBERS))
        now = self._loop.time()
        deadline = math.inf if roll < 0.4 else now + dice.random() * _DEADLINE_S - 1e-4
        payload = _PACK.pack(number) * (rows * shapes[0][0])
        call = Call(
            TWICE_ARM, (payload,), rows, shapes, self._hear, deadline, dice.randint(1, 3), now
        )
        self._pending[call] = place
        self.tally.offered += 1
        place.batcher.offer(call)
        if roll > 0.9:
            gone = ClientGone("it left")
            if roll > 0.98:
                call.fail(gone)
            else:
                self._loop.call_later(dice.random() * 2 * MOST_COST_S, call.fail, gone)

    def _hear(self, call: Call) -> None:
        place = self._pending.pop(call, None)
        if place is None:
            self._fault("a call was answered twice")
        elif call.outputs is None:
            error = call.error
            self.tally.errors[error.code if isinstance(error, GatewayError) else repr(error)] += 1
        else:
            self.tally.answered += 1
            place.answered += 1
            place.rows += call.rows
            self._check_rows(call)

    def _check_rows(self, call: Call) -> None:
        assert call.outputs is not None
        (number,) = _PACK.unpack_from(call.payloads[0])  # type: ignore[arg-type]  # bytes: see _offer
        array, start, stop = call.outputs.arrays[0], call.start, call.stop
        rows = array[start:stop]
        if len(rows) != call.rows or rows[0, 0] != 2 * number or rows[-1, -1] != 2 * number:
            self._fault(f"{call.rows} rows of {number} were answered with {rows.tolist()}")

    def _place(self) -> Place:
        row = a_row()
        record = Record(row)
        return Place(self._opened(record), record, row)

    def _opened(self, record: Record) -> Batcher:
        batcher = Batcher(
            self._a_run(), self._policy(), record, self._loop.time, self._busy, self._turns
        )
        return batcher.open()

    def _a_run(self) -> Run:
        run = self._dice.choice(self._runs)
        return run if self._turns is None else self._turns.counted(run)

    def _policy(self) -> Policy:
        dice = self._dice
        return Policy(
            max_rows=dice.choice((1, 4, 16, 64, 64)),
            max_wait_s=dice.choice((0.0, 0.0, 0.001)),
            max_running=dice.choice((1, 2, 4)),
            max_waiting_rows=dice.choice((64, 1000, 65_536)),
        )

    def _move(self) -> None:
        self.tally.moves += 1
        place = self._dice.choice(self._places)
        place.batcher.move(self._a_run(), self._policy(), self._turns)

    async def _renew(self, place: Place) -> None:
        """Close a batcher, whatever it holds; another takes its place at once."""
        leaving, place.batcher = place.batcher, self._opened(place.record)
        await self._close(leaving)

    async def _close(self, batcher: Batcher) -> None:
        self.tally.closings += 1
        await batcher.close(self._dice.random() * _DEADLINE_S)

    def _expect(self, what: str, expected: object, actual: object) -> None:
        if actual != expected:
            self._fault(f"{what}: expected {expected}, got {actual}")

    def _fault(self, what: str) -> None:
        self.tally.faults.append(f"era {self._seed}: {what}")


def _told(held: object) -> Sequence[object]:
    """Return waiting rows and running executions; what else a batcher tells is its own."""
    return [getattr(held, name) for name in ("waiting_rows", "running")]


class _TickingSelector(JumpingSelector):
    """Its clock goes on by itself, a microsecond a turn of the loop.

    A loop calls a timer that is due within a nanosecond, and whoever waits for the rest of
    that nanosecond would wait for ever where time stands still between timers.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now_s += 1e-6
        return super().select(timeout)


class _TickingLoop(JumpingLoop):
    def __init__(self) -> None:
        self._jumping = _TickingSelector()
        asyncio.SelectorEventLoop.__init__(self, self._jumping)


def virtual(seed: str, calls: int = CALLS) -> Tally:
    """Play an era in virtual time. Raises: Stuck."""

    async def scene() -> Tally:
        dice = random.Random(f"{seed} whims")
        whims = [Whims(dice) for _ in range(3)]
        era = Era(seed, calls, [one.run for one in whims], (0.0, 0.0002, 0.001, 0.002, 0.01))
        await era.live()
        await asyncio.sleep(2 * HANG_S)  # the last late word
        era.check(sum(one.runs for one in whims))
        return era.tally

    with asyncio.Runner(loop_factory=_TickingLoop) as runner:
        return runner.run(scene())


def threaded(seed: str, calls: int = CALLS) -> Tally:
    """Play an era with real executors. Raises: TimeoutError."""

    async def scene() -> Tally:
        dice = random.Random(f"{seed} moods")
        moods = [Moody(dice) for _ in range(3)]
        async with asyncio.timeout(WATCHDOG_S), AsyncExitStack() as stack:
            pools = [await stack.enter_async_context(Threads(one, 2)) for one in moods[:2]]
            runs = [Inline(moods[2], budget_s=1.0).run, *(pool.run for pool in pools)]
            era = Era(seed, calls, runs, (0.0, 0.0, 0.0, 0.001))
            await era.live()
            await asyncio.sleep(0.1)  # the last late word
            era.check(sum(one.runs for one in moods))
        return era.tally

    return asyncio.run(scene())


def played(seed: int, number: int) -> Tally:
    """Play one era of a soak, and write down the fault that ended it if one did."""
    logging.disable(logging.CRITICAL)  # executors fail by the ten thousand
    play = threaded if number % THREADED_EVERY == THREADED_EVERY - 1 else virtual
    try:
        return play(f"{seed} {number}")
    except Exception as error:  # noqa: BLE001 - a hang or a crash is what is looked for
        return Tally(faults=[f"era {seed} {number}: {error!r}"])
    finally:
        logging.disable(logging.NOTSET)
