"""Quick: the shortest way in for the commonest request.

One fixed-width float input, flat data, nothing but `inputs` and `id`. Whatever is not
exactly that is left to decode.py, which accepts it or says what is wrong with it; so
this file has no error of its own. Law (tests/laws): `read` gives None, or what
decode.py gives.

Theory of operation. A client repeats itself: between two of its requests only the
numbers differ. A body is a skeleton, the text before and after the list of numbers. A
skeleton that was read once, whole, is remembered with its row count; when it comes
again only the list is parsed. That is exact, not likely: where `[...]` parses as JSON
by itself, the body around it means what it meant the first time.

An element could still be true, false, null, a string or a list. struct refuses all but
true and false, which it would pack as 1 and 0: see `_has_literal`.
"""

import struct
from dataclasses import dataclass

import orjson

from gateway.types import Version
from gateway.wire.encode import BINARY_ONLY
from gateway.wire.tensors import Limits

_BEFORE_DATA = (b'"data":', b'"data": ')
_AFTER_DATA = b"]}]}"
_CODES = {"FP32": "f", "FP64": "d"}
_DEFAULTS = Limits()
_DEPTH = 4  # of the arrays and objects in such a body
_MOST_SKELETONS = 64
_LONGEST_SKELETON_BYTES = 512
_LONGEST_ID = 256

Read = tuple[bytes, int, str | None]  # payload, rows, id


@dataclass(frozen=True, slots=True)
class _Skeleton:
    rows: int
    pack: struct.Struct


class Quick:
    """Reads for one version. Mutable state: `_skeletons`, bounded."""

    __slots__ = ("_code", "_datatype", "_elements", "_max_rows", "_name", "_skeletons")

    def __init__(self, name: str, datatype: str, elements: int, max_rows: int) -> None:
        """Units: `elements` of one row."""
        self._name = name
        self._datatype = datatype
        self._code = _CODES[datatype]
        self._elements = elements
        self._max_rows = max_rows
        self._skeletons: dict[bytes, _Skeleton] = {}

    def read(self, body: bytes | bytearray) -> Read | None:
        """Return what the body holds, or None for decode.py to look at."""
        opens = body.rfind(b"[")
        skeleton = self._skeletons.get(bytes(body[: opens + 1]))
        if skeleton is None or not body.endswith(_AFTER_DATA) or _has_literal(body, opens):
            return self._read_whole(body, opens)
        try:
            data = orjson.loads(body[opens:-3])
            return skeleton.pack.pack(*data), skeleton.rows, None
        except (ValueError, TypeError, OverflowError, struct.error):
            return None

    def _read_whole(self, body: bytes | bytearray, opens: int) -> Read | None:
        try:
            request = orjson.loads(body)
            inputs, name = request["inputs"], request.get("id")
            (tensor,) = inputs
            rows, width = tensor["shape"]
            data = tensor["data"]
            if not (
                len(request) == 1 + ("id" in request)
                and len(tensor) == len(("name", "shape", "datatype", "data"))
                and self._fits(tensor, rows, width)
                and type(inputs) is list
                and (name is None or type(name) is str)
                and not ("id" in request and name is None)
                and len(name or "") <= _LONGEST_ID
                and {float, int}.issuperset(map(type, data))
            ):
                return None
            packer = struct.Struct(f"<{rows * width}{self._code}")
            payload = packer.pack(*data)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error):
            return None
        if name is None and body.endswith(_BEFORE_DATA, 0, opens) and body.endswith(_AFTER_DATA):
            self._remember(bytes(body[: opens + 1]), _Skeleton(rows, packer))
        return payload, rows, name or None

    def _fits(self, tensor: dict[str, object], rows: object, width: object) -> bool:
        return (
            tensor["name"] == self._name
            and tensor["datatype"] == self._datatype
            and type(tensor["data"]) is list
            and type(rows) is int
            and type(width) is int
            and width == self._elements
            and 0 < rows <= self._max_rows
        )

    def _remember(self, before: bytes, skeleton: _Skeleton) -> None:
        if len(before) > _LONGEST_SKELETON_BYTES:
            return
        if len(self._skeletons) >= _MOST_SKELETONS:
            self._skeletons.clear()
        self._skeletons[before] = skeleton


def _has_literal(body: bytes | bytearray, opens: int) -> bool:
    """Say whether true or false may stand after `opens`: both have an "e".

    So has 1e-5; such a body is read whole, each element's type looked at.
    """
    return body.rfind(b"e", opens) >= 0


def quick_of(version: Version, limits: Limits = _DEFAULTS) -> Quick | None:
    """Return a reader for `version`, or None if its tensors are not of the common kind."""
    signature = version.signature
    if len(signature.inputs) != 1 or not signature.max_batch_rows:
        return None
    spec = signature.inputs[0]
    if spec.datatype not in _CODES or len(spec.shape) != 2 or spec.shape[1] < 1:
        return None
    if limits.max_rank < 2 or limits.max_json_depth < _DEPTH:
        return None
    if any(output.datatype in BINARY_ONLY for output in signature.outputs):
        return None  # JSON cannot carry the answer: decoding says so
    rows = min(signature.max_batch_rows, limits.max_elements // spec.shape[1])
    return Quick(spec.name, spec.datatype, spec.shape[1], rows)
