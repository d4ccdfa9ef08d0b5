"""What the platforms send to a container: SageMaker, MLflow, TensorFlow Serving, Vertex AI."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http
from numpy.typing import NDArray

from gateway import __version__
from tests.operating import load, unload
from tests.server import Server, serving

Array = NDArray[Any]
SAGEMAKER = "application/vnd.sagemaker-triton.binary+json"
VERTEX = "application/vnd.vertex-ai-triton.binary+json"
DEPLOYED = "/v1/endpoints/1234567890/deployedModels/987654321"
PREDICT, HEALTH = f"{DEPLOYED}:predict", f"{DEPLOYED}/health"
FLOATS: Array = np.array([[1.5, -2.25, 3e38, 0], [0.1, 1e-40, -0.0, 7]], np.float32)
ROWS = [[1.5, -2.25, 0.0, 7.0], [1.0, 2.0, 3.0, 4.0]]
FLAT = [*ROWS[0], *ROWS[1]]
X = {"name": "x", "datatype": "FP32", "shape": [2, 4], "data": FLAT}
Y = {"name": "y", "datatype": "FP32", "shape": [2, 4], "data": FLAT}
V2_ANSWER = {"model_name": "echo", "model_version": "1", "outputs": [Y]}
LAST_FIRST = {"s": 4, "r": 3, "q": 2, "p": 1}  # the second of ROWS
GUESTS = [[30, "Ada"], [41, "Łukasz"]]
SERVED = [{"twice_age": [60], "same_name": "Ada"}, {"twice_age": [82], "same_name": "Łukasz"}]


@pytest.fixture(scope="module")
def vertex(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A container as Vertex AI starts it, of a model of one matrix; two replicas."""
    with serving(
        models,
        tmp_path_factory.mktemp("vertex"),
        AIP_PREDICT_ROUTE=PREDICT,
        AIP_HEALTH_ROUTE=HEALTH,
        replicas=2,
        dialects__default_model="echo",
        repository__control="explicit",
        repository__startup='["echo"]',
    ) as running:
        yield running


@pytest.fixture
def client(vertex: Server) -> Iterator[httpx.Client]:
    with vertex.client() as connected:
        yield connected


