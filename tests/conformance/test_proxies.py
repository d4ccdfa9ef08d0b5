"""Behind nginx and HAProxy, as operators run it: nothing is lost or changed on the way."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from numpy.typing import NDArray

from tests.conformance.proxies import Proxy, closed_port, haproxy, nginx
from tests.faults.processes import callers_of, kill_replica
from tests.faults.traffic import traffic
from tests.journeys.plus import renew
from tests.operating import wait_until
from tests.server import WATCHDOG_S, Answer, Server, get, infer, request, serving, tensor
from tests.zoo import write_few

pytestmark = pytest.mark.slow

Array = NDArray[Any]
Starts = Callable[..., AbstractContextManager[Proxy]]

INFER = "/v2/models/echo/infer"
ASK = infer("echo", tensor("x", "FP32", [1, 4], [1, 2, 3, 4]))
BODY = ASK.partition(b"\r\n\r\n")[2]
OUTPUT = [1.0, 2.0, 3.0, 4.0]
MIB = 1 << 20
CALLERS = 8
# What a proxy says for itself, and what is between two neighbours only.
OWN = {"connection", "date", "keep-alive", "server"}

# Requests are read whole before they are passed on, or passed on as they come.
WAYS: dict[str, tuple[Starts, tuple[str, ...]]] = {
    "nginx": (nginx, ()),
    "nginx, unbuffered": (nginx, ("proxy_request_buffering off",)),
    "haproxy": (haproxy, ()),
    "haproxy, buffered": (haproxy, ("option http-buffer-request",)),
}
STREAMING = ["nginx, unbuffered", "haproxy"]
# A prediction changes nothing, so that one may be sent again: proxies must be told.
RETRIES = {
    "nginx": (nginx, ("proxy_next_upstream error timeout http_503 non_idempotent",)),
    "haproxy": (
        haproxy,
        ("retry-on all-retryable-errors", "retries 3", "option redispatch 1"),
    ),
}


@pytest.fixture(scope="module", params=WAYS)
def proxy(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Each way before the one server of all."""
    start, options = WAYS[request.param]
    with start(tmp_path_factory.mktemp("proxy"), [server.port], *options) as running:
        yield running


