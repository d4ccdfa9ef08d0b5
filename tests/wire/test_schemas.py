"""Schemas: a request that fits is described as one, and its example fits."""

from typing import Any

import orjson
import pytest

from gateway.core.datatypes import DATATYPES
from gateway.types import Shape, Signature, TensorSpec
from gateway.wire.schemas import answer_schema, request_name, request_schema
from tests.wire.bodies import read, version


def of(kind: str, shape: Shape, rows: int = 0) -> dict[str, Any]:
    spec = TensorSpec("x", kind, shape)
    return request_schema(Signature((spec,), (spec,), rows))


@pytest.mark.parametrize("kind", sorted(DATATYPES))
@pytest.mark.parametrize(("shape", "rows"), [((-1, 3), 8), ((), 0), ((2, -1), 0), ((0,), 0)])
def test_its_example_is_read(kind: str, shape: Shape, rows: int) -> None:
    schema = of(kind, shape, rows)
    if kind in ("FP16", "BF16"):
        assert "examples" not in schema  # JSON cannot carry them
        return
    (example,) = schema["examples"]
    reading = read(orjson.dumps(example), version(("x", kind, shape), max_batch_rows=rows))
    assert reading.rows == 1


def test_a_large_input_has_no_example() -> None:
    assert "examples" not in of("FP32", (-1, 65), 8)
    assert "examples" in of("FP32", (-1, 64), 8)


def test_a_batch_axis_has_its_bounds_and_a_fixed_one_its_size() -> None:
    (item,) = of("FP32", (-1, 4), 8)["properties"]["inputs"]["items"]["anyOf"]
    rows, width = item["properties"]["shape"]["prefixItems"]
    assert (rows["minimum"], rows["maximum"], width) == (1, 8, {"const": 4})


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("INT8", -128, 127), ("UINT64", 0, 2**64 - 1), ("INT32", -(2**31), 2**31 - 1)],
)
def test_whole_numbers_have_their_range(kind: str, low: int, high: int) -> None:
    (item,) = of(kind, (2,))["properties"]["inputs"]["items"]["anyOf"]
    element = item["properties"]["data"]["items"]
    assert (element["minimum"], element["maximum"]) == (low, high)


def test_half_floats_are_asked_for_in_binary() -> None:
    (item,) = of("FP16", (2,))["properties"]["inputs"]["items"]["anyOf"]
    assert "data" not in item["properties"]
    assert item["properties"]["parameters"]["required"] == ["binary_data_size"]


def test_an_answer_names_its_model_and_its_outputs() -> None:
    spec = TensorSpec("y", "FP32", (-1,))
    members = answer_schema("m", Signature((), (spec,), 8))["properties"]
    assert members["model_name"] == {"const": "m"}
    assert members["outputs"]["items"]["properties"]["name"] == {"enum": ["y"]}


def test_two_models_never_share_a_schema() -> None:
    assert request_name("a b") != request_name("a_b")
    assert request_name("a_20_b") != request_name("a b")
