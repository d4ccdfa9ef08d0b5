"""Schemas: what requests and answers of one version look like, as JSON Schema.

Job    turn a signature into the schema of a request, with an example, and of its answer.
Life   pure functions.
Never  asks for data flat or nested: both are read, and a schema would have to say it twice.
"""

import math
from collections.abc import Mapping
from typing import Any

from gateway.types import Signature, TensorSpec

Schema = dict[str, Any]

_MOST_EXAMPLE_ELEMENTS = 64
_INTEGERS = {f"{sign}INT{bits}": (sign, bits) for sign in ("", "U") for bits in (8, 16, 32, 64)}
_BINARY_ONLY = ("FP16", "BF16")
_TEXT: Schema = {"type": "string"}
_PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}


def schemas_of(models: Mapping[str, Signature]) -> dict[str, Schema]:
    """Return the components of models, by their names as components."""
    found: dict[str, Schema] = {}
    for name, signature in models.items():
        found[request_name(name)] = request_schema(signature)
        found[answer_name(name)] = answer_schema(name, signature)
    return found


def request_name(model: str) -> str:
    """Return how the schema of a model's requests is called."""
    return f"Request.{_component(model)}"


def answer_name(model: str) -> str:
    """Return how the schema of a model's answers is called."""
    return f"Answer.{_component(model)}"


def _component(model: str) -> str:
    """Return a name as components may be called, letters, digits and . -, and no other's."""
    return "".join(
        sign if sign.isascii() and (sign.isalnum() or sign in ".-") else f"_{ord(sign):x}_"
        for sign in model
    )


def list_of(items: Schema) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": items}


def open_object(members: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object that has these members, and perhaps others."""
    return {"type": "object", "properties": dict(members), "required": list(members)}


def object_of(members: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object that has these members and no other."""
    return open_object(members) | {"additionalProperties": False}


def request_schema(signature: Signature) -> Schema:
    """Return what a request for a version looks like, all of it as JSON, with an example."""
    batch = signature.max_batch_rows
    inputs = [_input(spec, batch) for spec in signature.inputs]
    found: Schema = {
        "type": "object",
        "properties": {
            "id": _TEXT,
            "parameters": _PARAMETERS,
            "inputs": {
                "type": "array",
                "items": {"anyOf": inputs} if inputs else {},
                "minItems": len(inputs),
                "maxItems": len(inputs),
            },
            "outputs": list_of(
                open_object({"name": {"enum": [one.name for one in signature.outputs]}})
            ),
        },
        "required": ["inputs"],
    }
    example = [_example(spec) for spec in signature.inputs]
    if all(one is not None for one in example):
        found["examples"] = [{"inputs": example}]
    return found


def answer_schema(model: str, signature: Signature) -> Schema:
    """Return what its answer looks like, as JSON."""
    return open_object(
        {
            "model_name": {"const": model},
            "model_version": _TEXT,
            "outputs": list_of(
                open_object(
                    {
                        "name": {"enum": [one.name for one in signature.outputs]},
                        "datatype": _TEXT,
                        "shape": list_of({"type": "integer", "minimum": 0}),
                    }
                )
            ),
        }
    )


def _input(spec: TensorSpec, max_rows: int) -> Schema:
    axes = [
        {"const": size} if size >= 0 else {"type": "integer", "minimum": int(max_rows > 0 == at)}
        for at, size in enumerate(spec.shape)
    ]
    if max_rows:
        axes[0] = {"type": "integer", "minimum": 1, "maximum": max_rows}
    shape: Schema = {"type": "array", "minItems": len(axes), "maxItems": len(axes)}
    members = {
        "name": {"const": spec.name},
        "datatype": {"const": spec.datatype},
        "shape": shape | ({"prefixItems": axes} if axes else {}),
    }
    if spec.datatype in _BINARY_ONLY:
        return open_object(
            members | {"parameters": open_object({"binary_data_size": {"type": "integer"}})}
        )
    return open_object(members | {"data": list_of(_element(spec.datatype))})


def _element(datatype: str) -> Schema:
    if datatype in _INTEGERS:
        sign, bits = _INTEGERS[datatype]
        low, high = (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return {"type": ["integer", "array"], "minimum": low, "maximum": high}
    kinds = {"BOOL": "boolean", "BYTES": "string"}
    return {"type": [kinds.get(datatype, "number"), "array"]}


def _example(spec: TensorSpec) -> Schema | None:
    """Return the smallest input that fits; None where it is large, or cannot be JSON."""
    shape = [size if size >= 0 else 1 for size in spec.shape]
    if spec.datatype in _BINARY_ONLY or math.prod(shape) > _MOST_EXAMPLE_ELEMENTS:
        return None
    zero: object = {"BOOL": False, "BYTES": ""}.get(spec.datatype, 0)
    data = [zero] * math.prod(shape)
    return {"name": spec.name, "datatype": spec.datatype, "shape": shape, "data": data}
