"""Frames: MLflow's forms, one answer."""

import pytest

from gateway.types import Version
from gateway.wire.paths import Dialect
from tests.wire.dialects.asking import FLOATS, INTEGER, PAIR, WHOLE, echo, refusal, told

MLFLOW = Dialect.INVOCATIONS
BY_NAME = echo(("a", "INT64", (-1,)), ("b", "FP32", (-1, 1)))


@pytest.mark.parametrize(
    ("of", "body", "predictions"),
    [
        (BY_NAME, {"dataframe_split": {"columns": ["b", "a"], "data": [[1.5, 1], [2.5, 2]]}},
         [{"a": 1, "b": [1.5]}, {"a": 2, "b": [2.5]}]),
        (BY_NAME, {"dataframe_records": [{"a": 1, "b": 1.5}, {"b": 2.5, "a": 2}]},
         [{"a": 1, "b": [1.5]}, {"a": 2, "b": [2.5]}]),
        (FLOATS, {"dataframe_split": {"index": [7], "columns": ["p", "q"], "data": [[1, 2]]}},
         [[1, 2]]),
        (FLOATS, {"dataframe_records": [{"p": 1, "q": 2}, {"p": 3, "q": 4}]}, [[1, 2], [3, 4]]),
        (INTEGER, {"dataframe_records": [{"x": 1}, {"x": 2}]}, [1, 2]),
        (FLOATS, {"instances": [[1, 2]], "params": {}}, [[1, 2]]),
        (FLOATS, {"inputs": [[1, 2]], "params": {"a": 1}}, [[1, 2]]),
        (WHOLE, {"inputs": {"x": [1, 2, 3]}}, [1, 2, 3]),
        (PAIR, {"inputs": {"a": [1], "b": [[1, 2]]}}, {"a": [1], "b": [[1, 2]]}),
        (PAIR, {"dataframe_records": [{"a": 1, "b": [1, 2]}]}, [{"a": 1, "b": [1, 2]}]),
    ],
)  # fmt: skip
def test_every_form_is_answered_by_predictions(
    of: Version, body: object, predictions: object
) -> None:
    assert told(body, of, MLFLOW, media=b"application/json") == {"predictions": predictions}


@pytest.mark.parametrize(
    ("of", "body", "words"),
    [
        (FLOATS, {}, "['dataframe_split','dataframe_records','instances','inputs'], got none of"),
        (FLOATS, {"inputs": [], "instances": []}, "got ['instances','inputs']"),
        (FLOATS, {"inputs": [[1, 2]], "params": 5}, "$.params: expected an object, got 5"),
        (FLOATS, {"dataframe_split": []}, "$.dataframe_split: expected an object"),
        (FLOATS, {"dataframe_split": {"data": []}}, "$.dataframe_split.columns: expected"),
        (FLOATS, {"dataframe_split": {"columns": [1], "data": []}}, "columns: expected an array"),
        (FLOATS, {"dataframe_split": {"columns": ["a", "a"], "data": []}}, "each name once"),
        (FLOATS, {"dataframe_split": {"columns": ["a"]}}, "$.dataframe_split.data: expected"),
        (FLOATS, {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3]]}},
         "$.dataframe_split.data[1]: expected 2 values, got 1 of them"),
        (FLOATS, {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "2"]]}},
         "$.dataframe_split.data[0][1]: expected a number"),
        (FLOATS, {"dataframe_records": {}}, "$.dataframe_records: expected an array"),
        (FLOATS, {"dataframe_records": [5]}, "$.dataframe_records[0]: expected an object"),
        (FLOATS, {"dataframe_records": [{"p": 1, "q": 2}, {"p": 1}]},
         "$.dataframe_records[1]: expected ['p','q'], got ['p']"),
        (FLOATS, {"dataframe_records": []}, "unexpected shape"),
        (PAIR, {"dataframe_records": [{"a": 1}]}, "expected the columns ['a','b'] of model 'm'"),
    ],
)  # fmt: skip
def test_what_is_no_frame_is_refused_by_its_path(of: Version, body: object, words: str) -> None:
    assert words in refusal(body, of, MLFLOW)
