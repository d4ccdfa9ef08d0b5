"""Prove: from a version on disk to what can be relied on when it is served.

Job    verify the files, open the model, compare it with what is said of it, run it at
       every size of batch, fit what a batch costs, choose where it runs, see that it
       still gives its golden sample.
Life   once a digest, in a child that may die of it (or in a process of one's own).
Never  serves anything; a version that fails any step is a LoadFailed that names the
       file or tensor, what was expected and what came.

`tell` hears of each step before it begins: what was told last is where a model hung,
or killed the process.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from gateway.core.costs import Bounds, Cost, Placement, fit, place, thread_rows
from gateway.execute.session import LoadFailed
from gateway.repository.agreeing import disagreements
from gateway.repository.digest import signature_of_files
from gateway.repository.external import inspect, refuse_outside
from gateway.repository.golden import Golden, arguments, compare, read_golden
from gateway.repository.load import Timed, open_session, sizes, warm
from gateway.repository.manifest import identify
from gateway.repository.proof import NOTHING_EXTERNAL, External, Found, Proof
from gateway.repository.reasons import few
from gateway.repository.remote import probed
from gateway.repository.settings import ModelSettings
from gateway.repository.warmup import NotWarm, warmup_arrays
from gateway.types import Array, Shape, Signature

_RUNS = 50  # a sample of the cost is made of so many runs
_SAMPLE_S = 0.05  # no sample takes longer than this, unless a single run does
_FEWEST_RUNS = 3
_MOST_ROWS = 128  # beyond it the line is drawn on
_SHORTEST_S = 1e-9  # what takes no time that can be measured still takes some

Tell = Callable[[str], None]
_Sample = tuple[str, list[Array], int]  # what it is called, its inputs, how often it runs


class Trialled(Timed, Protocol):
    """What is tried: a Session, or what asks a server elsewhere."""

    signature: Signature
    fixed_rows: int | None

    def infer(self, arrays: Sequence[Array]) -> Sequence[Array]: ...


def _nobody(step: str) -> None:
    """Hear a step, and forget it."""


def prove(found: Found, bounds: Bounds, platform: str, tell: Tell = _nobody) -> Proof:
    """Open, check, run and measure one version.

    Raises: LoadFailed.
    """
    try:
        return _prove(found, bounds, platform, tell)
    except (OSError, ValueError) as error:
        # most name their file, which may be another than the model
        is_named = str(found.folder.parent) in str(error)
        raise LoadFailed(str(error) if is_named else f"{found.onnx}: {error}") from error


def _prove(found: Found, bounds: Bounds, platform: str, tell: Tell) -> Proof:
    tell("verifying its files")
    stamp = signature_of_files(found.folder)
    digest = identify(found)
    external = _external(found)
    golden = read_golden(found.folder)
    shapes = _trial_shapes(found.settings, golden)
    tell(f"opening {found.onnx.name}")
    with _opened(found, shapes, external, digest) as session:
        signature = session.signature
        cost, placement = _tried(_Trial(found, session, bounds, tell), golden)
    if signature_of_files(found.folder) != stamp:
        raise LoadFailed(f"{found.folder}: changed while it was proved")
    return Proof(found, digest, signature, cost, placement, platform, shapes, external)


def _external(found: Found) -> External:
    """Return where the model's external data lie. Raises: LoadFailed."""
    if found.settings.remote is not None:
        return NOTHING_EXTERNAL
    external = inspect(found.onnx).external
    refuse_outside(found.folder, found.onnx, external.locations)
    return external


@contextmanager
def _opened(
    found: Found, shapes: Mapping[str, Shape], external: External, digest: str
) -> "Iterator[Trialled]":
    """Open the model, or reach a server that runs it. Raises: LoadFailed."""
    if found.settings.remote is not None:
        with probed(found, shapes) as probe:
            yield probe
        return
    # Without external data the stamp at the end says that what was opened is what was hashed.
    session = open_session(found, shapes, external, digest if external.locations else None)
    _compare_declared(found, session.signature)
    yield session


def _tried(trial: "_Trial", golden: Golden | None) -> tuple[Cost, Placement]:
    """Run the model in all ways there are. Raises: LoadFailed, ValueError."""
    # Both are held against the model before it runs in the shapes that they tell.
    warmups = trial.warmups()
    asked = [] if golden is None else trial.asked(golden)
    cost = trial.cost()
    placement = trial.placement(cost)
    trial.warm(placement)
    for name, arrays, count in warmups:
        trial.run(name, arrays, count)
    if golden is not None:
        compare(golden, trial.session.signature, trial.run(golden.file.name, asked, 1))
    return cost, placement


