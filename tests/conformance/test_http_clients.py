"""Clients of no special kind: httpx, requests, aiohttp, the standard library, and curl."""

import asyncio
import gzip
import http.client
import json
import subprocess
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from tests.server import WATCHDOG_S, Server, get, request

Array = NDArray[Any]
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


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session of `requests` that heeds no proxy of the environment."""
    with requests.Session() as found:
        found.trust_env = False
        yield found


def test_requests_infers(any_server: Server, session: requests.Session) -> None:
    """It asks for compressed answers unasked, and would pay for them."""
    url = address(any_server) + INFER
    answer = session.post(url, json=json.loads(BODY), timeout=WATCHDOG_S)
    assert answer.json() == ANSWER
    assert "content-encoding" not in answer.headers


def test_requests_may_send_in_chunks(server: Server, session: requests.Session) -> None:
    chunks = iter([BODY[:10], BODY[10:]])
    answer = session.post(address(server) + INFER, data=chunks, timeout=WATCHDOG_S)
    assert answer.json() == ANSWER


@pytest.mark.parametrize(
    "coding", ["gzip", "GZIP", "deflate", "identity"], ids=["gzip", "upper case", "deflate", "none"]
)
@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "in chunks"])
def test_requests_may_send_compressed(
    any_server: Server, session: requests.Session, coding: str, chunked: bool
) -> None:
    made = {"gzip": gzip.compress(BODY), "deflate": zlib.compress(BODY), "identity": BODY}
    packed = made[coding.lower()]
    answer = session.post(
        address(any_server) + INFER,
        data=iter([packed[:7], packed[7:]]) if chunked else packed,
        headers={"Content-Encoding": coding},
        timeout=WATCHDOG_S,
    )
    assert answer.json() == ANSWER


def test_a_coding_that_nobody_reads_is_refused_and_the_readable_ones_are_told(
    server: Server, session: requests.Session
) -> None:
    headers = {"Content-Encoding": "br"}
    url = address(server) + INFER
    answer = session.post(url, data=BODY, headers=headers, timeout=WATCHDOG_S)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert answer.headers["accept-encoding"] == "gzip, deflate"


ROW: Array = np.array([[1.5, -2.25, np.nan, 7]], np.float32)


def raw(session: requests.Session, server: Server, model: str, body: Any) -> requests.Response:
    return session.post(
        f"{address(server)}/v2/models/{model}/infer",
        data=body,
        headers={"Inference-Header-Content-Length": "0"},
        timeout=WATCHDOG_S,
    )


def raw_output(answer: requests.Response) -> tuple[dict[str, Any], bytes]:
    """What the JSON of an answer says of its only output, and its bytes."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.content[:length])["outputs"]
    blob = answer.content[length:]
    assert output["parameters"] == {"binary_data_size": len(blob)}
    return output, blob


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "in chunks"])
def test_a_raw_body_is_one_row_of_the_one_input(
    any_server: Server, session: requests.Session, chunked: bool
) -> None:
    body = ROW.tobytes()
    answer = raw(session, any_server, "echo", iter([body[:5], body[5:]]) if chunked else body)
    output, blob = raw_output(answer)
    assert (output["name"], output["shape"], blob) == ("y", [1, 4], body)


def test_a_raw_body_may_be_a_string(server: Server, session: requests.Session) -> None:
    text = "ein Satz, 語".encode()
    output, blob = raw_output(raw(session, server, "text", text))
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 1])
    assert blob == len(text).to_bytes(4, "little") + text


def test_a_raw_body_may_be_a_whole_tensor_without_a_batch_axis(
    server: Server, session: requests.Session
) -> None:
    body = ROW[0, :3].tobytes()
    output, blob = raw_output(raw(session, server, "fixed", body))
    assert (output["shape"], blob) == ([3], body)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("pair", "must only have 1 input (found 1) to be deduced but got 2 inputs in 'pair'"),
        ("of_bytes", "For BYTE datatype raw input 'x', the model must have input shape [1]"),
        ("free", "can not be deduced because there are more than one variable-sized dimension"),
        ("echo", "input byte size mismatch for input 'x' for model 'echo'. Expected 16, got 12"),
    ],
)
def test_a_raw_body_that_says_too_little_is_refused(
    server: Server, session: requests.Session, model: str, words: str
) -> None:
    answer = raw(session, server, model, bytes(12))
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_httpx_may_ask_many_at_once(any_server: Server) -> None:
    async def one(client: httpx.AsyncClient, number: int) -> bool:
        x = X | {"data": [number] * 4}
        answer = await client.post(address(any_server) + INFER, json={"inputs": [x]})
        (y,) = answer.json()["outputs"]
        return bool(y["data"] == [float(number)] * 4)

    async def ask() -> list[bool]:
        async with httpx.AsyncClient(timeout=WATCHDOG_S, trust_env=False) as client:
            return await asyncio.gather(*(one(client, number) for number in range(40)))

    assert asyncio.run(ask()) == [True] * 40


def test_aiohttp_may_ask_many_at_once(any_server: Server) -> None:
    """Compressed and in chunks, as it sends what it is told to compress."""

    async def one(client: aiohttp.ClientSession, number: int) -> bool:
        body = {"inputs": [X | {"data": [number] * 4}]}
        compress = ("gzip", "deflate", None)[number % 3]
        async with client.post(INFER, json=body, compress=compress) as answer:
            (y,) = (await answer.json())["outputs"]
            return bool(y["data"] == [float(number)] * 4)

    async def ask() -> list[bool]:
        patience = aiohttp.ClientTimeout(WATCHDOG_S)
        async with aiohttp.ClientSession(address(any_server), timeout=patience) as client:
            return await asyncio.gather(*(one(client, number) for number in range(40)))

    assert asyncio.run(ask()) == [True] * 40


