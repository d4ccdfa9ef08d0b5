"""The protocol's data types: their size, their numpy type, their ONNX name.

Source: Open Inference Protocol V2; reference table in the README.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Datatype:
    """One row of the table.

    Units: `size_bytes` of one element on the wire; 0 where it varies.
    """

    name: str
    size_bytes: int
    numpy: np.dtype[np.generic]
    onnx: str  # ONNX Runtime's name of the tensor type


def _row(name: str, size_bytes: int, numpy: str, onnx: str) -> tuple[str, Datatype]:
    return name, Datatype(name, size_bytes, np.dtype(numpy), f"tensor({onnx})")


DATATYPES: dict[str, Datatype] = dict(
    [
        _row("BOOL", 1, "?", "bool"),
        _row("INT8", 1, "<i1", "int8"),
        _row("INT16", 2, "<i2", "int16"),
        _row("INT32", 4, "<i4", "int32"),
        _row("INT64", 8, "<i8", "int64"),
        _row("UINT8", 1, "<u1", "uint8"),
        _row("UINT16", 2, "<u2", "uint16"),
        _row("UINT32", 4, "<u4", "uint32"),
        _row("UINT64", 8, "<u8", "uint64"),
        _row("FP16", 2, "<f2", "float16"),
        _row("BF16", 2, "<u2", "bfloat16"),  # numpy has no bfloat16: its bits travel
        _row("FP32", 4, "<f4", "float"),
        _row("FP64", 8, "<f8", "double"),
        _row("BYTES", 0, "O", "string"),
    ]
)

BY_ONNX: dict[str, Datatype] = {kind.onnx: kind for kind in DATATYPES.values()}
