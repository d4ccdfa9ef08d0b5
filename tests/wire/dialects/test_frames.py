"""Frames: MLflow's forms, one answer."""

import pytest

from gateway.types import Version
from gateway.wire.paths import Dialect
from tests.wire.dialects.asking import FLOATS, INTEGER, PAIR, TEXTS, WHOLE, ask, echo, refusal, told

MLFLOW = Dialect.INVOCATIONS
FLAGS = echo(("x", "BOOL", (-1,)))
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


@pytest.mark.parametrize(
    ("of", "body", "predictions"),
    [
        (BY_NAME, b"b,a\n1.5,1\n2.5,2\n", [{"a": 1, "b": [1.5]}, {"a": 2, "b": [2.5]}]),
        (FLOATS, b"p,q\r\n1,2\r\n\r\n3e2,-4\r\n", [[1, 2], [300, -4]]),
        (FLOATS, b"\xef\xbb\xbfp,q\n 1 ,2", [[1, 2]]),
        (INTEGER, b"x\n9007199254740993\n", [9007199254740993]),
        (TEXTS, b'x_bytes\n"a, ""b"""\n1\n', [[{"b64": "YSwgImIi"}], [{"b64": "MQ=="}]]),
        (FLAGS, b"x\nTRUE\nfalse\n", [True, False]),
    ],
)
def test_csv_is_a_frame_whose_first_line_names_the_columns(
    of: Version, body: bytes, predictions: object
) -> None:
    assert told(body, of, MLFLOW, media=b"text/csv") == {"predictions": predictions}


@pytest.mark.parametrize(
    ("of", "body", "words"),
    [
        (FLOATS, b"", "expected CSV, got no line with columns"),
        (FLOATS, b"\n\n", "expected CSV, got no line with columns"),
        (FLOATS, b"p,q\n", "unexpected shape"),
        (FLOATS, b"p,q\n1,2\n3\n", "csv.data[1]: expected 2 values, got 1 of them"),
        (FLOATS, b"p,p\n1,2\n", "csv.columns: expected each name once"),
        (FLOATS, b"p,q\n1,two\n", "csv.data[0][1]: expected a number"),
        (FLOATS, b"p,q\n1,\n", "csv.data[0][1]: expected a number"),
        (FLOATS, b"p,q\n1,1_0\n", "csv.data[0][1]: expected a number"),
        (INTEGER, b"x\n1.0\n", "expected an integer"),
        (FLAGS, b"x\n1\n", "expected true or false"),
        (FLOATS, b'p,q\n1,"2\n', "expected CSV, got unexpected end of data in line 2"),
        (FLOATS, b"p,q\n1,\xff\n", "expected CSV in UTF-8, got invalid start byte at byte 6"),
        (FLOATS, b"p,q\n1,2\n" + b"3,4\n" * 100_000, "expected"),
        (PAIR, b"a\n1\n", "expected the columns ['a','b'] of model 'm'"),
    ],
)
def test_what_is_no_csv_is_refused_by_its_place(of: Version, body: bytes, words: str) -> None:
    assert words in refusal(body, of, MLFLOW, media=b"text/csv")


def test_what_is_no_number_in_csv_is_a_token_as_in_v2() -> None:
    answer = ask(b"p,q\nNaN,-inf\n", FLOATS, MLFLOW, media=b"text/csv")
    assert answer.body == b'{"predictions":[[NaN,-Infinity]]}'
