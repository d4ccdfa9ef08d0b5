"""Answers: how the other dialects say what came out.

Job    nest outputs as rows or as columns; give a binary answer its content type.
Life   frozen; one answer each, chosen when the request is read.
Never  writes `null` for what is no number: NaN and the infinities are tokens, as in V2.

Source: protocol K2, K3, K5 for V1; N2, N3 for SageMaker; N4 for MLflow.
"""

import base64
from dataclasses import dataclass

import numpy as np
import orjson

from gateway.errors import InvalidTensor
from gateway.types import Array, Call
from gateway.wire.decode import Wanted
from gateway.wire.dialects.media import SAGEMAKER
from gateway.wire.encode import text_of
from gateway.wire.exchange import Codec
from gateway.wire.forms import Form, form


@dataclass(frozen=True, slots=True)
class Rows:
    """A row is an element of `predictions`: an output's value, or an object of all outputs."""

    def write(self, codec: Codec, call: Call, request_id: str | None) -> tuple[bytes, Form]:
        """Return body and form. Raises: InvalidTensor, where outputs have no rows in common."""
        arrays = _arrays(codec, call)
        if len(arrays) == 1:
            ((_, array),) = arrays.items()
            rows = text_of(array) if array.ndim else b"[" + text_of(array) + b"]"
        else:
            rows = _objects(arrays, codec.arm.version.model)
        return b'{"predictions":' + rows + b"}", codec.json_form


@dataclass(frozen=True, slots=True)
class Columns:
    """An output is a whole array under `key`; several are an object of them."""

    key: str

    def write(self, codec: Codec, call: Call, request_id: str | None) -> tuple[bytes, Form]:
        """Return body and form."""
        texts = {name: text_of(array) for name, array in _arrays(codec, call).items()}
        whole = next(iter(texts.values())) if len(texts) == 1 else _object(texts)
        return b"{%b:%b}" % (orjson.dumps(self.key), whole), codec.json_form


@dataclass(frozen=True, slots=True)
class SageMaker:
    """A V2 answer whose content type says where its JSON part ends."""

    wanted: tuple[Wanted, ...]

    def write(self, codec: Codec, call: Call, request_id: str | None) -> tuple[bytes, Form]:
        """Return body and form. Raises: InvalidTensor."""
        body, json_length = codec.encoder.mixed(call, request_id, self.wanted)
        if json_length is None:
            return body, codec.json_form
        media = b"%b;json-header-size=%d" % (SAGEMAKER, json_length)
        return body, form(200, ((b"content-type", media), *codec.named))


def _arrays(codec: Codec, call: Call) -> dict[str, Array]:
    """Return a call's rows of every output, by name."""
    assert call.outputs is not None
    signature = codec.arm.version.signature
    found: dict[str, Array] = {}
    for spec, whole in zip(signature.outputs, call.outputs.arrays, strict=True):
        array = whole[call.start : call.stop] if signature.max_batch_rows else whole
        is_bytes = spec.datatype == "BYTES" and spec.name.endswith("_bytes")
        found[spec.name] = _packed(array) if is_bytes else array
    return found


def _packed(array: Array) -> Array:
    """Return strings as TensorFlow Serving writes those that may be anything."""
    packed = [{"b64": base64.b64encode(text.encode()).decode()} for text in array.reshape(-1)]
    made = np.empty(len(packed), dtype=object)
    made[:] = packed
    return made.reshape(array.shape)


def _objects(arrays: dict[str, Array], model: str) -> bytes:
    lengths = {array.shape[:1] for array in arrays.values()}
    if len(lengths) > 1 or () in lengths:
        raise InvalidTensor(
            f"request body ($): expected inputs, by columns, because the outputs of model "
            f"'{model}' have no rows in common, got instances"
        )
    ((count,),) = lengths
    # a slice and not an index: of strings an index is no array
    rows = [
        _object(
            {
                name: text_of(array[at : at + 1].reshape(array.shape[1:]))
                for name, array in arrays.items()
            }
        )
        for at in range(count)
    ]
    return b"[" + b",".join(rows) + b"]"


def _object(texts: dict[str, bytes]) -> bytes:
    members = [orjson.dumps(name) + b":" + text for name, text in texts.items()]
    return b"{" + b",".join(members) + b"}"
