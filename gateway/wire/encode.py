"""Encode: from a call's rows to the body of its answer.

Theory of operation. The JSON of an output is made once per batch: one `orjson.dumps`
over the whole array, cut into rows at `],[`. A call's answer then joins ready bytes;
no numpy slice and no serialiser runs per call. (For 64 calls of one row this halves
the cost of answering.) A call that was alone in its batch needs no cut.

orjson writes `null` for NaN and the infinities. As no number contains an "n", one look
for that letter tells whether the text needs mending; the tokens are then put back in
order. Source: protocol.md T4; JSON has no such token, but every V2 client reads it.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from gateway.errors import InvalidTensor
from gateway.types import Array, Call, Outputs, Version
from gateway.wire.classes import classified
from gateway.wire.decode import Wanted

_MOST_HEADS = 256
_NUMPY = orjson.OPT_SERIALIZE_NUMPY
BINARY_ONLY = frozenset({"FP16", "BF16"})


@dataclass(slots=True)
class _Texts:
    """One execution's outputs as JSON.

    `cells[i]` are the rows of output i, or one text for all of them where a single call
    owns them; `shapes[i]` is what follows its row count, up to the data. `bodies` are
    whole answers, one a row, where every call has one row; they begin with `_head`.
    """

    shapes: list[bytes]
    cells: list[list[bytes]]
    bodies: list[bytes] | None = None


class Encoder:
    """Writes the answers of one version; the parts that never change are made once."""

    def __init__(self, version: Version) -> None:
        self._batches = version.signature.max_batch_rows > 0
        self._outputs = version.signature.outputs
        self._labels = version.labels
        names = {"model_name": version.model, "model_version": version.version}
        self._head = orjson.dumps(names)[:-1]
        self._openings = [_opening_of(spec.name, spec.datatype) for spec in self._outputs]
        self._heads: dict[tuple[object, ...], bytes] = {}  # of answers that are all binary
        self.everything = tuple(
            Wanted(at, binary=False) for at in range(len(version.signature.outputs))
        )

    def json(self, call: Call, request_id: str | None) -> bytes:
        """Return the answer with every output as JSON: the common case, kept short."""
        outputs = call.outputs
        assert outputs is not None
        texts: _Texts | None = outputs.texts
        if texts is None:
            texts = outputs.texts = self._texts(outputs)
        if texts.bodies is not None:
            body = texts.bodies[call.start]
        else:
            body = self._body(texts, call.start, call.stop)
        if request_id is None:
            return body
        return b'%b,"id":%b%b' % (self._head, orjson.dumps(request_id), body[len(self._head) :])

    def _texts(self, outputs: Outputs) -> _Texts:
        is_alone = outputs.calls == 1
        shapes, cells = [], []
        for array in outputs.arrays:
            shapes.append(_shape(array, self._batches))
            cells.append([_flat_text(array)] if is_alone else _row_texts(array))
        texts = _Texts(shapes, cells)
        if not is_alone and outputs.calls == len(outputs.arrays[0]):
            template = self._template(shapes)
            texts.bodies = [template % row for row in zip(*cells, strict=True)]
        return texts

    def _template(self, shapes: list[bytes]) -> bytes:
        """Return the answer to one row, with %b where its data goes."""
        outputs = [
            opening.replace(b"%", b"%%") + b"1" + shape + b"%b]}"
            for opening, shape in zip(self._openings, shapes, strict=True)
        ]
        return self._head.replace(b"%", b"%%") + b',"outputs":[' + b",".join(outputs) + b"]}"

    def _body(self, texts: _Texts, start: int, stop: int) -> bytes:
        rows = b"%d" % (stop - start) if self._batches else b""
        pieces = [self._head]
        between = b',"outputs":['
        for opening, shape, cells in zip(self._openings, texts.shapes, texts.cells, strict=True):
            rows_of_call = cells if len(cells) == 1 else cells[start:stop]
            data = b",".join(filter(None, rows_of_call))  # a row without elements has no text
            pieces += (between, opening, rows, shape, data, b"]}")
            between = b","
        pieces.append(b"]}")
        return b"".join(pieces)

    def mixed(
        self, call: Call, request_id: str | None, wanted: tuple[Wanted, ...]
    ) -> tuple[bytes, int | None]:
        """Return (body, length of its JSON part, or None where all of it is JSON)."""
        assert call.outputs is not None
        arrays = [call.outputs.arrays[one.place] for one in wanted]
        if self._batches:
            arrays = [array[call.start : call.stop] for array in arrays]
        if any(one.classes for one in wanted):
            arrays = [self._classified(*pair) for pair in zip(arrays, wanted, strict=True)]
        blobs = [_blob(array) for array, one in zip(arrays, wanted, strict=True) if one.binary]
        key = wanted, tuple([array.shape for array in arrays]), tuple([len(blob) for blob in blobs])
        if request_id is not None or len(blobs) < len(wanted):
            head = self._head_of(arrays, request_id, wanted, blobs)
        elif (known := self._heads.get(key)) is not None:
            head = known
        else:
            head = self._head_of(arrays, None, wanted, blobs)
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            self._heads[key] = head
        body = b"".join((head, *blobs))
        return body, len(head) if len(body) > len(head) else None

    def _head_of(
        self,
        arrays: Sequence[Array],
        request_id: str | None,
        wanted: Sequence[Wanted],
        blobs: Sequence[bytes],
    ) -> bytes:
        """Return the JSON part of an answer whose outputs differ in form."""
        pieces = [self._head]
        if request_id is not None:
            pieces += (b',"id":', orjson.dumps(request_id))
        sizes = iter([len(blob) for blob in blobs])
        between = b',"outputs":['
        for array, one in zip(arrays, wanted, strict=True):
            pieces += (between, self._opening(one, array))
            if one.binary:
                pieces.append(b'],"parameters":{"binary_data_size":%d}}' % next(sizes))
            else:
                pieces += (b'],"data":[', _flat_text(array), b"]}")
            between = b","
        pieces.append(b"]}" if wanted else b',"outputs":[]}')
        return b"".join(pieces)

    def _opening(self, one: Wanted, array: Array) -> bytes:
        opening = self._openings[one.place]
        if one.classes:
            opening = _opening_of(self._outputs[one.place].name, "BYTES")
        return opening + b",".join(b"%d" % axis for axis in array.shape)

    def _classified(self, array: Array, one: Wanted) -> Array:
        if not one.classes:
            return array
        name = self._outputs[one.place].name
        return classified(array, one.classes, self._labels.get(name, ()), self._batches, name)


def _opening_of(name: str, datatype: str) -> bytes:
    return orjson.dumps({"name": name, "datatype": datatype})[:-1] + b',"shape":['


def _shape(array: Array, batches: bool) -> bytes:
    """Return what follows the row count, up to the data; without a batch axis, the whole shape."""
    if batches:
        return b"".join(b",%d" % axis for axis in array.shape[1:]) + b'],"data":['
    return b",".join(b"%d" % axis for axis in array.shape) + b'],"data":['


def _row_texts(array: Array) -> list[bytes]:
    if array.dtype == object:  # a string may hold what separates rows
        return [_flat_text(row) for row in array.reshape(len(array), -1)]
    if array.ndim == 1:
        return _text(array)[1:-1].split(b",")
    row_elements = math.prod(array.shape[1:])
    return _text(array.reshape(len(array), row_elements))[2:-2].split(b"],[")


def _flat_text(array: Array) -> bytes:
    return _text(array.reshape(-1))[1:-1]


def text_of(array: Array) -> bytes:
    """Return the JSON of an array, nested as its shape says."""
    return _text(array) if array.ndim else _flat_text(array)


def _text(array: Array) -> bytes:
    """Return the JSON of an array of at least one axis."""
    if array.dtype == object:
        return orjson.dumps(array.tolist())
    text = orjson.dumps(np.ascontiguousarray(array), option=_NUMPY)
    if array.dtype.kind == "f" and b"n" in text:
        tokens = _tokens(array)
        text = re.sub(b"null", lambda _match: next(tokens), text)
    return text


def _tokens(array: Array) -> Iterator[bytes]:
    for value in array[~np.isfinite(array)]:
        yield b"NaN" if np.isnan(value) else b"Infinity" if value > 0 else b"-Infinity"


def _blob(array: Array) -> bytes:
    """Return the tensor's binary form: little-endian, row-major; strings with lengths."""
    if array.dtype != object:
        return np.ascontiguousarray(array).tobytes()
    strings = [text.encode() for text in array.reshape(-1)]
    return b"".join(len(text).to_bytes(4, "little") + text for text in strings)


def refuse_unwritable(version: Version, wanted: Sequence[Wanted]) -> None:
    """Refuse, before anything runs, an output that JSON cannot carry. Raises: InvalidTensor."""
    for one in wanted:
        spec = version.signature.outputs[one.place]
        if not one.binary and spec.datatype in BINARY_ONLY:
            raise InvalidTensor(
                f"sending {spec.datatype} data via JSON is not supported ($.outputs: expected "
                f"'{spec.name}' with \"binary_data\": true, got it as JSON)"
            )
