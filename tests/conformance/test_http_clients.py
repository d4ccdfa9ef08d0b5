"""Clients of no special kind: httpx, the standard library, and what curl and others send."""

import http.client
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server import WATCHDOG_S, Server, get, request

INFER = "/v2/models/echo/infer"
X = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
BODY = json.dumps({"inputs": [X]}).encode()
Y = {"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 2.0, 3.0, 4.0]}
ANSWER = {"model_name": "echo", "model_version": "1", "outputs": [Y]}


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as connected:
        yield connected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", {"status": "alive"}),
        ("/livez", {"live": True}),
        ("/readyz", {"ready": True}),
        ("/health", {"live": True}),
        ("/ready", {"ready": True}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/echo/ready", {"name": "echo", "ready": True}),
        ("/v2/models/echo/versions/1/ready", {"name": "echo", "ready": True}),
        ("/v2/models/echo/versions/01/ready", {"name": "echo", "ready": True}),
    ],
)
def test_probes_are_answered_in_json(client: httpx.Client, target: str, expected: object) -> None:
    answer = client.get(target)
    assert (answer.status_code, answer.json()) == (200, expected)
    assert answer.headers["content-type"] == "application/json"


def test_the_server_tells_what_it_is(client: httpx.Client) -> None:
    about = client.get("/v2").json()
    assert list(about) == ["name", "version", "extensions"]
    assert client.get("/v2/").json() == about


def test_the_models_are_listed(client: httpx.Client) -> None:
    models = client.get("/v2/models").json()["models"]
    assert {"echo", "pair", "two words"} <= set(models)
    assert models == sorted(models)


def test_httpx_infers(client: httpx.Client) -> None:
    answer = client.post(INFER, json={"inputs": [X]})
    assert answer.json() == ANSWER
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-gateway-version"] == "1"


def test_httpx_may_send_in_chunks(client: httpx.Client) -> None:
    answer = client.post(INFER, content=iter([BODY[:10], b"", BODY[10:]]))
    assert answer.json() == ANSWER


def test_no_client_is_sent_what_is_compressed(client: httpx.Client) -> None:
    answer = client.post(INFER, content=BODY, headers={"Accept-Encoding": "gzip, br, zstd"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "text/plain",
        "nonsense",
        "",
    ],
)
def test_a_body_is_read_whatever_it_calls_itself(client: httpx.Client, content_type: str) -> None:
    answer = client.post(INFER, content=BODY, headers={"Content-Type": content_type})
    assert answer.json() == ANSWER


@pytest.mark.parametrize("accept", ["*/*", "text/html", "image/png;q=0.1", "nonsense", ""])
def test_an_answer_comes_whatever_was_hoped_for(client: httpx.Client, accept: str) -> None:
    answer = client.post(INFER, content=BODY, headers={"Accept": accept})
    assert (answer.status_code, answer.json()) == (200, ANSWER)


@pytest.mark.parametrize(
    "target",
    [
        INFER + "?a=b&c",
        INFER + "?",
        "/v2/models/ech%6F/infer",
        "/v2/models/echo/versions/1/infer",
        "/v2/models/echo/versions/001/infer",
        "http://gateway" + INFER,
        "http://elsewhere:9999" + INFER + "?a",
    ],
)
def test_a_target_may_be_written_in_several_ways(server: Server, target: str) -> None:
    assert server.ask(request(target, BODY)).json == ANSWER


def test_the_standard_library_infers(server: Server) -> None:
    plain = urllib.request.Request(f"http://127.0.0.1:{server.port}{INFER}", data=BODY)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(plain, timeout=WATCHDOG_S) as answer:
        assert json.load(answer) == ANSWER


def test_a_connection_is_used_again_and_again(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WATCHDOG_S)
    connection.connect()
    first = connection.sock
    for _ in range(50):
        connection.request("POST", INFER, BODY)
        assert json.load(connection.getresponse()) == ANSWER
    assert connection.sock is first
    connection.close()


def test_what_curl_sends_is_served(server: Server) -> None:
    """Above 1 MB curl asks first whether it may; its form type says nothing of the body."""
    spaces = b" " * 1_100_000
    headers = [
        "User-Agent: curl/8.14.1",
        "Accept: */*",
        "Content-Type: application/x-www-form-urlencoded",
        "Expect: 100-continue",
    ]
    head, _, body = request(INFER, BODY + spaces, headers).partition(b"\r\n\r\n")
    with server.connect() as wire:
        wire.send(head + b"\r\n\r\n")
        assert wire.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        wire.send(body)
        assert wire.answer().json == ANSWER


def test_http_1_0_is_answered_once_and_closed(server: Server) -> None:
    head = f"POST {INFER} HTTP/1.0\r\nContent-Length: {len(BODY)}\r\n\r\n"
    with server.connect() as wire:
        answer = wire.ask(head.encode() + BODY)
        assert (answer.json, answer.closes) == (ANSWER, True)
        assert wire.is_ended()


