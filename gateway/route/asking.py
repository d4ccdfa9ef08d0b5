"""Asking: one execution of a shadow, and what it shows against what the callers got.

Job    join what was asked, run it, compare all rows at once, count by call.
Life   of the mirror's thread, which alone uses it.
Never  changes a call: payloads and outputs are only read.

While this holds the interpreter, or the loop's processor, the loop waits. So the payloads
become one call, rows that were answered together are read together, and there is one comparison
an output. To rest between these steps was tried: each rest ends with a wait for the interpreter,
and where the loop is busy a third of the calls found no room any more.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from gateway.core.comparing import Flags, Verdict, Worst, compare, default_comparison, readable
from gateway.core.documents import Shadow
from gateway.core.stacking import split, stack
from gateway.errors import ModelFailed
from gateway.types import Arm, Array, Call, Outputs, Payload, Signature, Version

Execute = Callable[[Sequence[Call]], Outputs]

_Piece = tuple[Outputs, int, int]  # rows of one execution, that lie side by side

_SHOWN = 16  # elements of a row
_SHOWN_CHARACTERS = 200  # of a string
_SPACING_S = 0.25  # between two disagreements that are shown


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One row of which a shadow said something else than the caller was told.

    Shapes: rows are flat, and cut after 16 elements. Units: `at` is in seconds of the mirror's
    clock.
    """

    output: str
    distance: float
    asked: Mapping[str, list[object]]  # by input
    primary: list[object]
    shadow: list[object]
    at: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What one execution showed: calls, and rows that disagree by place of the output.

    `executions` are the model's runs: calls without their payloads, and what came out.
    """

    agreed: int
    disagreed: int
    rows: Sequence[int]
    worst: Sequence[Disagreement]
    executions: Sequence[tuple[Call, Outputs]] = field(default=(), compare=False)

    def ran_s(self) -> float:
        """Return the seconds in which the model itself ran, which held up nobody else."""
        return sum(outputs.infer_ns for _, outputs in self.executions) / 1e9


@dataclass(frozen=True, slots=True)
class Fit:
    """Where in a primary's calls the shadow finds its inputs, and its outputs' counterparts."""

    inputs: tuple[int, ...]
    outputs: tuple[int | None, ...]  # None: the primary gives no such output


class Unfit(ModelFailed):
    """A shadow cannot be asked what the caller asked, or does not say what the caller got."""


def fit(primary: Signature, shadow: Signature) -> Fit:
    """Say how a shadow is asked what a primary was asked.

    Both batch or neither does; the inputs are the same, in any order, and no output that the
    caller got is missing. Raises: Unfit.
    """
    if bool(primary.max_batch_rows) != bool(shadow.max_batch_rows):
        raise Unfit("only one of the two has a batch axis")
    asked = {(spec.name, spec.datatype): at for at, spec in enumerate(primary.inputs)}
    wanted = [(spec.name, spec.datatype) for spec in shadow.inputs]
    if asked.keys() != set(wanted):
        raise Unfit(f"expected the inputs {list(asked)}, got {wanted}")
    got = {spec.name: at for at, spec in enumerate(primary.outputs)}
    said = [spec.name for spec in shadow.outputs]
    if not got.keys() <= set(said):
        raise Unfit(f"expected the outputs {list(got)}, got {said}")
    return Fit(tuple(asked[one] for one in wanted), tuple(got.get(name) for name in said))


class Asking:
    """Asks one shadow, and shows the worst of what it said.

    Mutable state: `_fits` by primary; `_worst` and `_rests_until` by output.
    """

    def __init__(
        self,
        shadow: Shadow,
        version: Version,
        execute: Execute,
        clock: Callable[[], float],
    ) -> None:
        self._version = version
        self._execute = execute
        self._clock = clock
        outputs = version.signature.outputs
        self._comparisons = [
            shadow.compare.get(spec.name) or default_comparison(spec) for spec in outputs
        ]
        self._batches = version.signature.max_batch_rows > 0
        self._fits: dict[Version, Fit] = {}
        self._worst: list[Worst[None]] = [Worst() for _ in outputs]
        self._rests_until = [-math.inf] * len(outputs)

    def ask(self, calls: Sequence[Call], max_rows: int) -> Findings:
        """Have the shadow answer what answered calls of one version and equal shapes asked.

        At most `max_rows` rows go into one execution.

        Raises: Unfit; whatever the shadow raises.
        """
        primary = calls[0].arm.version
        fitting = self._fits.get(primary)
        if fitting is None:
            fitting = self._fits[primary] = fit(primary.signature, self._version.signature)
        whole = _joined(calls, self._version, fitting)
        said, executions = self._said(whole, max_rows)
        pieces = _pieces(calls)
        odd: Flags = np.zeros(whole.rows, dtype=bool)
        counts = [0] * len(said)
        worst: list[Disagreement] = []
        for at, place in enumerate(fitting.outputs):
            if place is None:
                continue
            datatype = primary.signature.outputs[place].datatype
            got = readable(self._got(pieces, place, said[at]), datatype)
            verdict = compare(self._comparisons[at], got, said[at])
            counts[at] = int(np.count_nonzero(verdict.disagrees))
            if counts[at]:
                odd |= verdict.disagrees
                worst += self._shown(at, verdict, whole, got, said[at])
        disagreed = _touched(calls, odd) if any(counts) else 0
        return Findings(len(calls) - disagreed, disagreed, counts, worst, executions)

    def _said(self, whole: Call, max_rows: int) -> tuple[list[Array], list[tuple[Call, Outputs]]]:
        """Return the outputs, and the executions they came from.

        Shapes: with a batch axis, of one row where the model has none.
        """
        if whole.rows <= max_rows:
            outputs = self._execute([whole])
            arrays, executions = outputs.arrays, [(_rows(whole), outputs)]
        else:
            executions = []
            for part in split(whole, max_rows, _untold):
                outputs = self._execute([part])
                executions.append((_rows(part), outputs))
                part.answer(outputs, 0, part.rows)
            if whole.outputs is None:
                raise whole.error or ModelFailed("the parts of a shadow's answer are missing")
            arrays = whole.outputs.arrays
        specs = self._version.signature.outputs
        said = [
            readable(array if self._batches else array[np.newaxis], spec.datatype)
            for spec, array in zip(specs, arrays, strict=True)
        ]
        return said, executions

    def _got(self, pieces: Sequence[_Piece], place: int, said: Array) -> Array:
        """Return what the callers were told; it is like nothing if its rows are not alike."""
        if not self._batches:
            return pieces[0][0].arrays[place][np.newaxis]
        rows = [outputs.arrays[place][start:stop] for outputs, start, stop in pieces]
        if len({array.shape[1:] for array in rows}) > 1:  # its shape depends on who is asked with
            return np.zeros((*said.shape, 0))
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def _shown(
        self, at: int, verdict: Verdict, whole: Call, got: Array, said: Array
    ) -> list[Disagreement]:
        """Show the worst row, if it is among the worst ever seen, and not so soon again."""
        row = int(verdict.distances.argmax())
        distance, now = float(verdict.distances[row]), self._clock()
        if now < self._rests_until[at] or not self._worst[at].add(distance, None):
            return []
        self._rests_until[at] = now + _SPACING_S * len(self._worst)
        signature = self._version.signature
        asked = {
            spec.name: _short(
                readable(array if self._batches else array[np.newaxis], spec.datatype), row
            )
            for spec, array in zip(signature.inputs, stack([whole], signature), strict=True)
        }
        name = signature.outputs[at].name
        return [Disagreement(name, distance, asked, _short(got, row), _short(said, row), now)]


def _joined(calls: Sequence[Call], version: Version, fitting: Fit) -> Call:
    payloads = [_join([call.payloads[at] for call in calls]) for at in fitting.inputs]
    shapes = tuple([calls[0].shapes[at] for at in fitting.inputs])
    rows = sum([call.rows for call in calls])
    return Call(Arm(version), tuple(payloads), rows, shapes, _deaf)


def _rows(call: Call) -> Call:
    """Return what is left of a call for who counts rows, and no request."""
    return Call(call.arm, (), call.rows, (), _deaf, is_part=True)


def _join(payloads: list[Payload]) -> Payload:
    if len(payloads) == 1:
        return payloads[0]
    if isinstance(payloads[0], list):
        return list(chain.from_iterable(payloads))  # type: ignore[arg-type]  # all are strings
    return b"".join(payloads)  # type: ignore[arg-type]  # all are bytes-like


def _deaf(_call: Call) -> None:
    """Hear nothing: nobody waits for what a shadow says."""


def _untold(_call: Call, _outputs: Outputs) -> None:
    """Tell nobody."""


def _pieces(calls: Sequence[Call]) -> list[_Piece]:
    """Return where the calls' answers are; what lies side by side is one piece."""
    pieces: list[_Piece] = []
    last, start, stop = _outputs(calls[0]), calls[0].start, calls[0].start
    for call in calls:
        if call.outputs is not last or call.start != stop:
            pieces.append((last, start, stop))
            last, start = _outputs(call), call.start
        stop = call.stop
    pieces.append((last, start, stop))
    return pieces


def _outputs(call: Call) -> Outputs:
    assert call.outputs is not None, "only answered calls are asked again"
    return call.outputs


def _touched(calls: Sequence[Call], odd: Flags) -> int:
    """Count the calls that have a row among the odd ones."""
    rows = np.array([call.rows for call in calls])
    before = np.concatenate([[0], np.cumsum(odd)])
    stops = np.cumsum(rows)
    return int(np.count_nonzero(before[stops] > before[stops - rows]))


def _short(rows: Array, at: int) -> list[object]:
    elements: list[object] = rows[at : at + 1].reshape(-1)[:_SHOWN].tolist()
    return [one[:_SHOWN_CHARACTERS] if isinstance(one, str) else one for one in elements]