def test_aiohttp_may_ask_whether_it_may_send(server: Server) -> None:
    async def ask() -> Any:
        async with (
            aiohttp.ClientSession(address(server)) as client,
            client.post(INFER, data=BODY, expect100=True) as answer,
        ):
            return await answer.json()

    assert asyncio.run(asyncio.wait_for(ask(), WATCHDOG_S)) == ANSWER


@dataclass(frozen=True)
class Told:
    """What curl wrote: the answers' bodies, its own figures, and its account of the talk."""

    body: str
    figures: list[str]
    talk: str


def curl(*arguments: str, write: str = "%{http_code}", stdin: bytes = b"") -> Told:
    """Run curl, without its user's configuration and proxies; it must succeed."""
    done = subprocess.run(
        ["curl", "-q", "--noproxy", "*", "-sv", "-w", f"\n{write}\n", *arguments],
        input=stdin,
        capture_output=True,
        timeout=WATCHDOG_S,
        check=True,
    )
    body, _, figures = done.stdout.decode().rstrip("\n").rpartition("\n")
    return Told(body, figures.split(), done.stderr.decode(errors="replace"))


@pytest.fixture(scope="module")
def large_body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a body above 1 MB, for which curl asks whether it may."""
    file = tmp_path_factory.mktemp("curl") / "body.json"
    file.write_bytes(BODY + b" " * 1_100_000)
    return file


def test_curl_infers_by_what_one_types(any_server: Server) -> None:
    told = curl("-d", BODY.decode(), address(any_server) + INFER)
    assert (json.loads(told.body), told.figures) == (ANSWER, ["200"])
    assert "application/x-www-form-urlencoded" in told.talk


def test_curl_asks_first_and_then_sends_much(any_server: Server, large_body: Path) -> None:
    told = curl("--data-binary", f"@{large_body}", address(any_server) + INFER)
    assert json.loads(told.body) == ANSWER
    assert "> Expect: 100-continue" in told.talk
    assert "< HTTP/1.1 100 Continue" in told.talk


def test_curl_is_refused_before_it_sends_much(narrow: Server, large_body: Path) -> None:
    url = address(narrow) + INFER
    told = curl("--data-binary", f"@{large_body}", url, write="%{http_code} %{size_upload}")
    assert told.figures == ["413", "0"]
    assert json.loads(told.body)["code"] == "too_large"
    assert "100 Continue" not in told.talk


def test_curl_reads_its_refusal_though_it_did_not_ask_before_it_sent(
    narrow: Server, large_body: Path
) -> None:
    told = curl("-H", "Expect:", "--data-binary", f"@{large_body}", address(narrow) + INFER)
    assert (json.loads(told.body)["code"], told.figures) == ("too_large", ["413"])


def test_curl_uses_its_connection_again(server: Server) -> None:
    url = address(server) + INFER
    told = curl("-d", BODY.decode(), url, url, url, write="%{num_connects}")
    lines = [*told.body.splitlines(), *told.figures]
    assert [json.loads(line) for line in lines[::2]] == [ANSWER] * 3
    assert lines[1::2] == ["1", "0", "0"]


def test_curl_may_send_compressed_and_offers_to_read_it(server: Server) -> None:
    told = curl(
        *("-H", "Content-Encoding: gzip", "--data-binary", "@-", "--compressed"),
        address(server) + INFER,
        stdin=gzip.compress(BODY),
    )
    assert json.loads(told.body) == ANSWER
    assert "content-encoding" not in told.talk.partition("< HTTP/1.1 200")[2].lower()


def test_curl_may_send_what_it_does_not_know_the_length_of(server: Server) -> None:
    told = curl("-X", "POST", "-T", "-", address(server) + INFER, stdin=BODY)
    assert json.loads(told.body) == ANSWER
    assert "> Transfer-Encoding: chunked" in told.talk


def test_curl_s_offer_to_speak_http_2_is_ignored(server: Server) -> None:
    told = curl("--http2", "-d", BODY.decode(), address(server) + INFER)
    assert json.loads(told.body) == ANSWER
    assert "> Upgrade: h2c" in told.talk


def test_curl_may_speak_http_1_0(server: Server) -> None:
    told = curl("--http1.0", "-d", BODY.decode(), address(server) + INFER)
    assert json.loads(told.body) == ANSWER


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("/v2/models/echo/infer", {"POST", "OPTIONS"}),
        ("/v1/models/echo:predict", {"POST", "OPTIONS"}),
        ("/v2/models/echo", {"GET", "HEAD", "OPTIONS"}),
        ("/readyz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_every_path_tells_its_methods(server: Server, target: str, allowed: set[str]) -> None:
    told = curl("-X", "OPTIONS", address(server) + target)
    assert (told.body, told.figures) == ("", ["204"])
    (line,) = [line for line in told.talk.splitlines() if line.lower().startswith("< allow:")]
    assert {one.strip() for one in line[8:].split(",")} >= allowed - {"OPTIONS"}
    refused = curl("-X", "DELETE", address(server) + target)
    assert (json.loads(refused.body)["code"], refused.figures) == ("method_not_allowed", ["405"])


@pytest.mark.parametrize("target", ["/readyz", "/v2", "/v2/models", "/v2/models/echo/ready", "/"])
def test_curl_gets_the_head_of_whatever_can_be_read(server: Server, target: str) -> None:
    told = curl("-I", address(server) + target)
    assert told.figures == ["200"]
    assert "content-type: application/json" in told.body.lower()


def test_the_head_of_an_inference_is_refused_without_a_body(server: Server) -> None:
    told = curl("-I", address(server) + INFER)
    assert told.figures == ["405"]
    assert "allow: POST" in told.body