def test_an_offer_to_speak_http_2_is_ignored(server: Server) -> None:
    offer = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]
    with server.connect() as wire:
        assert wire.ask(request(INFER, BODY, offer)).json == ANSWER
        assert wire.ask(request(INFER, BODY)).json == ANSWER


def test_head_has_the_headers_of_get_and_no_body(server: Server) -> None:
    with server.connect() as wire:
        whole = wire.ask(get("/v2/models/echo"))
        bare = wire.ask(request("/v2/models/echo", method="HEAD"))
        assert wire.ask(get("/v2/health/live")).json == {"live": True}
    names = ("content-type", "content-length")
    assert (bare.status, bare.body) == (200, b"")
    assert [bare.headers[name] for name in names] == [whole.headers[name] for name in names]


def test_a_request_id_is_echoed_and_else_made(client: httpx.Client) -> None:
    mine = client.post(INFER, content=BODY, headers={"x-request-id": "mine-1"})
    made = [client.get("/v2").headers["x-request-id"] for _ in range(3)]
    assert mine.headers["x-request-id"] == "mine-1"
    assert len(set(made)) == 3


@pytest.mark.parametrize("bad", ["a b", '"a"', "a" * 129, "\x80abc"])
def test_a_request_id_that_may_not_be_echoed_is_replaced(client: httpx.Client, bad: str) -> None:
    answer = client.get("/v2", headers={b"x-request-id": bad.encode("latin-1")})
    assert answer.headers["x-request-id"] not in (bad, "")


def test_what_is_no_number_leaves_as_the_tokens_that_v2_clients_read(server: Server) -> None:
    body = BODY.replace(b"[1, 2, 3, 4]", b"[NaN, Infinity, -Infinity, 1.0]")
    assert b'"data":[NaN,Infinity,-Infinity,1.0]' in server.ask(request(INFER, body)).body


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_keep_their_bits_subnormals_too(server: Server, datatype: str) -> None:
    bits = bytes.fromhex("0100ff7f")
    x = {"name": "x", "datatype": datatype, "shape": [1, 2]}
    asked = {
        "inputs": [x | {"parameters": {"binary_data_size": len(bits)}}],
        "parameters": {"binary_data_output": True},
    }
    head = json.dumps(asked).encode()
    target = f"/v2/models/of_{datatype.lower()}/infer"
    raw = request(target, head + bits, [f"Inference-Header-Content-Length: {len(head)}"])
    answer = server.ask(raw)
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    (y,) = json.loads(answer.body[:length])["outputs"]
    assert y == x | {"name": "y", "parameters": {"binary_data_size": len(bits)}}
    assert answer.body[length:] == bits


def test_outputs_come_in_the_model_s_order(client: httpx.Client) -> None:
    inputs: list[dict[str, Any]] = [
        {"name": "b", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]},
        {"name": "a", "datatype": "INT32", "shape": [1, 2], "data": [4, 5]},
    ]
    outputs = [{"name": "twice_b"}, {"name": "twice_a"}]
    answer = client.post("/v2/models/pair/infer", json={"inputs": inputs, "outputs": outputs})
    found = [(one["name"], one["data"]) for one in answer.json()["outputs"]]
    assert found == [("twice_a", [8, 10]), ("twice_b", [2.0, 4.0, 6.0])]


def test_a_scalar_has_no_axes(client: httpx.Client) -> None:
    x = {"name": "x", "datatype": "FP32", "shape": [], "data": [2.5]}
    answer = client.post("/v2/models/scalar/infer", json={"inputs": [x]}).json()
    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [], "data": [2.5]}]


def test_data_may_be_nested_as_its_shape_is(client: httpx.Client) -> None:
    shapes: list[tuple[list[int], object]] = [
        ([2, 4], [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ([1, 4], [[1, 2, 3, 4]]),
        ([2, 4], [1, 2, 3, 4, 5, 6, 7, 8]),
    ]
    for shape, data in shapes:
        answer = client.post(INFER, json={"inputs": [X | {"shape": shape, "data": data}]}).json()
        assert answer["outputs"][0]["data"] == [float(n) for n in range(1, shape[0] * 4 + 1)]


@pytest.mark.parametrize("priority", ["0", "1", "4", "99"])
def test_a_priority_and_a_timeout_by_header_are_taken(client: httpx.Client, priority: str) -> None:
    headers = {"x-request-priority": priority, "x-request-timeout-ms": "20000"}
    assert client.post(INFER, content=BODY, headers=headers).json() == ANSWER


def test_a_timeout_that_passes_in_the_queue_is_a_504(server: Server) -> None:
    """The thread is busy with the first; the second is no longer wanted when it is free."""
    slow = {"name": "x", "datatype": "INT64", "shape": [1], "data": [200_000]}
    body = json.dumps({"inputs": [slow]}).encode()
    hasty = json.dumps({"inputs": [slow], "parameters": {"timeout": 1}}).encode()
    target = "/v2/models/patient/infer"
    with server.connect() as wire:
        wire.send(request(target, body) + request(target, hasty))
        assert wire.answer().outputs == {"y": [200_000]}
        answer = wire.answer()
    assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
    assert "Request timeout expired" in answer.json["error"]