@pytest.fixture(scope="module")
def tfserving(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A container that speaks as TensorFlow Serving does, of a model of a table's columns.

    One of the routes that the environment names is another by our own setting.
    """
    with serving(
        models,
        tmp_path_factory.mktemp("tfserving"),
        AIP_PREDICT_ROUTE="/theirs",
        AIP_HEALTH_ROUTE="/health-of-theirs",
        dialects__predict_route="/ours",
        dialects__v1="tfserving",
        dialects__default_model="guest",
    ) as running:
        yield running


@pytest.fixture
def table(tfserving: Server) -> Iterator[httpx.Client]:
    with tfserving.client() as connected:
        yield connected


def as_binary(*, outputs: bool) -> tuple[bytes, int]:
    """A binary body for `echo` as Triton's client makes it, and the length of its JSON."""
    x = tritonclient.http.InferInput("x", [2, 4], "FP32")
    x.set_data_from_numpy(FLOATS, binary_data=True)
    y = tritonclient.http.InferRequestedOutput("y", binary_data=outputs)
    body, length = tritonclient.http.InferenceServerClient.generate_request_body([x], outputs=[y])
    return body, length


def read_binary(answer: httpx.Response, length: int) -> Array:
    """The output of a binary answer as Triton's client reads it."""
    found: Array = tritonclient.http.InferenceServerClient.parse_response_body(
        answer.content, header_length=length
    ).as_numpy("y")
    return found


def told(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def check_refusal(answer: httpx.Response, status: int, words: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert set(answer.json()) == {"error", "code", "request_id"}
    assert words in answer.json()["error"]


# SageMaker


def test_sagemaker_asks_whether_the_container_is_up(client: httpx.Client) -> None:
    answer = client.get("/ping")
    assert (answer.status_code, answer.content) == (200, b"\n")
    version = client.get("/version")
    assert (version.status_code, version.text) == (200, __version__)
    assert version.headers["content-type"].startswith("text/plain")


def test_sagemaker_infers_in_json(client: httpx.Client) -> None:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "X-Amzn-SageMaker-Custom-Attributes": "trace=1",
    }
    body = json.dumps({"inputs": [X]})
    assert told(client.post("/invocations", content=body, headers=headers)) == V2_ANSWER
    named = told(client.post("/invocations", json={"id": "7", "inputs": [X]}))
    assert named == V2_ANSWER | {"id": "7"}


def test_sagemaker_infers_in_binary_and_is_told_the_length_by_the_content_type(
    client: httpx.Client,
) -> None:
    body, length = as_binary(outputs=True)
    media = f"{SAGEMAKER};json-header-size={length}"
    answer = client.post("/invocations", content=body, headers={"Content-Type": media})
    assert answer.status_code == 200, answer.text
    prefix = f"{SAGEMAKER};json-header-size="
    assert answer.headers["content-type"].startswith(prefix)
    said = int(answer.headers["content-type"].removeprefix(prefix))
    assert read_binary(answer, said).tobytes() == FLOATS.tobytes()


def test_sagemaker_may_send_in_binary_and_read_json(client: httpx.Client) -> None:
    body, length = as_binary(outputs=False)
    media = f"{SAGEMAKER};json-header-size={length}"
    answer = client.post("/invocations", content=body, headers={"Content-Type": media})
    found = np.array(told(answer)["outputs"][0]["data"], np.float32)
    assert found.tobytes() == FLOATS.tobytes()


@pytest.mark.parametrize(
    "media",
    [
        f"x{SAGEMAKER};json-header-size=10",
        f"{SAGEMAKER};json-header-size=ten",
        f"{SAGEMAKER};json-header-size=-1",
        f"{SAGEMAKER};json-header-size=",
        f"{SAGEMAKER};json-header-size=99999999999",
        SAGEMAKER,
    ],
)
def test_a_binary_type_that_is_nearly_one_is_refused(client: httpx.Client, media: str) -> None:
    body, _ = as_binary(outputs=True)
    answer = client.post("/invocations", content=body, headers={"Content-Type": media})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


def test_a_model_that_is_not_served_is_neither_up_nor_healthy(
    vertex: Server, client: httpx.Client
) -> None:
    assert unload(vertex, "echo").status_code == 200
    try:
        for path in ("/ping", HEALTH):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
            assert int(answer.headers["retry-after"]) >= 1
        for path in ("/invocations", PREDICT):
            answer = client.post(path, json={"inputs": [X]})
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    finally:
        assert load(vertex, "echo").status_code == 200
    assert client.get("/ping").status_code == 200


def test_without_a_default_model_there_are_no_such_paths(server: Server) -> None:
    with server.client() as client:
        for answer in (
            client.get("/ping"),
            client.get("/version"),
            client.get(HEALTH),
            client.post("/invocations", json={"inputs": [X]}),
            client.post(PREDICT, json={"inputs": [X]}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


# MLflow


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["p", "q", "r", "s"], "data": ROWS}},
        {"dataframe_split": {"columns": ["p", "q", "r", "s"], "index": [5, 6], "data": ROWS}},
        {"dataframe_records": [dict(zip("pqrs", row, strict=True)) for row in ROWS]},
        {"dataframe_records": [{"p": 1.5, "q": -2.25, "r": 0, "s": 7}, LAST_FIRST]},
        {"instances": ROWS},
        {"instances": [{"x": row} for row in ROWS]},
        {"inputs": ROWS},
        {"inputs": {"x": ROWS}},
        {"inputs": ROWS, "params": {"temperature": 0}},
    ],
    ids="-".join,
)
def test_mlflow_sends_a_matrix_in_four_forms(client: httpx.Client, body: dict[str, Any]) -> None:
    assert told(client.post("/invocations", json=body)) == {"predictions": ROWS}


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["age", "name"], "data": GUESTS}},
        {"dataframe_split": {"columns": ["name", "age"], "data": [row[::-1] for row in GUESTS]}},
        {"dataframe_records": [{"age": age, "name": name} for age, name in GUESTS]},
        {"instances": [{"age": [age], "name": name} for age, name in GUESTS]},
    ],
    ids=["split", "split otherwise", "records", "instances"],
)
def test_mlflow_s_columns_are_the_inputs_by_their_names(
    table: httpx.Client, body: dict[str, Any]
) -> None:
    assert told(table.post("/invocations", json=body)) == {"predictions": SERVED}


