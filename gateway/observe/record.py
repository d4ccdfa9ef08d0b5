"""Record: the one writer of a telemetry row.

Job    keep a version's counters, and show them before the answers they are about.
Life   one per row, on the thread of the event loop; it may be given up at any time.
Never  takes a number back, waits, or raises.

Theory of operation. A batch is counted once. Its calls arrived in a few moments of one
tick: these are sorted, which costs next to nothing for what is sorted already, and each
bound of a bucket that lies among them is found by bisection. Sums run in C.

The row's first cells are kept here as plain numbers and written all in one go: to read a
cell, add and write it again costs three times as much. So a row has one record. The
cells of outcomes, histograms and failures are added to in place.

`pack_into` fills its target with zeros before it packs, and the supervisor reads at any
moment: it would see counters go back, and a death in between would leave it at that. So
numbers are packed into cells of our own and copied from there, each cell in one store.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from struct import Struct

from gateway.core.breaker import State
from gateway.errors import Shed
from gateway.observe import layout
from gateway.observe.breakers import cell_of
from gateway.observe.layout import (
    BUCKETS_S,
    EXECUTION,
    MOST_SIZES,
    OUTCOMES,
    QUEUE,
    REQUEST,
    SIZE_CELLS,
    SIZES,
)
from gateway.types import Call, Outputs

_pack_head = Struct(f"{layout.HEAD_CELLS}q").pack_into
_pack_size = Struct(f"{SIZE_CELLS}q").pack_into
_HEAD = slice(0, layout.HEAD_CELLS)

_OTHER = OUTCOMES + layout.OUTCOME_NAMES.index("other")
_LOSSES = {
    name: OUTCOMES + place for place, name in enumerate(layout.OUTCOME_NAMES) if name != "success"
}
_BUCKETS_NS = tuple(round(bound_s * 1e9) for bound_s in BUCKETS_S)
_SHADOWED = {name: layout.SHADOWED + at for at, name in enumerate(layout.SHADOW_NAMES)}
_SHED = {name: layout.SHED + at for at, name in enumerate(layout.SHED_NAMES)}
_FAILED = frozenset(layout.FAILED_OUTCOMES)


class Record:
    """What it is told of stands in the row when it returns.

    Row 0 hears `heartbeat`, `moved`, `refuse`, `shed`, `asked` and `over`; any other row `begin`,
    `finish`, `complete`, `refuse`, `shed` and `fell_back`, that of a shadow `shadowed` and
    `disagreed` too, that of a version by itself `breaker` and `retried`.

    Mutable state: the numbers of the row's first cells, `_sizes`, the slots in use, and the
    cells of executor instances (`_breakers`).
    """

    __slots__ = (
        "_breakers", "_executing", "_execution_ns", "_executions", "_head", "_infer_ns",
        "_inferences", "_input_ns", "_last_ms", "_output_ns", "_queue_ns", "_row", "_sizes",
        "_slot", "_success_ns", "_successes", "_wall_s",
    )  # fmt: skip

    def __init__(self, row: memoryview, wall_s: Callable[[], float] = time.time) -> None:
        """Go on from what the row says. Units: `wall_s` gives seconds since 1970."""
        self._row = row
        self._head, self._slot = _own_cells(layout.HEAD_CELLS), _own_cells(SIZE_CELLS)
        self._wall_s = wall_s
        (
            self._executing,
            self._last_ms,
            used,
            self._success_ns,
            self._queue_ns,
            self._input_ns,
            self._infer_ns,
            self._output_ns,
            self._execution_ns,
            self._executions,
            self._inferences,
            self._successes,
        ) = row[: layout.HEAD_CELLS].tolist()
        starts = range(SIZES, SIZES + used * SIZE_CELLS, SIZE_CELLS)
        self._breakers: dict[str, int] = {}
        sizes = [_Size(start, row[start : start + SIZE_CELLS].tolist()) for start in starts]
        self._sizes = {size.rows: size for size in sizes}

    def begin(self) -> None:
        """Show that an execution starts now: should it kill us, this is what we leave."""
        self._executing += 1
        self._row[layout.EXECUTING] = self._executing

    def finish(
        self, calls: Sequence[Call], outputs: Outputs | None, started: float, ended: float
    ) -> None:
        """Count an execution that began, and the requests that its outputs answer.

        Those of `calls` that are done already are no success; without outputs none is.
        Units: monotonic seconds.
        """
        self._executing -= 1
        self._executions += 1
        if outputs is None:
            spent_ns = _ns(ended - started)
        else:
            spent_ns = outputs.input_ns + outputs.infer_ns + outputs.output_ns
            arrived = [call.arrived for call in calls if not (call.done or call.is_part)]
            if len(arrived) < len(calls):
                calls = [call for call in calls if not call.done]
            self._charge(sum([call.rows for call in calls]), outputs)
            if arrived:
                arrived.sort()
                self._succeed(arrived, outputs, started, ended)
        self._execution_ns += spent_ns
        self._row[EXECUTION + bisect_left(_BUCKETS_NS, spent_ns)] += 1
        self._show()

    def complete(self, call: Call, outputs: Outputs, started: float, ended: float) -> None:
        """Count a call that was cut into parts, the last of which is among `outputs`."""
        self._succeed([call.arrived], outputs, started, ended)
        self._show()

    def refuse(self, code: str, elapsed_s: float, rows: int = 0) -> None:
        """Count a request that got an error instead of an answer.

        Its time counts where it was tried; its `rows`, where they were too many.
        """
        row = self._row
        row[_LOSSES.get(code, _OTHER)] += 1
        if code in _FAILED:
            elapsed_ns = _ns(elapsed_s)
            row[layout.FAIL_NS] += elapsed_ns
            row[REQUEST + bisect_left(_BUCKETS_NS, elapsed_ns)] += 1
        elif code == "overloaded":
            row[layout.SHED_ROWS] += rows

    def shed(self, reason: Shed) -> None:
        """Count a request that was refused, by what there was no room for."""
        self._row[_SHED[reason]] += 1

    def fell_back(self) -> None:
        """Count a request that another arm was asked instead."""
        self._row[layout.FALLBACKS] += 1

    def retried(self) -> None:
        """Count a batch that another endpoint was asked for as well."""
        self._row[layout.RETRIES] += 1

    def shadowed(self, outcome: str, calls: int) -> None:
        """Count what became of calls that this shadow was asked as well."""
        self._row[_SHADOWED[outcome]] += calls

    def disagreed(self, output: int, rows: int) -> None:
        """Count rows of which this shadow would have said something else."""
        self._row[layout.DISAGREEMENTS + min(output, layout.MOST_OUTPUTS - 1)] += rows

    def breaker(self, name: str, state: State | None) -> None:
        """Show how an executor instance is; None: it is there no more."""
        cell = self._breakers.setdefault(name, layout.BREAKERS + len(self._breakers))
        if cell < layout.BREAKERS + layout.MOST_BREAKERS:
            opened = (self._row[cell] >> 16) + (state is State.OPEN)
            shown = cell_of(name, state, opened)
            if shown is not None:
                self._row[cell] = shown

    def heartbeat(self, now_ns: int, connections: int) -> None:
        """Show that the loop turns. Units: monotonic nanoseconds."""
        self._row[layout.HEARTBEAT_NS] = now_ns
        self._row[layout.CONNECTIONS] = connections

    def moved(self) -> None:
        """Count a version that left the event loop for a thread."""
        self._row[layout.MOVED] += 1

    def asked(self, place: int) -> None:
        """Count a request of a quota's holder."""
        self._row[layout.QUOTAS + 2 * place] += 1

    def over(self, place: int) -> None:
        """Count that it was over the quota."""
        self._row[layout.QUOTAS + 2 * place + 1] += 1

    def _charge(self, rows: int, outputs: Outputs) -> None:
        """Count the rows of an execution whose callers still wait, under its size."""
        if not rows:
            return
        self._inferences += rows
        sizes = self._sizes
        size = sizes.get(rows)
        if size is None:
            if len(sizes) == MOST_SIZES:
                return
            start = SIZES + len(sizes) * SIZE_CELLS
            size = sizes[rows] = _Size(start, [rows, 0, 0, 0, 0])
        size.executions += 1
        size.input_ns += outputs.input_ns
        size.infer_ns += outputs.infer_ns
        size.output_ns += outputs.output_ns
        _pack_size(
            self._slot, 0, rows, size.executions, size.input_ns, size.infer_ns, size.output_ns
        )
        self._row[size.place] = self._slot

    def _succeed(
        self, arrived: list[float], outputs: Outputs, started: float, ended: float
    ) -> None:
        """Count requests by the moments at which they arrived, ascending."""
        count = len(arrived)
        input_ns, infer_ns, output_ns = outputs.input_ns, outputs.infer_ns, outputs.output_ns
        queued_s = count * started - sum(arrived)
        queue_ns = int(queued_s * 1e9) if queued_s > 0.0 else 0  # sums are rounded
        # the stamps are another clock's, and what is in them was spent
        ran_ns = max(int((ended - started) * 1e9), input_ns + infer_ns + output_ns)
        self._successes += count
        self._success_ns += queue_ns + count * ran_ns
        self._queue_ns += queue_ns
        self._input_ns += count * input_ns
        self._infer_ns += count * infer_ns
        self._output_ns += count * output_ns
        self._last_ms = int(self._wall_s() * 1e3)
        _spread(self._row, REQUEST, arrived, ended)
        _spread(self._row, QUEUE, arrived, started)

    def _show(self) -> None:
        # in this order: whoever reads it ascending finds no part before its whole
        _pack_head(
            self._head,
            0,
            self._executing,
            self._last_ms,
            len(self._sizes),
            self._success_ns,
            self._queue_ns,
            self._input_ns,
            self._infer_ns,
            self._output_ns,
            self._execution_ns,
            self._executions,
            self._inferences,
            self._successes,
        )
        self._row[_HEAD] = self._head


def _own_cells(count: int) -> memoryview:
    return memoryview(bytearray(8 * count)).cast("q")


class _Size:
    """What is known of the executions of one size; `place` is its slot in the row."""

    __slots__ = ("executions", "infer_ns", "input_ns", "output_ns", "place", "rows")

    def __init__(self, start: int, cells: Sequence[int]) -> None:
        self.place = slice(start, start + SIZE_CELLS)
        self.rows, self.executions, self.input_ns, self.infer_ns, self.output_ns = cells


def _spread(row: memoryview, start: int, moments: list[float], until: float) -> None:
    """Add to a histogram how long before `until` each of the ascending moments was."""
    bucket = bisect_left(BUCKETS_S, until - moments[-1])
    last = bisect_left(BUCKETS_S, until - moments[0])
    left = len(moments)
    while bucket < last:
        longer = bisect_left(moments, until - BUCKETS_S[bucket])
        row[start + bucket] += left - longer
        left = longer
        bucket += 1
    row[start + last] += left


def _ns(seconds: float) -> int:
    """Return whole nanoseconds; clocks that disagree by a rounding give none, not less."""
    return max(0, int(seconds * 1e9))
