"""Counts: what a telemetry row says, as plain numbers.

Job    read a row; add rows up.
Life   values; pure functions.
Never  writes a cell.

A row may be written while it is read. Each number is one that stood there, so none is ever
smaller in a later reading; but they stood there at different moments. What must not be
less than the sum of its parts is read last, and is at least that sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.core.breaker import State
from gateway.observe import layout
from gateway.observe.breakers import openings, states, worst
from gateway.observe.layout import FAIL_NS, HISTOGRAM_CELLS, OUTCOMES, SIZE_CELLS, SIZES

Size = tuple[int, int, int, int]

_NO_OUTCOMES = (0,) * len(layout.OUTCOME_NAMES)
_NO_TIMES = (0,) * HISTOGRAM_CELLS
_NO_SHADOW = (0,) * len(layout.SHADOW_NAMES)
_NO_SHED = (0,) * len(layout.SHED_NAMES)
_NO_OUTPUTS = (0,) * layout.MOST_OUTPUTS


@dataclass(frozen=True, slots=True)
class Counts:
    """Sums over any number of rows.

    Shapes: `outcomes` in the order of `OUTCOME_NAMES`; `request`, `queue`, `execution`
    have HISTOGRAM_CELLS buckets, not cumulative; `shed` in the order of `SHED_NAMES`,
    `shadowed` in that of `SHADOW_NAMES`, `disagreements` in that of the outputs; `sizes`
    maps the rows of an execution to (executions, input, infer, output nanoseconds).
    `breakers` are the worst states by executor instance: no sums, and gone with their replica;
    `openings` says how often they opened.
    """

    executing: int = 0
    last_inference_ms: int = 0
    success_ns: int = 0
    fail_ns: int = 0
    queue_ns: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0
    execution_ns: int = 0
    executions: int = 0
    inferences: int = 0
    shed_rows: int = 0
    fallbacks: int = 0
    shed: tuple[int, ...] = _NO_SHED
    shadowed: tuple[int, ...] = _NO_SHADOW
    disagreements: tuple[int, ...] = _NO_OUTPUTS
    outcomes: tuple[int, ...] = _NO_OUTCOMES
    request: tuple[int, ...] = _NO_TIMES
    queue: tuple[int, ...] = _NO_TIMES
    execution: tuple[int, ...] = _NO_TIMES
    sizes: Mapping[int, Size] = field(default_factory=dict)
    openings: int = 0
    breakers: Mapping[str, State] = field(default_factory=dict)
    retries: int = 0


ZERO = Counts()


def read(row: memoryview) -> Counts:
    """Return what a version's row says: ZERO for one that was never written."""
    cells: list[int] = row[:SIZES].tolist()
    if not any(cells):
        return ZERO
    breakers = cells[layout.BREAKERS : layout.BREAKERS + layout.MOST_BREAKERS]
    return Counts(
        cells[layout.EXECUTING],
        cells[layout.LAST_INFERENCE_MS],
        max(row[layout.SUCCESS_NS], sum(cells[layout.QUEUE_NS : layout.EXECUTION_NS])),
        cells[FAIL_NS],
        cells[layout.QUEUE_NS],
        cells[layout.INPUT_NS],
        cells[layout.INFER_NS],
        cells[layout.OUTPUT_NS],
        cells[layout.EXECUTION_NS],
        cells[layout.EXECUTIONS],
        cells[layout.INFERENCES],
        cells[layout.SHED_ROWS],
        cells[layout.FALLBACKS],
        _shed(cells),
        tuple(cells[layout.SHADOWED : layout.SHADOWED + len(layout.SHADOW_NAMES)]),
        tuple(cells[layout.DISAGREEMENTS : layout.DISAGREEMENTS + layout.MOST_OUTPUTS]),
        _outcomes(cells),
        _histogram(cells, layout.REQUEST),
        _histogram(cells, layout.QUEUE),
        _histogram(cells, layout.EXECUTION),
        _sizes(row, cells[layout.SIZES_USED]),
        openings(breakers),
        states(breakers),
        cells[layout.RETRIES],
    )


def read_refusals(row: memoryview) -> Counts:
    """Return what row 0 says of requests: its other cells mean something else."""
    cells: list[int] = row[:SIZES].tolist()
    return Counts(
        fail_ns=cells[FAIL_NS],
        shed_rows=cells[layout.SHED_ROWS],
        shed=_shed(cells),
        outcomes=_outcomes(cells),
        request=_histogram(cells, layout.REQUEST),
    )


def read_quota(row: memoryview, place: int) -> tuple[int, int]:
    """Return what row 0 says of one place: requests of its quota's holder, and those over it."""
    at = layout.QUOTAS + 2 * place
    over = row[at + 1]
    return max(row[at], over), over


def plus(one: Counts, other: Counts) -> Counts:
    """Return both together, in whatever order they are added up."""
    return Counts(
        one.executing + other.executing,
        max(one.last_inference_ms, other.last_inference_ms),
        one.success_ns + other.success_ns,
        one.fail_ns + other.fail_ns,
        one.queue_ns + other.queue_ns,
        one.input_ns + other.input_ns,
        one.infer_ns + other.infer_ns,
        one.output_ns + other.output_ns,
        one.execution_ns + other.execution_ns,
        one.executions + other.executions,
        one.inferences + other.inferences,
        one.shed_rows + other.shed_rows,
        one.fallbacks + other.fallbacks,
        _added(one.shed, other.shed),
        _added(one.shadowed, other.shadowed),
        _added(one.disagreements, other.disagreements),
        _added(one.outcomes, other.outcomes),
        _added(one.request, other.request),
        _added(one.queue, other.queue),
        _added(one.execution, other.execution),
        _merged(one.sizes, other.sizes),
        one.openings + other.openings,
        worst(one.breakers, other.breakers),
        one.retries + other.retries,
    )


def settled(counts: Counts) -> Counts:
    """Return what stays of what a writer has counted, when it writes no more."""
    return replace(counts, executing=0, breakers={})


def _outcomes(cells: list[int]) -> tuple[int, ...]:
    return tuple(cells[OUTCOMES : OUTCOMES + len(layout.OUTCOME_NAMES)])


def _shed(cells: list[int]) -> tuple[int, ...]:
    return tuple(cells[layout.SHED : layout.SHED + len(layout.SHED_NAMES)])


def _histogram(cells: list[int], start: int) -> tuple[int, ...]:
    return tuple(cells[start : start + HISTOGRAM_CELLS])


def _sizes(row: memoryview, used: int) -> dict[int, Size]:
    cells: list[int] = row[SIZES : SIZES + used * SIZE_CELLS].tolist()
    sizes: dict[int, Size] = {}
    for at in range(0, len(cells), SIZE_CELLS):
        rows, executions, input_ns, infer_ns, output_ns = cells[at : at + SIZE_CELLS]
        sizes[rows] = executions, input_ns, infer_ns, output_ns
    return sizes


def _added(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _merged(one: Mapping[int, Size], other: Mapping[int, Size]) -> dict[int, Size]:
    merged = dict(one)
    for rows, size in other.items():
        was = merged.get(rows)
        if was is not None:
            merged[rows] = was[0] + size[0], was[1] + size[1], was[2] + size[2], was[3] + size[3]
        else:
            merged[rows] = size
    return merged
