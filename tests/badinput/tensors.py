"""Bad requests whose tensors are at fault: datatypes, shapes, elements, blobs."""

import struct
from collections.abc import Sequence
from typing import Any

from tests.badinput.rows import (
    MAX_ELEMENTS,
    Row,
    binary,
    blob,
    body,
    goes_on,
    member,
    one,
    text,
    unfit,
    values,
)  # fmt: skip
from tests.server import request


def _kind(sentence: str, **changes: object) -> Row:
    words = ("invalid datatype for input x", "$.inputs[0].datatype", "expected one of ['BOOL'")
    return member(sentence, *words, inputs=[one(**changes)])


def _typed(datatype: object) -> dict[str, object]:
    return {**one(), "datatype": datatype}


DATATYPES: Sequence[Row] = (
    _kind("no datatype", datatype=None),
    _kind("a datatype in small letters", datatype="fp32"),
    _kind("a datatype of numpy's", datatype="float32"),
    _kind("a datatype of the configuration's", datatype="TYPE_FP32"),
    _kind("a datatype of ONNX's", datatype="STRING"),
    _kind("an empty datatype", datatype=""),
    _kind("a datatype that is a number", datatype=5),
    _kind("a datatype that is an array", datatype=["FP32"]),
    member("a datatype that is null", "invalid datatype for input x", "got null",
           inputs=[_typed(None)]),
    unfit("another datatype than the model's",
          "inference input 'x' data-type is 'INT32', but model 'echo' expects 'FP32'",
          "$.inputs[0].datatype", inputs=[one(datatype="INT32")]),
    unfit("a wider datatype than the model's", "data-type is 'FP64', but model 'echo' expects",
          inputs=[one(datatype="FP64")]),
)  # fmt: skip

_AXIS = "attempt to access JSON non-unsigned-integer as unsigned-integer"
_WRONG = "unexpected shape for input 'x' for model 'echo'. Expected [-1,4], got "


def _axes(sentence: str, shape: object, *words: str) -> Row:
    return member(sentence, *words, inputs=[{**one(), "shape": shape}])


def _misfit(sentence: str, shape: object, *words: str, model: str = "echo") -> Row:
    return unfit(sentence, *words, model=model, inputs=[{**one(), "shape": shape}])


def _pair(first: int, second: int) -> list[dict[str, object]]:
    a = one(name="a", datatype="INT32", shape=[first, 2], data=[1] * 2 * first)
    return [a, one(name="b", shape=[second, 3], data=[1] * 3 * second)]


SHAPES: Sequence[Row] = (
    member("no shape", "$.inputs[0].shape: expected an array of whole numbers, got nothing",
           inputs=[one(shape=None)]),
    _axes("a shape that is null", None, "$.inputs[0].shape: expected an array", "got null"),
    _axes("a shape that is a number", 4, "$.inputs[0].shape: expected an array", "got 4"),
    _axes("a shape that is a string", "1,4", "$.inputs[0].shape: expected an array"),
    _axes("a shape that is an object", {}, "$.inputs[0].shape: expected an array"),
    _axes("an axis with a point", [1.0, 4], _AXIS, "$.inputs[0].shape[0]", "got 1.0"),
    _axes("a negative axis", [-5, 4], _AXIS, "$.inputs[0].shape[0]", "got -5"),
    _axes("an axis left open", [1, -1], _AXIS, "$.inputs[0].shape[1]", "got -1"),
    _axes("an axis that is a string", ["1", 4], _AXIS, 'got string "1"'),
    _axes("an axis that is true", [True, 4], _AXIS, "got true"),
    _axes("an axis that is null", [None, 4], _AXIS, "got null"),
    _axes("an axis that is an array", [[1], 4], _AXIS, "got an array"),
    _axes("an axis beyond all numbers", [10**30, 4], "$.inputs[0].shape[0]"),
    _misfit("no axes", [], _WRONG + "[]"),
    _misfit("an axis too few", [4], _WRONG + "[4]"),
    _misfit("an axis too many", [1, 1, 4], _WRONG + "[1,1,4]"),
    _misfit("a row too short", [1, 3], _WRONG + "[1,3]", "$.inputs[0].shape"),
    _misfit("a row too long", [1, 5], _WRONG + "[1,5]"),
    _misfit("the shape turned round", [4, 1], _WRONG + "[4,1]"),
    _misfit("no row", [0, 4], "batch-size must be >= 1 for 'echo'", "expected 1 to 8, got 0"),
    _misfit("a row too many", [9, 4], "inference request batch-size must be <= 8 for 'echo'"),
    _misfit("rows by the billion", [2**40, 4], "batch-size must be <= 8", str(2**40)),
    _misfit("17 axes", [1] * 17, "$.inputs[0].shape: expected at most 16 axes", "got 17"),
    _misfit("100,000 axes", [1] * 100_000, "expected at most 16 axes", "got 100000"),
    _misfit("a batch axis where the model has none", [1, 3], "Expected [3], got [1,3]",
            model="fixed"),
    _misfit("an axis for a scalar", [1], "Expected [], got [1]", model="scalar"),
    _misfit("more elements than can be counted", [2**32, 2**32], "causes total element count to "
            "exceed maximum size of 9223372036854775807", model="free"),
    _misfit("more bytes than can be counted", [2**31, 2**31], "byte size overflow for input 'x'",
            model="free"),
    _misfit("an element more than the limit", [1, MAX_ELEMENTS + 1],
            "$.inputs[0].shape: expected at most 65536 elements (limits.max_elements)",
            model="free"),
    _misfit("a terabyte of one value", [1, 2**40], "limits.max_elements", model="free"),
    _misfit("nothing, a billion times", [2**40, 0], "limits.max_elements", model="free"),
    unfit("two inputs of different batches",
          "input 'b' batch size does not match other inputs for 'pair'", "$.inputs[1].shape[0]",
          model="pair", inputs=_pair(1, 2)),
    text("a shape after another shape", body().replace(b'"shape": [1, 4]', b'"shape": [1, 4], '
         b'"shape": "one"'), "$.inputs[0].shape: expected an array", 'got string "one"'),
)  # fmt: skip

