"""Load: from a version on disk to one that is warm, measured and placed.

Job    open the model, run it at growing batch sizes, fit what a batch costs, choose
       where it runs and how large an execution may be.
Never  serves anything; a version that cannot be loaded is a LoadFailed with its file.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gateway.core.costs import Bounds, Cost, Placement, fit, place, thread_rows
from gateway.execute.session import LoadFailed, Session, SessionSettings
from gateway.repository.digest import digest
from gateway.repository.discover import Found
from gateway.repository.settings import ModelSettings
from gateway.types import Version

_RUNS = 50  # the median of so many runs is a sample of the cost
_SAMPLE_S = 0.05  # no sample takes longer than this, unless a single run does
_FEWEST_RUNS = 3
_MOST_ROWS = 128  # beyond it the line is drawn on


class Timed(Protocol):
    """What can be measured: a Session."""

    def time_s(self, rows: int) -> float: ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version that can be served."""

    version: Version
    session: Session
    settings: ModelSettings
    cost: Cost
    placement: Placement


def load(found: Found, bounds: Bounds, platform: str) -> Loaded:
    """Open, warm and measure one version.

    Raises: LoadFailed.
    """
    declared = found.settings
    session = Session(
        found.onnx,
        SessionSettings(
            declared.batching.max_batch_size,
            declared.execution.intra_op_threads,
            declared.execution.inter_op_threads,
            declared.batching.pad_to,
        ),
    )
    max_rows = _most_rows(session, declared)
    try:
        cost = fit(samples(session, max_rows, bounds.thread_batch_s))
    except Exception as error:
        raise LoadFailed(f"{found.onnx}: a trial run failed: {error}") from error
    version = Version(found.model, found.version, session.signature, digest(found.folder), platform)
    return Loaded(version, session, declared, cost, _placed(cost, bounds, declared, max_rows))


def _most_rows(session: Session, declared: ModelSettings) -> int:
    """Return the largest execution that the model and its settings allow."""
    most = declared.batching.max_batch_size or 1
    if declared.batching.max_execution_rows is not None:
        most = min(most, declared.batching.max_execution_rows)
    return min(most, session.fixed_rows or most)


def _sizes(max_rows: int) -> Iterator[int]:
    rows = 1
    while rows < min(max_rows, _MOST_ROWS):
        yield rows
        rows *= 2
    yield min(max_rows, _MOST_ROWS)


def samples(session: Timed, max_rows: int, enough_s: float) -> list[tuple[int, float]]:
    """Measure growing executions until one takes `enough_s`: beyond it the line is drawn on."""
    samples: list[tuple[int, float]] = []
    for rows in _sizes(max_rows):
        samples.append((rows, _sample_s(session, rows)))
        if samples[-1][1] > enough_s:
            break
    return samples


def _sample_s(session: Timed, rows: int) -> float:
    """Return the median time of an execution, after one that is not counted."""
    session.time_s(rows)
    times = [session.time_s(rows) for _ in range(_FEWEST_RUNS)]
    while len(times) < _RUNS and sum(times) < _SAMPLE_S:
        times.append(session.time_s(rows))
    return statistics.median(times)


def _placed(cost: Cost, bounds: Bounds, declared: ModelSettings, max_rows: int) -> Placement:
    executor = declared.execution.executor
    if executor == "auto" and declared.execution.instances > 1:
        executor = "thread"  # one loop cannot hold several instances
    if executor == "inline":
        return Placement(True, min(max_rows, cost.rows_within(bounds.inline_batch_s)))
    placement = place(cost, bounds, max_rows)
    if executor == "auto" and placement.is_inline:
        return placement
    if declared.batching.max_execution_rows is not None:
        return Placement(False, max_rows)
    return Placement(False, thread_rows(cost, bounds, max_rows))
