"""V1: rows and columns in, rows and columns out."""

import pytest

from gateway.types import Version
from gateway.wire.intake import Policy
from tests.wire.dialects.asking import (
    FLOATS,
    INTEGER,
    PAIR,
    SCALAR,
    TEXTS,
    WHOLE,
    ask,
    echo,
    refusal,
    told,
)

TFSERVING = Policy(v1="tfserving")


@pytest.mark.parametrize(
    ("of", "instances", "predictions"),
    [
        (FLOATS, [[1, 2], [3.5, -4]], [[1, 2], [3.5, -4]]),
        (FLOATS, [{"x": [1, 2]}, {"x": [3, 4]}], [[1, 2], [3, 4]]),
        (INTEGER, [5, 2**53 + 1], [5, 2**53 + 1]),
        (INTEGER, [{"x": 5}], [5]),
        (PAIR, [{"a": 1, "b": [2, 3]}, {"b": [5, 6], "a": 4}],
         [{"a": 1, "b": [2, 3]}, {"a": 4, "b": [5, 6]}]),
        (WHOLE, [1, 2, 3], [1, 2, 3]),
        (TEXTS, [["plain"], [{"b64": "w7w="}]], [[{"b64": "cGxhaW4="}], [{"b64": "w7w="}]]),
        (echo(("t", "BYTES", (-1,))), ["a", {"b64": "Yg=="}], ["a", "b"]),
        (echo(("flag", "BOOL", (-1, 1))), [[True], [False]], [[True], [False]]),
        (echo(("b64", "BYTES", (-1,))), [{"b64": "Yg=="}], ["Yg=="]),  # that is its name
    ],
)  # fmt: skip
def test_rows_in_are_rows_out(of: Version, instances: object, predictions: object) -> None:
    body = {"instances": instances, "signature_name": "serving_default", "foo": 1}
    assert told(body, of) == {"predictions": predictions}


@pytest.mark.parametrize(
    ("of", "inputs", "outputs"),
    [
        (FLOATS, [[1, 2]], [[1, 2]]),
        (FLOATS, {"x": [[1, 2]]}, [[1, 2]]),
        (PAIR, {"a": [1, 2], "b": [[1, 2], [3, 4]]}, {"a": [1, 2], "b": [[1, 2], [3, 4]]}),
        (SCALAR, 4.5, 4.5),
        (SCALAR, {"x": 4.5}, 4.5),
    ],
)
def test_columns_in_are_columns_out_in_the_words_of_the_setting(
    of: Version, inputs: object, outputs: object
) -> None:
    assert told({"inputs": inputs}, of) == {"predictions": outputs}
    assert told({"inputs": inputs}, of, policy=TFSERVING) == {"outputs": outputs}
    assert "predictions" in told({"instances": [[1, 2]]}, FLOATS, policy=TFSERVING)


def test_a_scalar_by_rows_is_a_row() -> None:
    assert "$.instances" in refusal({"instances": [4.5]}, SCALAR)


def test_what_is_no_number_is_a_token_as_in_v2() -> None:
    answer = ask(b'{"instances":[[NaN,-Infinity]]}', FLOATS)
    assert answer.body == b'{"predictions":[[NaN,-Infinity]]}'
    assert answer.headers["x-gateway-version"] == "1"
    scalar = ask(b'{"inputs":NaN}', SCALAR, policy=TFSERVING)
    assert scalar.body == b'{"outputs":NaN}'


def test_a_version_without_rows_in_common_is_asked_by_columns() -> None:
    odd = echo(("a", "FP32", (2,)), ("b", "FP32", (3,)), rows=0)
    columns = {"a": [1, 2], "b": [1, 2, 3]}
    assert told({"inputs": columns}, odd) == {"predictions": columns}
    scalars = echo(("a", "FP32", ()), ("b", "FP32", ()), rows=0)
    assert told({"inputs": {"a": 1, "b": 2}}, scalars) == {"predictions": {"a": 1, "b": 2}}


