"""The sample that travels with a version: how it is read, and when it is given again."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.datatypes import DATATYPES
from gateway.repository.golden import Golden, NotGolden, Tensor, arguments, compare, read_golden
from gateway.types import Array, Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),), 8)


def tensor(name: str, *data: object, datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [1, len(data)], "data": list(data)}


SAMPLE: dict[str, Any] = {"inputs": [tensor("x", 1, 2)], "outputs": [tensor("y", 3.0, 4.0)]}


def read(folder: Path, document: object = SAMPLE) -> Golden:
    (folder / "golden.json").write_text(json.dumps(document))
    golden = read_golden(folder)
    assert golden is not None
    return golden


def refusal(folder: Path, document: object) -> str:
    """Return what is wrong with a file, less its name."""
    with pytest.raises(NotGolden) as caught:
        read(folder, document)
    start = f"{folder / 'golden.json'}: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def test_a_version_without_a_sample_has_none(tmp_path: Path) -> None:
    assert read_golden(tmp_path) is None


def test_the_inputs_come_in_the_order_of_the_signature(tmp_path: Path) -> None:
    document = {**SAMPLE, "inputs": [tensor("b", 3, datatype="INT8"), tensor("a", 1.5, 2)]}
    inputs = (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT8", (-1, 1)))
    a, b = arguments(read(tmp_path, document), Signature(inputs, SIGNATURE.outputs, 8), 8)
    assert (a.tolist(), a.dtype, a.shape) == ([[1.5, 2]], np.dtype("<f4"), (1, 2))
    assert (b.tolist(), b.dtype) == ([[3]], np.dtype("<i1"))


VALUES: dict[str, object] = {
    **dict.fromkeys(DATATYPES, 1),
    "BOOL": True,
    "BYTES": "é",
    "FP64": 0.1,
}


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_can_be_sampled(tmp_path: Path, datatype: str) -> None:
    document = {
        "inputs": [tensor("x", VALUES[datatype], datatype=datatype)],
        "outputs": [tensor("y", VALUES[datatype], datatype=datatype)],
    }
    golden = read(tmp_path, document)
    specs = [(TensorSpec(name, datatype, (-1, 1)),) for name in "xy"]
    signature = Signature(specs[0], specs[1], 8)
    (array,) = arguments(golden, signature, 8)
    assert array.dtype == DATATYPES[datatype].numpy
    compare(golden, signature, [array])


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.0, 0x3F80),
        (-2.0, 0xC000),
        (1.00390625, 0x3F80),  # half way: to even
        (1.01171875, 0x3F82),
        (math.inf, 0x7F80),
        (math.nan, 0x7FC0),
    ],
)
def test_a_bfloat16_is_the_nearest_one(tmp_path: Path, value: float, bits: int) -> None:
    golden = read(tmp_path, {**SAMPLE, "inputs": [tensor("x", value, datatype="BF16")]})
    assert golden.inputs["x"].array.tolist() == [[bits]]


def test_nested_data_are_read_row_by_row(tmp_path: Path) -> None:
    one = {"name": "x", "datatype": "INT8", "shape": [2, 2], "data": [[1, 2], [3, 4]]}
    golden = read(tmp_path, {**SAMPLE, "inputs": [one]})
    assert golden.inputs["x"].array.tolist() == [[1, 2], [3, 4]]


def test_a_scalar_is_one_value(tmp_path: Path) -> None:
    one = {"name": "x", "datatype": "FP32", "shape": [], "data": 5}
    assert read(tmp_path, {**SAMPLE, "inputs": [one]}).inputs["x"].array.shape == ()


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "$: expected an object, got a list"),
        ({**SAMPLE, "extra": 1}, "$: unknown key 'extra': expected absolute, inputs, outputs, rel"),
        ({"inputs": [], "outputs": []}, "$.outputs: expected at least one tensor, got none"),
        ({"inputs": []}, "$.outputs: expected a list of tensors, got nothing"),
        ({**SAMPLE, "absolute": -1}, "$.absolute: expected a finite number, at least 0, got -1"),
        ({**SAMPLE, "relative": True}, "$.relative: expected a finite number, at least 0, got T"),
        ({**SAMPLE, "relative": math.inf}, "$.relative: expected a finite number, at least 0, "),
        ({**SAMPLE, "inputs": ["x"]}, "$.inputs[0]: expected an object, got a string"),
        ({**SAMPLE, "inputs": [tensor("x", 1)] * 2}, "$.inputs[1].name: 'x' is there twice"),
        ({**SAMPLE, "inputs": [{"datatype": "FP32"}]}, "$.inputs[0].name: expected a string, got"),
        (
            {**SAMPLE, "inputs": [tensor("x", 1, datatype="FP31")]},
            "$.inputs[0].datatype: expected one of BOOL, INT8,",
        ),
        (
            {**SAMPLE, "inputs": [{**tensor("x", 1), "shape": [-1]}]},
            "$.inputs[0].shape: expected a list of sizes, got a list",
        ),
        (
            {**SAMPLE, "inputs": [{**tensor("x", 1), "shape": [2, 3]}]},
            "$.inputs[0].data: expected 6 values for [2, 3], got 1",
        ),
        (
            {**SAMPLE, "inputs": [tensor("x", 1, "2")]},
            "$.inputs[0].data: value 1: expected FP32, got '2'",
        ),
        (
            {**SAMPLE, "inputs": [tensor("x", 1.5, datatype="INT8")]},
            "$.inputs[0].data: value 0: expected INT8, got 1.5",
        ),
        (
            {**SAMPLE, "inputs": [tensor("x", True, datatype="INT8")]},
            "$.inputs[0].data: value 0: expected INT8, got True",
        ),
        (
            {**SAMPLE, "inputs": [tensor("x", 300, datatype="INT8")]},
            "$.inputs[0].data: expected INT8: ",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(
    tmp_path: Path, document: object, reason: str
) -> None:
    assert refusal(tmp_path, document).startswith(reason)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_what_is_nested_too_deep_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "golden.json").write_bytes(content)
    with pytest.raises(NotGolden, match="is nested too deep"):
        read_golden(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "golden.json").write_bytes(content)
    with pytest.raises(NotGolden, match="is not JSON"):
        read_golden(tmp_path)


def test_a_file_beyond_its_bound_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "golden.json").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(NotGolden, match="is larger than 67108864 bytes"):
        read_golden(tmp_path)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({**SAMPLE, "inputs": []}, "$.inputs: expected 'x', got no such tensor"),
        ({**SAMPLE, "inputs": [tensor("z", 1, 2)]}, "$.inputs: 'z': the model has 'x'"),
        ({**SAMPLE, "outputs": [tensor("z", 1, 2)]}, "$.outputs: 'z': the model has 'y'"),
        (
            {**SAMPLE, "inputs": [tensor("x", 1, 2, 3)]},
            "$.inputs: 'x': expected FP32 [-1, 2], got FP32 [1, 3]",
        ),
        (
            {**SAMPLE, "outputs": [tensor("y", 1, 2, datatype="INT8")]},
            "$.outputs: 'y': expected FP32 [-1, 2], got INT8 [1, 2]",
        ),
    ],
)
def test_tensors_that_are_not_the_models_are_refused_by_name(
    tmp_path: Path, document: object, reason: str
) -> None:
    with pytest.raises(NotGolden) as caught:
        arguments(read(tmp_path, document), SIGNATURE, 8)
    assert str(caught.value) == f"{tmp_path / 'golden.json'}: {reason}"


def test_inputs_have_equally_many_rows(tmp_path: Path) -> None:
    two = {"name": "b", "datatype": "FP32", "shape": [2, 1], "data": [1, 2]}
    inputs = (*SIGNATURE.inputs, TensorSpec("b", "FP32", (-1, 1)))
    golden = read(tmp_path, {**SAMPLE, "inputs": [tensor("x", 1, 2), two]})
    with pytest.raises(NotGolden, match="equally many rows"):
        arguments(golden, Signature(inputs, SIGNATURE.outputs, 8), 8)


# Comparing.


def outputs(*data: float, kind: str = "<f4") -> list[Array]:
    return [np.array([data], dtype=kind)]


def difference(golden: Golden, *data: float) -> str:
    with pytest.raises(NotGolden) as caught:
        compare(golden, SIGNATURE, outputs(*data))
    return str(caught.value).removeprefix(f"{golden.file}: ")


def test_numbers_within_the_tolerances_agree(tmp_path: Path) -> None:
    golden = read(tmp_path, {**SAMPLE, "absolute": 0.5, "relative": 0.25})
    compare(golden, SIGNATURE, outputs(3.0, 4.0))
    compare(golden, SIGNATURE, outputs(1.75, 5.5))
    assert difference(golden, 3.0, 5.75) == (
        "output 'y'[0, 1]: expected 4.0 within 0.5 + 0.25 of it, got 5.75"
    )


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_never_agrees_with_one(tmp_path: Path, odd: float) -> None:
    golden = read(tmp_path, {**SAMPLE, "absolute": 1e300, "relative": 1e300})
    assert difference(golden, odd, 4.0) == (
        f"output 'y'[0, 0]: expected 3.0, a finite number, got {odd}"
    )


def test_nan_and_the_infinities_agree_with_themselves_where_they_are_expected(
    tmp_path: Path,
) -> None:
    golden = read(tmp_path, {**SAMPLE, "outputs": [tensor("y", math.nan, math.inf)]})
    compare(golden, SIGNATURE, outputs(math.nan, math.inf))
    assert "expected nan" in difference(golden, 0.0, math.inf)
    assert "expected inf" in difference(golden, math.nan, -math.inf)


def test_another_shape_is_told(tmp_path: Path) -> None:
    assert difference(read(tmp_path), 3.0) == "output 'y': expected shape [1, 2], got [1, 1]"


@pytest.mark.parametrize(
    ("datatype", "expected", "got", "shown"),
    [
        ("INT64", 7, 8, "expected 7, got 8"),
        ("BOOL", True, False, "expected True, got False"),
        ("BYTES", "a", "b", "expected 'a', got 'b'"),
    ],
)
def test_what_is_no_float_agrees_when_it_is_equal(
    tmp_path: Path, datatype: str, expected: object, got: object, shown: str
) -> None:
    document = {**SAMPLE, "outputs": [tensor("y", expected, datatype=datatype)], "absolute": 9}
    golden = read(tmp_path, document)
    signature = Signature(SIGNATURE.inputs, (TensorSpec("y", datatype, (-1, 1)),), 8)
    kind = DATATYPES[datatype].numpy
    compare(golden, signature, [np.array([[expected]], dtype=kind)])
    with pytest.raises(NotGolden) as caught:
        compare(golden, signature, [np.array([[got]], dtype=kind)])
    assert str(caught.value).endswith(f"output 'y'[0, 0]: {shown}")


def test_bfloat16_is_compared_as_the_numbers_that_its_bits_mean(tmp_path: Path) -> None:
    document = {**SAMPLE, "outputs": [tensor("y", 1.0, datatype="BF16")], "relative": 0.01}
    golden = read(tmp_path, document)
    signature = Signature(SIGNATURE.inputs, (TensorSpec("y", "BF16", (-1, 1)),), 8)
    compare(golden, signature, [np.array([[0x3F81]], dtype="<u2")])
    with pytest.raises(NotGolden, match=r"expected 1\.0 within .* got 2\.0"):
        compare(golden, signature, [np.array([[0x4000]], dtype="<u2")])


def test_outputs_that_are_not_named_are_not_compared(tmp_path: Path) -> None:
    golden = read(tmp_path)
    other = TensorSpec("other", "FP32", (-1, 2))
    signature = Signature(SIGNATURE.inputs, (other, *SIGNATURE.outputs), 8)
    compare(golden, signature, [*outputs(math.nan, math.nan), *outputs(3.0, 4.0)])


floats = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.lists(floats, min_size=2, max_size=2))
def test_whatever_a_model_gives_agrees_with_itself(values: list[float]) -> None:
    (array,) = outputs(*values)
    expected = {"y": Tensor("y", "FP32", array.shape, array)}
    golden = Golden(Path("golden.json"), {}, expected, absolute=0.0, relative=0.0)
    compare(golden, SIGNATURE, [array.copy()])


def test_a_pipe_in_the_place_of_the_sample_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "golden.json")
    with pytest.raises(OSError, match="is no regular file"):
        read_golden(tmp_path)


def test_what_a_refusal_quotes_is_cut(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, {"x" * 10_000: 1})) < 300
    assert len(refusal(tmp_path, {**SAMPLE, "absolute": "x" * 10_000})) < 300
    one = {**tensor("x", "y" * 10_000)}
    assert len(refusal(tmp_path, {**SAMPLE, "inputs": [one]})) < 300
