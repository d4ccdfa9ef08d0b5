"""The table of data types agrees with the protocol, with numpy and with itself."""

import sys

import numpy as np
import pytest

from gateway.core.datatypes import BY_ONNX, DATATYPES

# Source: Open Inference Protocol V2, "Tensor Data Types", with Triton's BF16.
_OF_SIZE = {
    0: ("BYTES",),
    1: ("BOOL", "INT8", "UINT8"),
    2: ("INT16", "UINT16", "FP16", "BF16"),
    4: ("INT32", "UINT32", "FP32"),
    8: ("INT64", "UINT64", "FP64"),
}
SIZES = {name: size for size, names in _OF_SIZE.items() for name in names}


def test_every_datatype_of_the_protocol_has_its_size() -> None:
    assert {name: kind.size_bytes for name, kind in DATATYPES.items()} == SIZES


@pytest.mark.parametrize("name", [name for name, size in SIZES.items() if size])
def test_numpy_agrees_on_the_size(name: str) -> None:
    assert DATATYPES[name].numpy.itemsize == SIZES[name]


@pytest.mark.parametrize("name", SIZES)
def test_what_travels_is_little_endian(name: str) -> None:
    order = DATATYPES[name].numpy.byteorder
    assert order in ("|", "<") or (order == "=" and sys.byteorder == "little")


def test_each_onnx_type_is_one_datatype() -> None:
    assert len(BY_ONNX) == len(DATATYPES)
    assert all(BY_ONNX[kind.onnx] is kind for kind in DATATYPES.values())
    assert BY_ONNX["tensor(float16)"].numpy == np.dtype("<f2")
    assert BY_ONNX["tensor(string)"].name == "BYTES"
    assert "seq(tensor(float))" not in BY_ONNX