@pytest.mark.parametrize(
    ("of", "body", "words"),
    [
        (FLOATS, b"", "got an empty body"),
        (FLOATS, b"[]", "expected a JSON object, got an array"),
        (FLOATS, b"{", "expected JSON text"),
        (FLOATS, {}, "expected one of instances and inputs, got neither"),
        (FLOATS, {"instances": [], "inputs": []}, "got both"),
        (FLOATS, {"instances": {"x": 1}}, "$.instances: expected an array of rows, got an object"),
        (FLOATS, {"instances": [[1, 2]], "signature_name": "x"}, "$.signature_name: expected"),
        (FLOATS, {"instances": [[1, 2]], "signature_name": None}, "got null"),
        (FLOATS, {"instances": []}, "unexpected shape for input 'x' for model 'm'"),
        (FLOATS, {"instances": [[1, 2, 3]]}, "Expected [-1,2], got [1,3] ($.instances)"),
        (FLOATS, {"instances": [[1, 2], [3]]}, "arrays nested otherwise"),
        (FLOATS, {"instances": [[1, 2], 3]}, "arrays nested otherwise"),
        (FLOATS, {"instances": [[1, "a"]]}, "$.instances[0][1]: expected a number within"),
        (FLOATS, {"instances": [[1, True]]}, "got true"),
        (FLOATS, {"instances": [[1, None]]}, "got null"),
        (FLOATS, {"instances": [[1, 1e300]]}, "got 1e+300"),
        (FLOATS, {"instances": [[1, 2]] * 9}, "inference request batch-size must be <= 8 for 'm'"),
        (FLOATS, {"instances": [{"y": [1, 2]}]}, "$.instances[0]: expected the inputs ['x']"),
        (FLOATS, {"instances": [{"x": [1, 2]}, [1, 2]]}, "$.instances[1]: expected an object"),
        (FLOATS, {"inputs": {"x": [[1, 2]], "y": 1}}, "$.inputs: expected the inputs ['x']"),
        (FLOATS, {"inputs": {"x": [[1, "a"]]}}, "$.inputs.x[0][1]: expected a number"),
        (FLOATS, {"inputs": None}, "got [] ($.inputs)"),
        (INTEGER, {"instances": [1.0]}, "$.instances[0]: expected an integer"),
        (INTEGER, {"instances": [{"x": 1}, {"x": "1"}]}, "$.instances[*].x[1]: expected an int"),
        (PAIR, {"instances": [1, 2]}, "expected objects with the inputs ['a','b'] of model 'm'"),
        (PAIR, {"instances": [{"a": 1}]}, "$.instances[0]: expected the inputs ['a','b']"),
        (PAIR, {"inputs": {"a": [1], "b": [[1, 2], [3, 4]]}}, "batch size does not match"),
        (PAIR, {"inputs": [1]}, "$.inputs: expected objects with the inputs ['a','b']"),
        (TEXTS, {"instances": [[{"b64": "_"}]]}, "expected UTF-8 in base64 as b64"),
        (TEXTS, {"instances": [[{"b64": "/w=="}]]}, "expected UTF-8 in base64 as b64"),
        (TEXTS, {"instances": [[{"b64": 5}]]}, "got 5"),
        (TEXTS, {"instances": [[5]]}, "expected a string"),
        (TEXTS, {"instances": [[{"b64": "YQ==", "more": 1}]]}, "expected a string"),
        (echo(("x", "FP16", (-1,))), {"instances": [1]}, "receiving FP16 data via JSON"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_path(of: Version, body: object, words: str) -> None:
    assert words in refusal(body, of)


@pytest.mark.parametrize("levels", [10, 50, 99])
def test_deep_values_are_a_wrong_shape(levels: int) -> None:
    deep = b'{"instances":' + b"[" * levels + b"1" + b"]" * levels + b"}"
    assert "unexpected shape" in refusal(deep, FLOATS)
    assert "unexpected shape" in refusal(deep, TEXTS)


def test_deeper_than_the_limit_is_malformed_whatever_its_size() -> None:
    assert "nesting depth" in refusal(b'{"instances":' + b"[" * 250_000, FLOATS)


def test_two_outputs_of_strings_and_numbers_are_objects_by_name() -> None:
    of = echo(("n", "INT8", (-1,)), ("t", "BYTES", (-1,)))
    body = {"instances": [{"n": 1, "t": 'a"b'}, {"n": -2, "t": ""}]}
    assert told(body, of) == {"predictions": body["instances"]}