_TRUE_SHAPE = "Shape does not match true shape of 'data' field"


def _elements(sentence: str, given: object, *words: str) -> Row:
    return unfit(sentence, *words, inputs=[{**one(), "data": given}])


def _long(sentence: str, odd: str, *words: str) -> Row:
    """A body so long that it is read by the parser for large ones; its last element is odd."""
    count = 20_000
    data = "0.5," * (count - 1) + odd
    tensor = f'{{"name":"x","shape":[1,{count}],"datatype":"FP32","data":[{data}]}}'
    raw = request("/v2/models/free/infer", f'{{"inputs":[{tensor}]}}'.encode())
    return goes_on(sentence, raw, *words, code="invalid_tensor")


ELEMENTS: Sequence[Row] = (
    member("no data", "Input must set only one of the following fields", "$.inputs[0]",
           "got neither", inputs=[one(data=None)]),
    member("data that is null", "$.inputs[0].data: expected an array, got null",
           inputs=[{**one(), "data": None}]),
    member("data that is a number", "$.inputs[0].data: expected an array, got 5",
           inputs=[one(data=5)]),
    member("data that is a string", "$.inputs[0].data: expected an array", inputs=[one(data="1")]),
    member("data that is an object", "$.inputs[0].data: expected an array", inputs=[one(data={})]),
    _elements("an element too few", [1, 2, 3], _TRUE_SHAPE, "expected 4 elements", "got 3"),
    _elements("an element too many", [1, 2, 3, 4, 5], _TRUE_SHAPE, "got 5 of them"),
    _elements("no elements", [], _TRUE_SHAPE, "got 0 of them"),
    _elements("two rows for one", [[1, 2, 3, 4], [5, 6, 7, 8]], _TRUE_SHAPE, "nested otherwise"),
    _elements("rows of the wrong length", [[1, 2], [3, 4]], _TRUE_SHAPE, "nested otherwise"),
    _elements("ragged rows of the right count", [[1, 2, 3], [4]], _TRUE_SHAPE, "[1,4]"),
    _elements("rows too deep", [[[1, 2, 3, 4]]], "$.inputs[0].data"),
    _elements("a number among rows", [[1, 2, 3, 4], 5], _TRUE_SHAPE),
    _elements("a row among numbers", [1, 2, 3, [4]], "$.inputs[0].data[3]", "got an array"),
    _elements("an element that is a string", [1, 2, 3, "4"], "$.inputs[0].data[3]: expected a "
              "number within the range of FP32", 'got string "4"'),
    _elements("a nested element that is a string", [[1, "2", 3, 4]], "$.inputs[0].data[0][1]"),
    _elements("an element that is null", [None, 2, 3, 4], "$.inputs[0].data[0]", "got null"),
    _elements("an element that is true", [1, True, 3, 4], "$.inputs[0].data[1]", "got true"),
    _elements("an element that is an object", [1, {}, 3, 4], "$.inputs[0].data[1]", "an object"),
    _elements("an FP32 too large", [1, 2, 3, 1e300], "$.inputs[0].data[3]", "FP32", "got 1e+300"),
    _elements("an FP32 too small", [1, 2, 3, -3.5e38], "$.inputs[0].data[3]", "got -3.5e+38"),
    text("a float beyond all floats", body().replace(b"-3, 0]", b"-3, 1e999]"), "expected"),
    text("an integer of 400 digits", body().replace(b"-3, 0]", b"-3, " + b"9" * 400 + b"]"),
         "expected"),
    values("an INT8 too large", "INT8", [0, 128], "expected an integer from -128 to 127", "128"),
    values("an INT16 too small", "INT16", [0, -32769], "$.inputs[0].data[1]", "got -32769"),
    values("an INT32 too large", "INT32", [2**31, 0], "$.inputs[0].data[0]", "got 2147483648"),
    values("an INT32 too small", "INT32", [-(2**31) - 1, 0], "got -2147483649"),
    values("an INT64 too large", "INT64", [2**63, 0], "got 9223372036854775808"),
    values("an INT64 with a point", "INT64", [1.0, 0], "expected an integer", "got 1.0"),
    values("an INT64 beyond the exact floats", "INT64", [1e18, 0], "expected an integer"),
    values("an INT64 that is a string", "INT64", ["1", 0], 'got string "1"'),
    values("an INT64 that is true", "INT64", [True, 0], "got true"),
    values("an INT64 that is null", "INT64", [None, 0], "got null"),
    values("a UINT8 too large", "UINT8", [256, 0], "expected an integer from 0 to 255", "got 256"),
    values("a negative UINT8", "UINT8", [-1, 0], "got -1"),
    values("a UINT16 too large", "UINT16", [65536, 0], "got 65536"),
    values("a UINT32 too large", "UINT32", [2**32, 0], "got 4294967296"),
    values("a negative UINT64", "UINT64", [-1, 0], "expected an integer from 0 to"),
    values("an FP64 that is a string", "FP64", ["NaN", 0], 'got string "NaN"'),
    values("a BOOL that is 1", "BOOL", [1, False], "expected true or false", "got 1"),
    values("a BOOL that is 0", "BOOL", [True, 0], "$.inputs[0].data[1]: expected true or false"),
    values("a BOOL in words", "BOOL", ["true", True], 'got string "true"'),
    values("a BYTES that is a number", "BYTES", [1, "a"], "expected a string", "got 1"),
    values("a BYTES that is null", "BYTES", ["a", None], "expected a string", "got null"),
    values("a BYTES that is an array", "BYTES", ["a", [98]], "$.inputs[0].data[1]", "an array"),
    _long("a long tensor with a string", '"1"', "$.inputs[0].data[19999]", 'got string "1"'),
    _long("a long tensor with a null", "null", "$.inputs[0].data[19999]", "got null"),
    _long("a long tensor with a true", "true", "$.inputs[0].data[19999]", "got true"),
    _long("a long tensor with a large number", "1e300", "$.inputs[0].data[19999]", "got 1e+300"),
    _long("a long tensor with an array", "[1]", "$.inputs[0].data[19999]", "got an array"),
    _long("a long tensor with one too many", "1,1", _TRUE_SHAPE, "got 20001 of them"),
)  # fmt: skip