@pytest.fixture(scope="module", params=WAYS)
def narrow_proxy(
    request: pytest.FixtureRequest, narrow: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Each way before one that takes a body of 1 MiB."""
    start, options = WAYS[request.param]
    with start(tmp_path_factory.mktemp("narrow_proxy"), [narrow.port], *options) as running:
        yield running


@pytest.fixture
def leaving(tmp_path: Path) -> Iterator[Server]:
    """A gateway that says for two seconds that it is about to leave."""
    with serving(write_few(tmp_path / "models"), tmp_path, pre_drain_s=2) as running:
        yield running


def chunked(*parts: bytes, ends: bool = True) -> bytes:
    """A request to infer, in chunks, whose last may still be to come."""
    head = f"POST {INFER} HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    return head + b"".join(chunks) + b"0\r\n\r\n" * ends


def essence(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """What of an answer no proxy may change."""
    kept = {name: value for name, value in answer.headers.items() if name not in OWN}
    return answer.status, kept, answer.body


def asked(proxy: Proxy, request: bytes) -> Answer:
    with proxy.connect() as wire:
        return wire.ask(request)


# Bodies


def test_json_passes(proxy: Proxy) -> None:
    assert asked(proxy, ASK).outputs == {"y": OUTPUT}


@pytest.mark.parametrize("binary_in", [False, True], ids=["JSON in", "binary in"])
@pytest.mark.parametrize("binary_out", [False, True], ids=["JSON out", "binary out"])
@pytest.mark.parametrize("compression", [None, "gzip"], ids=["plain", "gzip"])
def test_binary_tensors_and_the_header_of_their_length_pass(
    proxy: Proxy, compression: str | None, binary_in: bool, binary_out: bool
) -> None:
    array = np.random.default_rng(1).random((100, 300)).astype(np.float32)
    x = tritonclient.http.InferInput("x", [100, 300], "FP32")
    x.set_data_from_numpy(array, binary_data=binary_in)
    y = tritonclient.http.InferRequestedOutput("y", binary_data=binary_out)
    with tritonclient.http.InferenceServerClient(
        f"127.0.0.1:{proxy.port}", connection_timeout=WATCHDOG_S, network_timeout=WATCHDOG_S
    ) as client:
        result = client.infer("free", [x], outputs=[y], request_compression_algorithm=compression)
    assert result.as_numpy("y").tobytes() == array.tobytes()


def test_a_raw_body_passes(proxy: Proxy) -> None:
    row = np.array([[1.5, -2.25, 0, 7]], np.float32).tobytes()
    answer = asked(proxy, request(INFER, row, ["Inference-Header-Content-Length: 0"]))
    length = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.body[length:] == row


@pytest.mark.parametrize("parts", [[BODY], [BODY[:10], BODY[10:]], [bytes([b]) for b in BODY]])
def test_a_body_in_chunks_passes(proxy: Proxy, parts: list[bytes]) -> None:
    assert asked(proxy, chunked(*parts)).outputs == {"y": OUTPUT}


def test_a_large_body_in_chunks_passes(proxy: Proxy) -> None:
    """Larger than what a proxy holds in memory."""
    spaces = [b" " * 65_536] * 64
    assert asked(proxy, chunked(BODY, *spaces)).outputs == {"y": OUTPUT}


def test_a_compressed_body_in_chunks_passes(proxy: Proxy) -> None:
    packed = gzip.compress(BODY)
    raw = chunked(packed[:10], packed[10:])
    raw = raw.replace(b"Host: gateway", b"Host: gateway\r\nContent-Encoding: gzip")
    assert asked(proxy, raw).outputs == {"y": OUTPUT}


def test_a_client_that_asks_first_is_told_to_go_on(proxy: Proxy) -> None:
    head, _, body = request(INFER, BODY, ["Expect: 100-continue"]).partition(b"\r\n\r\n")
    with proxy.connect() as wire:
        wire.send(head + b"\r\n\r\n")
        assert wire.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        wire.send(body)
        assert wire.answer().outputs == {"y": OUTPUT}


def test_an_old_client_is_answered(proxy: Proxy) -> None:
    old = f"POST {INFER} HTTP/1.0\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    with proxy.connect() as wire:
        assert wire.ask(old).outputs == {"y": OUTPUT}
        assert wire.is_ended()


def test_requests_in_a_pipeline_are_answered_in_order(proxy: Proxy) -> None:
    numbers = range(10)
    with proxy.connect() as wire:
        for number in numbers:
            wire.send(infer("echo", tensor("x", "FP32", [1, 4], [number] * 4), id=str(number)))
        assert [wire.answer().json["id"] for _ in numbers] == [str(one) for one in numbers]


# Refusals

REFUSED = {
    "unknown model": infer("nobody", tensor("x", "FP32", [1, 4], OUTPUT)),
    "no JSON": request(INFER, b"{"),
    "wrong shape": infer("echo", tensor("x", "FP32", [1, 5], [*OUTPUT, 5])),
    "no such path": get("/nowhere"),
    "wrong method": request(INFER, method="DELETE"),
    "unknown coding": request(INFER, b"x", ["Content-Encoding: br"]),
    "no gzip": request(INFER, b"x", ["Content-Encoding: gzip"]),
    "wrong length": request(INFER, BODY, ["Inference-Header-Content-Length: 99999999999"]),
    "a model that fails": infer("shelf", tensor("x", "INT64", [1, 1], [99])),
    "not allowed": request("/v2/repository/models/echo/unload"),
    "not built": request("/v1/models/echo:explain", b"{}"),
    "head": request("/v2/models/nobody", method="HEAD"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_passes_unchanged(proxy: Proxy, server: Server, case: str) -> None:
    head, _, body = REFUSED[case].partition(b"\r\n\r\n")
    named = head + b"\r\nx-request-id: mine-1\r\n\r\n" + body
    ours = server.ask(named)
    assert ours.status >= 400
    with proxy.connect() as wire:
        assert essence(wire.ask(named)) == essence(ours)
        assert wire.ask(ASK).status == 200  # and the connection serves on


@pytest.mark.parametrize("mib", [2, 8])
def test_a_body_that_is_declared_too_large_is_refused_in_our_words(
    narrow_proxy: Proxy, mib: int
) -> None:
    """The client reads its refusal, however much of the body is still under way."""
    with narrow_proxy.client() as client:
        answer = client.post(INFER, content=BODY + b" " * (mib * MIB))
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/json")
    assert answer.json()["code"] == "too_large"


def test_a_body_in_chunks_that_grows_too_large_is_refused_in_our_words(
    narrow_proxy: Proxy,
) -> None:
    with narrow_proxy.client() as client:
        answer = client.post(INFER, content=iter([BODY, *[b" " * 65_536] * 32]))
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/json")
    assert answer.json()["code"] == "too_large"


@pytest.mark.parametrize("narrow_proxy", STREAMING, indirect=True)
def test_what_is_passed_on_as_it_comes_is_refused_before_it_ends(narrow_proxy: Proxy) -> None:
    """The end of this body never comes: so the gateway has seen it while it was coming."""
    with narrow_proxy.connect() as wire:
        wire.send(chunked(BODY, *[b" " * 65_536] * 24, ends=False))
        answer = wire.answer()
    assert (answer.status, answer.json["code"]) == (413, "too_large")


# Connections


def test_a_proxy_s_connection_is_used_again_and_again(proxy: Proxy, server: Server) -> None:
    (replica,) = [one["pid"] for one in server.replicas()]
    with proxy.connect() as wire:
        for _ in range(2):  # HAProxy trusts a connection only once it has carried a request
            assert wire.ask(ASK).status == 200
        before = callers_of(replica, server)
        assert before != frozenset()
        for _ in range(50):
            assert wire.ask(ASK).status == 200
        assert wire.ask(REFUSED["no JSON"]).status == 400
        assert callers_of(replica, server) == before


@pytest.mark.parametrize("way", ["nginx", "haproxy"])
def test_replicas_are_replaced_and_a_proxy_s_callers_notice_nothing(
    twins: Server, tmp_path: Path, way: str
) -> None:
    """Without a retry: the proxy keeps its connections until it is asked to give them up."""
    start, options = WAYS[way]
    with (
        start(tmp_path, [twins.port], *options) as proxy,
        traffic(proxy.port, ASK, CALLERS) as tally,
    ):
        before = {one["pid"] for one in twins.replicas()}
        renew(twins)
        twins.wait_for_replicas(2, without=before)
        tally.wait_for_more(10 * CALLERS)
    wait_until(lambda: len(twins.replicas()) == 2, twins.replicas)  # nobody holds them any more
    assert tally.failures == []
    assert set(tally.answers) == {200}, tally.bodies
    assert len(tally.bodies) == 1
    assert tally.connections == CALLERS  # what was closed was closed behind the proxy


# Gateways that are not there


@pytest.mark.parametrize("way", RETRIES)
def test_a_gateway_that_is_not_there_is_passed_over(
    server: Server, tmp_path: Path, way: str
) -> None:
    start, options = RETRIES[way]
    with closed_port() as nobody, start(tmp_path, [nobody, server.port], *options) as proxy:
        assert [asked(proxy, ASK).outputs for _ in range(20)] == [{"y": OUTPUT}] * 20


@pytest.mark.parametrize("way", RETRIES)
def test_a_replica_is_killed_and_a_proxy_s_callers_notice_nothing(
    twins: Server, server: Server, tmp_path: Path, way: str
) -> None:
    start, options = RETRIES[way]
    with (
        start(tmp_path, [twins.port, server.port], *options) as proxy,
        traffic(proxy.port, ASK, CALLERS) as tally,
    ):
        kill_replica(twins, 0)
        tally.wait_for_more(10 * CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200}, tally.bodies


def test_a_gateway_leaves_and_the_callers_of_nginx_notice_nothing(
    leaving: Server, server: Server, tmp_path: Path
) -> None:
    start, options = RETRIES["nginx"]
    with (
        start(tmp_path, [leaving.port, server.port], *options) as proxy,
        traffic(proxy.port, ASK, CALLERS) as tally,
    ):
        assert leaving.stop() == 0
        tally.wait_for_more(10 * CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200}, tally.bodies


def test_haproxy_sees_that_a_gateway_is_about_to_leave_and_its_callers_notice_nothing(
    leaving: Server, server: Server, tmp_path: Path
) -> None:
    """Its check of /readyz is told so while everything is served: no retry is needed."""
    with (
        haproxy(tmp_path, [leaving.port, server.port]) as proxy,
        traffic(proxy.port, ASK, CALLERS) as tally,
    ):

        def check_of(gateway: Server) -> tuple[str, str]:
            row = proxy.counters()[str(gateway.port)]
            return row["status"], row["check_code"]

        wait_until(lambda: check_of(leaving) == ("UP", "200"), proxy.counters)
        leaving.process.terminate()
        wait_until(lambda: check_of(leaving) == ("DOWN", "503"), proxy.counters)
        assert leaving.process.wait(WATCHDOG_S) == 0
        assert check_of(server) == ("UP", "200")
        tally.wait_for_more(10 * CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200}, tally.bodies