def _trial_shapes(declared: ModelSettings, golden: Golden | None) -> Mapping[str, Shape]:
    """Return one row's shape of each input that a sample tells: the golden one's, if any."""
    if golden is not None:
        batch_axes = 1 if declared.batching.max_batch_size else 0
        return {name: one.shape[batch_axes:] for name, one in golden.inputs.items()}
    if declared.warmup:
        return {name: one.shape for name, one in declared.warmup[0].inputs.items()}
    return {}


def _compare_declared(found: Found, signature: Signature) -> None:
    """Refuse a model whose tensors are not those that its `config.pbtxt` declares."""
    where = found.folder.parent / "config.pbtxt"
    declared = found.settings.declared_inputs, found.settings.declared_outputs
    if faults := disagreements(declared, (signature.inputs, signature.outputs)):
        raise LoadFailed("\n".join(few([f"{where}: {fault}" for fault in faults])))


@dataclass(frozen=True, slots=True)
class _Trial:
    """One open model, and what is done with it to know it."""

    found: Found
    session: Trialled
    bounds: Bounds
    tell: Tell

    def asked(self, golden: Golden) -> list[Array]:
        """Return the golden sample's inputs. Raises: NotGolden."""
        signature = self.session.signature
        return arguments(golden, signature, self.session.fixed_rows or signature.max_batch_rows)

    def warmups(self) -> list[_Sample]:
        """Return the warm-up samples that the version declares. Raises: LoadFailed, OSError."""
        found, signature = self.found, self.session.signature
        beside = found.folder.parent
        try:
            return [
                (f"warm-up '{one.name}'", warmup_arrays(one, signature, beside), one.count)
                for one in found.settings.warmup
            ]
        except NotWarm as error:
            raise LoadFailed(f"{beside / 'config.pbtxt'}: {error}") from error

    def cost(self) -> Cost:
        """Measure growing batches. Raises: LoadFailed."""
        most = _most_rows(self.session, self.found.settings)
        try:
            return fit(samples(self.session, most, self.bounds.thread_batch_s, self.tell))
        except Exception as error:
            raise LoadFailed(f"{self.found.onnx}: a trial run failed: {error}") from error

    def placement(self, cost: Cost) -> Placement:
        declared = self.found.settings
        return _placed(cost, self.bounds, declared, _most_rows(self.session, declared))

    def warm(self, placement: Placement) -> None:
        """Run every size of batch that will come. Raises: LoadFailed."""
        for rows in sizes(placement.max_rows, self.found.settings.batching.pad_to):
            self.tell(f"warming {rows} rows")
            warm(self.session, self.found, rows)

    def run(self, name: str, arrays: list[Array], count: int) -> Sequence[Array]:
        """Run one sample `count` times; return its outputs. Raises: LoadFailed."""
        self.tell(f"running {name}")
        try:
            for _ in range(count - 1):
                self.session.infer(arrays)
            return self.session.infer(arrays)
        except Exception as error:
            raise LoadFailed(f"{self.found.onnx}: running {name} failed: {error}") from error


def _most_rows(session: Trialled, declared: ModelSettings) -> int:
    """Return the largest execution that the model and its settings allow."""
    most = declared.batching.max_batch_size or 1
    if declared.batching.max_execution_rows is not None:
        most = min(most, declared.batching.max_execution_rows)
    return min(most, session.fixed_rows or most)


def samples(
    session: Timed, max_rows: int, enough_s: float, tell: Tell = _nobody
) -> list[tuple[int, float]]:
    """Measure growing executions until one takes `enough_s`: beyond it the line is drawn on."""
    samples: list[tuple[int, float]] = []
    for rows in sizes(min(max_rows, _MOST_ROWS)):
        tell(f"measuring {rows} rows")
        samples.append((rows, _sample_s(session, rows)))
        if samples[-1][1] > enough_s:
            break
    return samples


def _sample_s(session: Timed, rows: int) -> float:
    """Return the lower quartile of an execution's times, after one that is not counted.

    What else the machine does only ever makes a run slower, and here it does much: the
    child is nice, and replicas serve meanwhile. So the upper half of the times is noise
    first; the median would move as soon as every second run is disturbed. The very
    fastest run is luck.
    """
    session.time_s(rows)
    times = [session.time_s(rows) for _ in range(_FEWEST_RUNS)]
    while len(times) < _RUNS and sum(times) < _SAMPLE_S:
        times.append(session.time_s(rows))
    return max(sorted(times)[len(times) // 4], _SHORTEST_S)


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