def _half(sentence: str, kind: str) -> Row:
    tensor = one(shape=[1, 2], datatype=kind, data=[1, 2])
    outputs = [{"name": "y", "parameters": {"binary_data": True}}]
    words = f"receiving {kind} data via JSON is not supported"
    return unfit(sentence, words, model=f"of_{kind.lower()}", inputs=[tensor], outputs=outputs)


def _half_answer(sentence: str, kind: str, **members: Any) -> Row:
    tensor = binary(4, shape=[1, 2], datatype=kind)
    words = f"sending {kind} data via JSON is not supported"
    model = f"of_{kind.lower()}"
    return blob(
        sentence, [tensor], b"\0\0\0\0", words, model=model, code="invalid_tensor", **members
    )


def _strings(sentence: str, raw: bytes, *words: str, code: str = "invalid_tensor") -> Row:
    tensor = binary(len(raw), shape=[1, 2], datatype="BYTES")
    return blob(sentence, [tensor], raw, *words, model="of_bytes", code=code)


def _prefixed(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


_ROW = struct.pack("<4f", 1, 2, 3, 4)
_SIZE = "$.inputs[0].parameters.binary_data_size"
_INVALID = "parameter 'binary_data_size' has invalid type or value"
_MISMATCH = "input byte size mismatch for input 'x' for model 'echo'. Expected 16, got "

BLOBS: Sequence[Row] = (
    _half("FP16 as JSON", "FP16"),
    _half("BF16 as JSON", "BF16"),
    _half_answer("an FP16 answer as JSON", "FP16"),
    _half_answer("a BF16 answer as JSON", "BF16"),
    _half_answer("an FP16 output as JSON", "FP16", outputs=[{"name": "y"}]),
    _half_answer("an FP16 output that is listed, and so as JSON", "FP16", outputs=[{"name": "y"}],
                 parameters={"binary_data_output": True}),
    blob("a blob that no header speaks of", [binary(16)], b"", _SIZE, length=None),
    blob("a blob in a body of JSON", [binary(16)], _ROW, "expected JSON text", length=None),
    blob("a blob smaller than its shape", [binary(12)], _ROW[:12], _MISMATCH + "12", _SIZE,
         code="invalid_tensor"),
    blob("a blob larger than its shape", [binary(20)], _ROW + b"1234", _MISMATCH + "20",
         code="invalid_tensor"),
    blob("an empty blob", [binary(0)], b"", _MISMATCH + "0", code="invalid_tensor"),
    blob("a blob that is not there", [binary(16)], b"", "unexpected size for input 'x', expecting "
         "16 additional bytes"),
    blob("a blob cut short", [binary(16)], _ROW[:12], "unexpected size for input 'x', expecting 4 "
         "additional bytes", "got 12"),
    blob("bytes left over", [binary(16)], _ROW + b"1", "unexpected additional input data for model "
         "'echo'", "got 1 bytes"),
    blob("a blob nobody declares", [one()], _ROW, "unexpected additional input data for model"),
    blob("data and a blob", [one(parameters={"binary_data_size": 16})], _ROW,
         "Input must set only one of the following fields", "got both"),
    blob("a negative size", [binary(-16)], _ROW, _INVALID, "got -16"),
    blob("a size with a point", [binary(16.0)], _ROW, _INVALID, "got 16.0"),
    blob("a size in words", [binary("16")], _ROW, _INVALID, 'got string "16"'),
    blob("a size that is true", [binary(True)], _ROW, _INVALID, "got true"),
    blob("a size that is null", [binary(None)], _ROW, "parameter 'binary_data_size' has invalid"),
    blob("a size beyond all bytes", [binary(2**63)], _ROW, _MISMATCH, code="invalid_tensor"),
    blob("a JSON part cut short", [binary(16)], _ROW, "expected JSON text", length="40"),
    blob("a JSON part that ends in the blob", [binary(16)], _ROW, "expected JSON text",
         length="110"),
    blob("a JSON part of one byte", [binary(16)], _ROW, "expected JSON text", length="1"),
    blob("a BOOL that is 2", [binary(2, shape=[1, 2], datatype="BOOL")], b"\1\2",
         "expected bytes of 0 or 1", "got 2", model="of_bool", code="invalid_tensor"),
    _strings("a string too few", _prefixed(b"a"), "expected 2 string elements for inference input "
             "'x' for model 'of_bytes', got 1"),
    _strings("a string too many", _prefixed(b"a", b"b", b"c"), "unexpected number of string "
             "elements 3 for inference input 'x' for model 'of_bytes', expecting 2"),
    _strings("a string longer than its blob", _prefixed(b"a") + b"\xff\xff\xff\xffb",
             "incomplete string data for inference input 'x'"),
    _strings("half a string's length", _prefixed(b"a") + b"\1\0", "incomplete string data"),
    _strings("no strings", b"", "expected 2 string elements", "got 0"),
    _strings("a string of no UTF-8", _prefixed(b"a", b"\xff"), "expected UTF-8",
             "of string element 1"),
)  # fmt: skip

TENSORS = (*DATATYPES, *SHAPES, *ELEMENTS, *BLOBS)
