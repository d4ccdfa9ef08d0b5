"""Warmup: the requests that a version asks to be run before its first caller's.

Job    turn declared warm-up samples into arrays.
Life   once a version, in the child that proves it.
Never  reads a file outside the folder `warmup` beside the version's folder.
"""

import math
from pathlib import Path

import numpy as np

from gateway.core.datatypes import DATATYPES
from gateway.repository.places import inside
from gateway.repository.reading import read
from gateway.repository.reasons import brief
from gateway.repository.settings import WarmupInput, WarmupSample
from gateway.types import Array, Shape, Signature, TensorSpec

_MOST_BYTES = 64 << 20
_SEED = 0  # the same sample each time: a fault is found again


class NotWarm(ValueError):
    """A declared warm-up sample cannot be made; the message names it and says why."""


def warmup_arrays(sample: WarmupSample, signature: Signature, beside: Path) -> list[Array]:
    """Return the sample's arrays in the order of `signature`.

    `beside` is the folder of the model, in which `warmup` lies.

    Raises: NotWarm, OSError.
    """
    for name in sample.inputs.keys() - {spec.name for spec in signature.inputs}:
        what = f"the model has no input '{brief(name)}'"
        raise NotWarm(f"warm-up '{brief(sample.name)}': {what}")
    return [_array(sample, spec, signature.max_batch_rows > 0, beside) for spec in signature.inputs]


def _array(sample: WarmupSample, spec: TensorSpec, batches: bool, beside: Path) -> Array:
    where = f"warm-up '{brief(sample.name)}': input '{spec.name}'"
    one = sample.inputs.get(spec.name)
    if one is None:
        raise NotWarm(f"{where}: expected {spec.datatype}, got no such input")
    expected = spec.shape[1:] if batches else spec.shape
    fits = len(expected) == len(one.shape) and all(
        axis in (-1, size) for axis, size in zip(expected, one.shape, strict=True)
    )
    if not fits or one.datatype != spec.datatype:
        raise NotWarm(
            f"{where}: expected {spec.datatype} {list(expected)}, "
            f"got {one.datatype} {list(one.shape)}"
        )
    row = _row(where, one, beside)
    return np.repeat(row[np.newaxis], max(sample.rows, 1), axis=0) if batches else row


def _row(where: str, one: WarmupInput, beside: Path) -> Array:
    kind = DATATYPES[one.datatype]
    if one.fill == "file":
        return _from_file(where, one, beside)
    if not kind.size_bytes:
        return np.full(one.shape, "", dtype=object)
    if one.fill == "zero" or one.datatype == "BF16":  # random bits might be NaN
        return np.zeros(one.shape, dtype=kind.numpy)
    dice = np.random.default_rng(_SEED)
    if kind.numpy.kind == "f":
        return dice.random(one.shape).astype(kind.numpy)
    # Few enough to be an index into most tables, as random bits would not be.
    return dice.integers(0, 2, one.shape).astype(kind.numpy)


def _from_file(where: str, one: WarmupInput, beside: Path) -> Array:
    file = inside(beside, f"warmup/{one.file}")
    if file is None or not file.is_file():
        got = brief(ascii(one.file))
        raise NotWarm(f"{where}: expected a file in {beside / 'warmup'}, got {got}")
    content = read(file, _MOST_BYTES)
    if content is None:
        raise NotWarm(f"{where}: {file}: is larger than {_MOST_BYTES} bytes")
    kind = DATATYPES[one.datatype]
    if not kind.size_bytes:
        return _strings(where, content, one.shape)
    size = math.prod(one.shape) * kind.size_bytes
    if len(content) != size:
        raise NotWarm(f"{where}: {file}: expected {size} bytes, got {len(content)}")
    return np.frombuffer(content, dtype=kind.numpy).reshape(one.shape)


def _strings(where: str, content: bytes, shape: Shape) -> Array:
    """Read strings, each after its length in four bytes, as V2's binary tensors have them."""
    found: list[str] = []
    at = 0
    while at + 4 <= len(content):
        size = int.from_bytes(content[at : at + 4], "little")
        at += 4 + size
        found.append(content[at - size : at].decode(errors="replace"))
    if at != len(content) or len(found) != math.prod(shape):
        expected = f"{math.prod(shape)} strings after their lengths"
        raise NotWarm(f"{where}: expected {expected}, got {len(content)} bytes")
    return np.array(found, dtype=object).reshape(shape)