@pytest.mark.parametrize("media", ["text/csv", "text/csv; charset=utf-8"])
def test_mlflow_s_csv_is_a_frame(table: httpx.Client, media: str) -> None:
    lines = [f'"{name}",{age}' for age, name in GUESTS]
    body = "\n".join(["name,age", *lines]).encode()
    answer = table.post("/invocations", content=body, headers={"content-type": media})
    assert told(answer) == {"predictions": SERVED}


def test_mlflow_s_tensors_come_back_as_tensors(table: httpx.Client) -> None:
    inputs = {"age": [[30], [41]], "name": ["Ada", "Łukasz"]}
    expected = {"twice_age": [[60], [82]], "same_name": ["Ada", "Łukasz"]}
    answer = told(table.post("/invocations", json={"inputs": inputs}))
    assert answer == {"predictions": expected}


@pytest.mark.parametrize("media", ["application/json", "application/json; charset=utf-8"])
def test_mlflow_s_json_is_read_by_either_name(client: httpx.Client, media: str) -> None:
    body = json.dumps({"instances": ROWS})
    answer = client.post("/invocations", content=body, headers={"Content-Type": media})
    assert told(answer) == {"predictions": ROWS}


@pytest.mark.parametrize(
    "media",
    [
        "application/json; charset=latin-1",
        "application/json; format=pandas-split",
        "application/x-parquet",
    ],
)
def test_a_type_that_mlflow_does_not_know_is_refused(client: httpx.Client, media: str) -> None:
    answer = client.post("/invocations", content=b"{}", headers={"Content-Type": media})
    check_refusal(answer, 415, "header content-type")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "got none of them"),
        ({"inputs": ROWS, "instances": ROWS}, "expected one of"),
        ({"dataframe_split": {"columns": ["p"], "data": ROWS}}, "expected 1 values"),
        ({"dataframe_records": [{"p": 1}, {"q": 1}]}, "$.dataframe_records[1]"),
        ({"instances": [["1", "2", "3", "4"]]}, "expected a number"),
        ({"inputs": [[1, 2, 3]]}, "unexpected shape for input 'x' for model 'echo'"),
    ],
    ids=["nothing", "both", "narrow", "uneven", "texts", "short"],
)
def test_what_mlflow_would_refuse_is_refused(
    client: httpx.Client, body: dict[str, Any], words: str
) -> None:
    check_refusal(client.post("/invocations", json=body), 400, words)


# TensorFlow Serving


@pytest.mark.parametrize("path", ["echo", "echo/versions/1"])
def test_tensorflow_serving_predicts_by_rows(table: httpx.Client, path: str) -> None:
    body = {"signature_name": "serving_default", "instances": ROWS}
    assert told(table.post(f"/v1/models/{path}:predict", json=body)) == {"predictions": ROWS}
    named = {"instances": [{"x": row} for row in ROWS]}
    assert told(table.post(f"/v1/models/{path}:predict", json=named)) == {"predictions": ROWS}


@pytest.mark.parametrize("path", ["echo", "echo/versions/1"])
def test_tensorflow_serving_predicts_by_columns(table: httpx.Client, path: str) -> None:
    for inputs in (ROWS, {"x": ROWS}):
        answer = table.post(f"/v1/models/{path}:predict", json={"inputs": inputs})
        assert told(answer) == {"outputs": ROWS}


