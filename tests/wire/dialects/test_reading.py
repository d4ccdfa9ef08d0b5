"""Reading: which dialect a body is in, and in whose words it is answered."""

import orjson
import pytest

from gateway.wire.dialects.media import SAGEMAKER, VERTEX
from gateway.wire.paths import Dialect
from tests.wire.dialects.asking import FLOATS, ask, echo, refusal, told

V2 = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
ANSWER = {
    "model_name": "m",
    "model_version": "1",
    "outputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}],
}
BLOB = orjson.dumps(
    {
        "inputs": [
            {"name": "x", "shape": [1, 2], "datatype": "FP32"}
            | {"parameters": {"binary_data_size": 8}}
        ],
        "parameters": {"binary_data_output": True},
    }
)
ROW = bytes(8)
CONTAINERS = [Dialect.INVOCATIONS, Dialect.VERTEX]


@pytest.mark.parametrize("dialect", CONTAINERS)
def test_v2_in_json_is_answered_as_v2(dialect: Dialect) -> None:
    assert told(V2, FLOATS, dialect) == ANSWER
    assert told(V2 | {"id": "me"}, FLOATS, dialect) == ANSWER | {"id": "me"}
    assert "$.inputs[0].shape" in refusal(
        {"inputs": [V2["inputs"][0] | {"shape": [1, 3]}]}, FLOATS, dialect
    )


def test_sagemaker_s_binary_type_says_its_length_in_and_out() -> None:
    media = SAGEMAKER + b";json-header-size=%d" % len(BLOB)
    answer = ask(BLOB + ROW, FLOATS, Dialect.INVOCATIONS, media=media)
    kind, _, size = answer.headers["content-type"].partition(";json-header-size=")
    assert kind == SAGEMAKER.decode()
    assert answer.body[int(size) :] == ROW
    assert "inference-header-content-length" not in answer.headers
    assert answer.headers["x-gateway-version"] == "1"


def test_vertex_s_binary_type_is_answered_with_the_ordinary_length_header() -> None:
    media = VERTEX + b";json-header-size=%d" % len(BLOB)
    answer = ask(BLOB + ROW, FLOATS, Dialect.VERTEX, media=media)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.body[int(answer.headers["inference-header-content-length"]) :] == ROW


@pytest.mark.parametrize("dialect", CONTAINERS)
def test_the_ordinary_length_header_means_v2_too(dialect: Dialect) -> None:
    assert ask(BLOB + ROW, FLOATS, dialect, json_length=len(BLOB)).status == 200


@pytest.mark.parametrize("size", [b"-1", b"x", b"9999999", b"%d" % (len(BLOB) + len(ROW) + 1)])
def test_a_size_that_is_none_or_too_large_is_malformed(size: bytes) -> None:
    media = SAGEMAKER + b";json-header-size=" + size
    refusal(BLOB + ROW, FLOATS, Dialect.INVOCATIONS, media=media)


def test_a_size_of_0_is_a_raw_body() -> None:
    media = SAGEMAKER + b";json-header-size=0"
    answer = ask(ROW, FLOATS, Dialect.INVOCATIONS, media=media)
    assert answer.body.endswith(ROW)


@pytest.mark.parametrize(
    "media", [b"text/csv; header=x", b"application/json; charset=latin-1", b"application/x-npy"]
)
@pytest.mark.parametrize("dialect", CONTAINERS)
def test_a_type_that_nobody_reads_gets_415(media: bytes, dialect: Dialect) -> None:
    answer = ask({"inputs": [[1, 2]]}, FLOATS, dialect, media=media)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("dialect", CONTAINERS)
def test_v2_is_known_by_its_content_whatever_it_is_called(dialect: Dialect) -> None:
    """SageMaker's own notebooks send it as octets."""
    assert told(V2, FLOATS, dialect, media=b"application/octet-stream") == ANSWER


@pytest.mark.parametrize(
    ("dialect", "status"), [(Dialect.INVOCATIONS, 200), (Dialect.VERTEX, 415), (Dialect.V1, 400)]
)
def test_csv_is_for_invocations_alone(dialect: Dialect, status: int) -> None:
    answer = ask(b"p,q\n1,2\n", FLOATS, dialect, media=b"text/csv")
    assert answer.status == status


def test_other_json_is_v1_for_vertex_and_a_frame_for_invocations() -> None:
    instances = {"instances": [{"x": [1, 2]}]}
    for dialect in CONTAINERS:
        assert told(instances, FLOATS, dialect) == {"predictions": [[1, 2]]}
    frame = {"dataframe_records": [{"p": 1, "q": 2}]}
    assert told(frame, FLOATS, Dialect.INVOCATIONS) == {"predictions": [[1, 2]]}
    assert "expected one of instances and inputs" in refusal(frame, FLOATS, Dialect.VERTEX)


def test_inputs_that_only_look_like_v2_are_rows() -> None:
    named = {"inputs": [{"name": "x", "shape": [1]}]}
    assert "$.inputs" in refusal(named, FLOATS, Dialect.INVOCATIONS)


@pytest.mark.parametrize("dialect", [Dialect.V1, *CONTAINERS])
def test_an_output_that_json_cannot_carry_is_refused_before_anything_runs(
    dialect: Dialect,
) -> None:
    half = echo(("x", "FP32", (-1, 2)), ("y", "BF16", (-1,)))
    body = {"inputs": {"x": [[1, 2]], "y": [1]}}
    assert "via JSON is not supported" in refusal(body, half, dialect)
