"""Loads that cannot be: each is refused with its reason, writes nothing outside, and what
is served goes on.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server import Server, serving
from tests.zoo import write_zoo

TEXT = base64.b64encode(b"no model").decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose callers load and unload."""
    folder = tmp_path_factory.mktemp("control")
    settings = {"repository__control": "explicit", "repository__startup": '["echo"]'}
    with serving(write_zoo(folder / "models"), folder, **settings) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as asking:
        yield asking


def brings(**parameters: object) -> bytes:
    return json.dumps({"parameters": parameters}).encode()


def file(name: str, contents: object = TEXT) -> bytes:
    return json.dumps({"parameters": {f"file:{name}": contents}}).encode()


def check_refusal(answer: httpx.Response, status: int, code: str, *words: str) -> None:
    said: dict[str, Any] = answer.json()
    assert (answer.status_code, said["code"]) == (status, code), said
    assert [word for word in words if word not in said["error"]] == [], said


def check_served(client: httpx.Client) -> None:
    assert client.get("/v2/models/echo/ready").status_code == 200
    index = {(one["name"], one["state"]) for one in client.post("/v2/repository/index").json()}
    assert ("echo", "READY") in index


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "expected an object"),
        (b"{", "expected JSON text"),
        (b"[" * 100_000, "JSON nesting depth exceeds"),
        (b'{"parameters":null}', "$.parameters"),
        (brings(config=1), "parameter 'config' has invalid type"),
        (brings(config="{"), "$.parameters.config"),
        (brings(config="[" * 50_000), "$.parameters.config"),
        (brings(config='{"max_batch_size":"many"}'), "max_batch_size"),
        (brings(confg="{}"), "unrecognized load parameter 'confg'"),
        (file("1/model.onnx", 3), "parameter 'file:1/model.onnx' has invalid type"),
        (file("1/model.onnx", "?"), "base64"),
        (file("../outside/model.onnx"), "file:"),
        (file("1/../../outside.onnx"), "file:"),
        (file("/etc/outside"), "file:"),
        (file("1/" + "a" * 256), "255"),
        (file("model.onnx"), "<version>/<name>"),
        (file("1//model.onnx"), "file:"),
        (file("1/a\0b"), "file:"),
    ],
)
def test_a_load_that_cannot_be_understood_is_a_400(
    client: httpx.Client, body: bytes, words: str
) -> None:
    answer = client.post("/v2/repository/models/echo/load", content=body)
    check_refusal(answer, 400, "malformed", words)
    check_served(client)


@pytest.mark.parametrize("verb", ["load", "unload"])
@pytest.mark.parametrize("name", ["%2E%2E", "a%2Fb", "a%5Cb", "a%00b", "stats"])
def test_a_name_that_leads_elsewhere_is_a_400(client: httpx.Client, verb: str, name: str) -> None:
    answer = client.post(f"/v2/repository/models/{name}/{verb}")
    check_refusal(answer, 400, "malformed", "model name must not contain path traversal")
    check_served(client)


def test_a_model_that_is_not_there_cannot_be_loaded(client: httpx.Client) -> None:
    answer = client.post("/v2/repository/models/nobody/load")
    words = "failed to load 'nobody', failed to poll from model repository"
    check_refusal(answer, 400, "load_failed", words)
    check_refusal(client.post("/v2/repository/models/nobody/unload"), 404, "unknown_model")
    check_served(client)


def test_a_file_that_is_no_model_is_not_loaded(client: httpx.Client) -> None:
    answer = client.post("/v2/repository/models/echo/load", content=file("1/model.onnx"))
    check_refusal(answer, 400, "load_failed", "failed to load 'echo'")
    check_served(client)


def test_too_large_a_body_is_a_413(client: httpx.Client) -> None:
    body = file("1/model.onnx", "A" * (24 << 20))
    answer = client.post("/v2/repository/models/echo/load", content=body)
    check_refusal(answer, 413, "too_large", "expected at most")
    check_served(client)