def test_tensorflow_serving_names_several_outputs(table: httpx.Client) -> None:
    rows = {"instances": [{"age": [age], "name": name} for age, name in GUESTS]}
    assert told(table.post("/v1/models/guest:predict", json=rows)) == {"predictions": SERVED}
    columns = {"inputs": {"age": [[30], [41]], "name": [{"b64": "QWRh"}, "Łukasz"]}}
    answer = told(table.post("/v1/models/guest%3Apredict", json=columns))
    expected = {"twice_age": [[60], [82]], "same_name": ["Ada", "Łukasz"]}
    assert answer == {"outputs": expected}


def test_tensorflow_serving_tells_the_state_of_versions(table: httpx.Client) -> None:
    status = {"error_code": "OK", "error_message": ""}
    row = {"version": "1", "state": "AVAILABLE", "status": status}
    expected = {"name": "echo", "ready": True, "model_version_status": [row]}
    assert told(table.get("/v1/models/echo")) == expected
    assert told(table.get("/v1/models/echo/versions/1")) == expected
    assert "echo" in told(table.get("/v1/models"))["models"]
    check_refusal(table.get("/v1/models/nobody"), 404, "unknown model: 'nobody' is not found")
    check_refusal(table.get("/v1/models/echo/versions/9"), 404, "version 9 is not found")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty body"),
        (b"{}", "got neither"),
        (b'{"instances": [], "inputs": []}', "got both"),
        (b'{"instances": {"x": 1}}', "expected an array of rows"),
        (b'{"instances": [[1, 2, 3, 4]], "signature_name": "classify"}', "$.signature_name"),
    ],
    ids=["empty", "neither", "both", "no rows", "another signature"],
)
def test_what_tensorflow_serving_would_refuse_is_refused(
    table: httpx.Client, body: bytes, words: str
) -> None:
    check_refusal(table.post("/v1/models/echo:predict", content=body), 400, words)


# Vertex AI


def test_vertex_asks_whether_the_container_is_healthy(client: httpx.Client) -> None:
    assert client.get(HEALTH).status_code == 200
    assert client.post(HEALTH).status_code == 405
    assert client.get(PREDICT).status_code == 405


def test_vertex_predicts_by_instances(client: httpx.Client) -> None:
    body = {"instances": ROWS, "parameters": {"confidence": 0.5}}
    assert told(client.post(PREDICT, json=body)) == {"predictions": ROWS}
    named = {"instances": [{"x": row} for row in ROWS]}
    assert told(client.post(PREDICT, json=named)) == {"predictions": ROWS}


def test_vertex_infers_by_v2(client: httpx.Client) -> None:
    assert told(client.post(PREDICT, json={"inputs": [X]})) == V2_ANSWER


def test_vertex_infers_in_binary_and_is_told_the_length_by_the_ordinary_header(
    client: httpx.Client,
) -> None:
    body, length = as_binary(outputs=True)
    media = f"{VERTEX};json-header-size={length}"
    answer = client.post(PREDICT, content=body, headers={"Content-Type": media})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    said = int(answer.headers["inference-header-content-length"])
    assert read_binary(answer, said).tobytes() == FLOATS.tobytes()


def test_vertex_s_routes_are_beside_all_others(client: httpx.Client) -> None:
    assert told(client.post("/v2/models/echo/infer", json={"inputs": [X]})) == V2_ANSWER
    answer = client.post("/v1/models/echo:predict", json={"instances": ROWS})
    assert told(answer) == {"predictions": ROWS}


def test_a_route_of_our_own_goes_before_the_environment_s(table: httpx.Client) -> None:
    rows = {"instances": [{"age": [age], "name": name} for age, name in GUESTS]}
    assert told(table.post("/ours", json=rows)) == {"predictions": SERVED}
    assert table.post("/theirs", json=rows).status_code == 404
    assert table.get("/health-of-theirs").status_code == 200
