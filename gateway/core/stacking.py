"""Stacking: many calls' tensors become one execution's arrays, and back.

Job    `stack` joins rows, `pad` fills a batch up to a size the model likes, `split`
       cuts a call that is larger than one execution into parts and rejoins their rows;
       `zeros` is what a model is tried with.
Never  changes a value: what a split, stacked and rejoined call gets is what it would
       have got alone (a law in tests/laws).
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

import numpy as np

from gateway.core.datatypes import DATATYPES
from gateway.errors import ClientGone, ModelFailed
from gateway.types import Array, Call, Outputs, Payload, Shape, Signature, TensorSpec


def stack(calls: Sequence[Call], signature: Signature) -> list[Array]:
    """Join the calls' tensors along the batch axis, in the order of the signature.

    Shapes: all calls have equal `shapes`. Without a batch axis there is one call, and
    its arrays have no axis added.
    """
    shapes = calls[0].shapes
    rows: Shape = (sum(call.rows for call in calls),) if signature.max_batch_rows else ()
    return [
        _join([call.payloads[at] for call in calls], spec, rows + shapes[at])
        for at, spec in enumerate(signature.inputs)
    ]


def _join(payloads: list[Payload], spec: TensorSpec, shape: Shape) -> Array:
    kind = DATATYPES[spec.datatype]
    if not kind.size_bytes:
        return np.array(list(chain.from_iterable(payloads)), dtype=object).reshape(shape)
    joined = payloads[0] if len(payloads) == 1 else b"".join(payloads)  # type: ignore[arg-type]  # bytes-like: the datatype says so
    array = np.frombuffer(joined, dtype=kind.numpy).reshape(shape)  # type: ignore[arg-type]  # as above
    # a binary tensor begins wherever the JSON before it ends; kernels may count on alignment
    return array if array.flags.aligned else array.copy()


def bucket(rows: int, pad_to: Sequence[int]) -> int:
    """Return the smallest bucket that holds `rows`, or `rows` where none does."""
    return min((size for size in pad_to if size >= rows), default=rows)


def pad(arrays: Sequence[Array], rows: int) -> list[Array]:
    """Repeat the last row until there are `rows`: a row the model has seen is harmless."""
    missing = rows - len(arrays[0])
    if missing <= 0:
        return list(arrays)
    return [np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) for array in arrays]


def zeros(spec: TensorSpec, rows: int, batches: bool, row: Shape | None) -> Array:
    """Return an input of so many rows of zeros, or of empty strings.

    Shapes: `row` is the shape of one row, where it is known; else each open axis is 1.
    """
    shape: Shape = tuple(max(axis, 1) if axis >= 0 else 1 for axis in spec.shape)
    if batches:
        shape = (rows, *(shape[1:] if row is None else row))
    elif row is not None:
        shape = row
    elif spec.shape and spec.shape[0] == -1:
        shape = (rows, *shape[1:])
    kind = DATATYPES[spec.datatype]
    if not kind.size_bytes:
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, dtype=kind.numpy)


def split(call: Call, max_rows: int, before_answer: Callable[[Call, Outputs], None]) -> list[Call]:
    """Cut `call` into parts of at most `max_rows`; when all are answered, so is `call`.

    `before_answer` hears the call and the outputs of its last part, if it is not failed.
    The first part that fails fails the call. When the call is done, for whatever
    reason, its parts are done too, so none of them costs anything any more.
    """
    rejoin = _Rejoin(call, before_answer)
    starts = range(0, call.rows, max_rows)
    rejoin.parts = [
        _part(call, start, min(start + max_rows, call.rows), partial(rejoin.hear, at))
        for at, start in enumerate(starts)
    ]
    rejoin.pieces = [[] for _ in rejoin.parts]
    rejoin.missing = len(rejoin.parts)
    return rejoin.parts


def _part(call: Call, start: int, stop: int, on_done: "partial[None]") -> Call:
    payloads = tuple(_slice(payload, call.rows, start, stop) for payload in call.payloads)
    part = Call(call.arm, payloads, stop - start, call.shapes, on_done)
    part.deadline, part.priority, part.arrived = call.deadline, call.priority, call.arrived
    part.size_bytes = call.size_bytes * (stop - start) // call.rows
    part.is_part = True
    return part


def _slice(payload: Payload, rows: int, start: int, stop: int) -> Payload:
    step = len(payload) // rows
    if isinstance(payload, list):
        return payload[start * step : stop * step]
    return memoryview(payload)[start * step : stop * step]


class _Rejoin:
    """Collects the parts' outputs, and hears of the whole call's end before its owner."""

    def __init__(self, call: Call, before_answer: Callable[[Call, Outputs], None]) -> None:
        self.parts: list[Call] = []
        self.pieces: list[list[Array]] = []
        self.missing = 0
        self._call = call
        self._before_answer = before_answer
        self._tell_owner = call.on_done
        call.on_done = self._end

    def hear(self, at: int, part: Call) -> None:
        if part.outputs is None:
            self._call.fail(part.error or ModelFailed("a part ended without outputs or error"))
            return
        self.pieces[at] = [array[part.start : part.stop] for array in part.outputs.arrays]
        self.missing -= 1
        if self.missing:
            return
        try:
            arrays = [np.concatenate(column) for column in zip(*self.pieces, strict=True)]
        except ValueError as error:  # a dynamic axis that came out of another length
            self._call.fail(ModelFailed(f"the parts of a split request do not rejoin: {error}"))
        else:
            self._before_answer(self._call, part.outputs)
            self._call.answer(Outputs(arrays, 1), 0, self._call.rows)

    def _end(self, call: Call) -> None:
        for part in self.parts:  # whoever runs one hears that nobody waits for it
            part.fail(call.error or ClientGone("the call that it was a part of is done"))
        self.parts = []
        call.on_done = self._tell_owner  # or call and rejoin would hold each other
        self._tell_owner(call)
