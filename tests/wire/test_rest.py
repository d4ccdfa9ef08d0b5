"""Rest: every route, over any ASGI server. That the lane says the same: tests/laws."""

import asyncio
import gzip
from typing import Any

import pytest

from gateway import __version__
from gateway.errors import GatewayError, NotReady
from gateway.flow import Flow
from gateway.types import Arm, Version
from gateway.wire.port import Policy
from gateway.wire.rest import Rest
from gateway.wire.runner import Message
from gateway.wire.stock import Stock
from tests.wire.asgi import Client, ask, part, scope
from tests.wire.bodies import version
from tests.wire.clerk import Clerk, Question
from tests.wire.harness import DOUBLE, Answer, Echo, numbers, port_of

ODD = Version("a/b c%é", "10", DOUBLE.signature)
OLD = Version("a/b c%é", "9", DOUBLE.signature)


def rest(flow: Flow | None = None) -> Rest:
    app = port_of(flow or Echo(DOUBLE, OLD, ODD)).app
    assert isinstance(app, Rest)
    return app


def stocked(clerk: Clerk, is_explicit: bool = True, max_body_bytes: int = 1000) -> Rest:
    """The app before a desk, where callers may load and unload."""
    flow = Echo(DOUBLE, OLD, ODD)
    stock = Stock(clerk, flow, is_explicit, 10)
    app = port_of(flow, Policy(max_body_bytes=max_body_bytes), stock=stock).app
    assert isinstance(app, Rest)
    return app


def get(path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return asyncio.run(ask(rest(), method, path.encode(), body, pairs))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", {"status": "alive"}),
        ("/livez", {"live": True}),
        ("/health", {"live": True}),
        ("/v2/health/live", {"live": True}),
        ("/readyz", {"ready": True}),
        ("/ready", {"ready": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models", {"models": ["m", "a/b c%é"]}),
        ("/v2/models?x=1", {"models": ["m", "a/b c%é"]}),
        ("/v2/models/m/ready", {"name": "m", "ready": True}),
        ("/v2/models/m/versions/01/ready", {"name": "m", "ready": True}),
        ("/v2/models/a%2Fb%20c%25%C3%A9/ready", {"name": "a/b c%é", "ready": True}),
        ("/v2/models/a%2fb%20c%25%c3%a9/versions/9/ready", {"name": "a/b c%é", "ready": True}),
        ("/v2/models/%6D/%72eady", {"name": "m", "ready": True}),
    ],
)
def test_a_route_answers(path: str, expected: dict[str, Any]) -> None:
    answer = get(path)
    assert (answer.status, answer.json) == (200, expected)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.body))


EXTENSIONS = [
    *("binary_tensor_data", "classification", "model_configuration", "model_repository"),
    *("parameters", "schedule_policy", "statistics"),
]


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_says_what_it_is(path: str) -> None:
    expected = {"name": "gateway", "version": __version__, "extensions": EXTENSIONS}
    assert get(path).json == expected


def test_a_server_that_unloads_when_it_is_told_says_so() -> None:
    extensions = asyncio.run(ask(stocked(Clerk()), "GET", b"/v2")).json["extensions"]
    assert extensions == [*EXTENSIONS, "model_repository(unload_dependents)"]


@pytest.mark.parametrize(
    "path", ["/v2/models/a%2Fb%20c%25%C3%A9", "/v2/models/a%2Fb%20c%25%C3%A9/versions/10"]
)
def test_a_model_says_what_it_takes(path: str) -> None:
    answer = get(path).json
    assert answer["versions"] == ["9", "10"]
    assert answer["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]


@pytest.mark.parametrize("version_path", ["", "/versions/1", "/versions/001"])
def test_an_inference_is_answered(version_path: str) -> None:
    answer = get(f"/v2/models/m{version_path}/infer", "POST", numbers(1, 2), x_request_id="me")
    assert (answer.status, answer.json["outputs"][0]["data"]) == (200, [1, 2])
    assert answer.headers == {
        "content-type": "application/json",
        "x-gateway-version": "1",
        "x-request-id": "me",
        "content-length": str(len(answer.body)),
    }


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/nowhere", "not_found"),
        ("/V2", "not_found"),
        ("/v2/models/", "not_found"),
        ("/v2/models/m/", "not_found"),
        ("/v2/models//ready", "not_found"),
        ("/livez/", "not_found"),
        ("//", "not_found"),
        ("/v2/models/m/versions//ready", "not_found"),
        ("/v2/models/m/x", "not_found"),
        ("/v2/models/a/b", "not_found"),
        ("/v2/models/n", "unknown_model"),
        ("/v2/models/n/ready", "unknown_model"),
        ("/v2/models/m/versions/2", "unknown_version"),
        ("/v2/models/m/versions/2/ready", "unknown_version"),
        ("/v2/models/m/versions/a%2Fb/ready", "unknown_version"),
        ("/v2/models/stats/", "not_found"),
        ("/v2/models/m/stats/now", "not_found"),
        ("/v2/models/n/stats", "unknown_model"),
        ("/v2/models/m/versions/2/stats", "unknown_version"),
        ("/v2/models/n/config", "unknown_model"),
        ("/v2/models/m/versions/2/config", "unknown_version"),
        ("/v2/repository", "not_found"),
        ("/v2/repository/models/m", "not_found"),
    ],
)
def test_what_is_not_there_is_a_404(path: str, code: str) -> None:
    answer = get(path)
    assert (answer.status, answer.code) == (404, code)
    assert answer.json["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v2/models/%zz", "/%", "/%ff", "/v2/models/%C3/ready"])
def test_a_path_that_cannot_be_read_is_a_400(path: str) -> None:
    answer = get(path)
    assert (answer.status, answer.code) == (400, "malformed")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/livez", {"GET", "HEAD"}),
        ("DELETE", "/v2/models/m", {"GET", "HEAD"}),
        ("TRACE", "/v2", {"GET", "HEAD"}),
        ("GET", "/v2/models/m/infer", {"POST"}),
        ("PUT", "/v2/models/m/versions/1/infer", {"POST"}),
        ("HEAD", "/v2/models/m/infer", {"POST"}),
        ("POST", "/v2/models/stats", {"GET", "HEAD"}),
        ("POST", "/v2/models/m/config", {"GET", "HEAD"}),
        ("GET", "/v2/repository/index", {"POST"}),
        ("GET", "/v2/repository/models/m/load", {"POST"}),
        ("DELETE", "/v2/repository/models/m/unload", {"POST"}),
    ],
)
def test_another_method_is_a_405_that_says_which(method: str, path: str, allowed: set[str]) -> None:
    answer = get(path, method)
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    if method != "HEAD":
        assert answer.code == "method_not_allowed"
        assert method in answer.json["error"]


@pytest.mark.parametrize(
    ("path", "allowed"), [("/v2", "GET, HEAD"), ("/v2/models/m/infer", "POST")]
)
def test_a_client_may_ask_what_it_may_ask(path: str, allowed: str) -> None:
    answer = get(path, "OPTIONS", x_request_id="me")
    assert (answer.status, answer.body) == (204, b"")
    assert set(answer.headers) == {"allow", "x-request-id"}
    assert set(answer.headers["allow"].split(", ")) == set(allowed.split(", "))


def test_head_is_get_without_a_body() -> None:
    whole, bare = get("/v2", x_request_id="me"), get("/v2", "HEAD", x_request_id="me")
    assert (bare.status, bare.headers, bare.body) == (200, whole.headers, b"")


def test_a_server_without_a_model_lives_and_is_not_ready() -> None:
    flow = Echo()
    flow.models = {}
    app = rest(flow)
    answer = asyncio.run(ask(app, "GET", b"/readyz"))
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "not_ready", "1")
    assert asyncio.run(ask(app, "GET", b"/livez")).status == 200


@pytest.mark.parametrize("given", ["me", "a-b_c.9", "x" * 128])
def test_a_request_keeps_its_name(given: str) -> None:
    assert get("/nowhere", x_request_id=given).json["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", 'a"b', "a\\b", "x" * 129])
def test_a_name_that_cannot_be_echoed_is_replaced(given: str) -> None:
    answer = get("/nowhere", x_request_id=given)
    assert answer.json["request_id"] == answer.headers["x-request-id"] != given


def test_a_name_given_by_the_server_comes_first() -> None:
    client = Client()
    asking = scope(
        "/livez", "GET", state={"request_id": b"lane"}, headers=[(b"x-request-id", b"me")]
    )
    asyncio.run(rest()(asking, client.receive, client.send))
    assert (b"x-request-id", b"lane") in client.sent[0]["headers"]


@pytest.mark.parametrize(
    ("path", "status"), [("/v2/models/m/ready", 200), ("/v2/models/a b/ready", 404), ("/%zz", 404)]
)
def test_a_server_without_raw_paths_will_do(path: str, status: int) -> None:
    """Its path is decoded already."""
    client = Client()
    asyncio.run(rest()(scope(path, "GET"), client.receive, client.send))
    assert client.status == status


def test_a_server_may_begin_and_end_a_lifespan() -> None:
    sent: list[str] = []
    messages: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message["type"])

    asyncio.run(rest()({"type": "lifespan", "asgi": {}, "state": {}}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_model_with_a_name_that_none_can_have_is_not_found() -> None:
    for name in ("stats", "%00", "a%5Cb", "%2E%2E"):
        answer = get(f"/v2/models/{name}/infer", "POST", b"{}")
        assert (answer.status, answer.code) == (404, "not_found")


def test_an_error_of_a_route_that_we_did_not_name_is_the_servers() -> None:
    class Broken(Echo):
        def find(self, model: str, version: str | None) -> Arm:
            raise ValueError("secret")

    client = Client()
    with pytest.raises(ValueError, match="secret"):
        asyncio.run(rest(Broken())(scope("/v2/models/m", "GET"), client.receive, client.send))
    assert client.status == 500
    assert b'{"error":"internal error","code":"internal","request_id":"' in client.body


def test_an_error_of_an_inference_that_we_did_not_name_is_a_500() -> None:
    class Broken(Echo):
        def find(self, model: str, version: str | None) -> Arm:
            raise ValueError("secret")

    client = Client(part(numbers(1, 2)))
    asking = scope("/v2/models/m/versions/1/infer")
    asyncio.run(rest(Broken())(asking, client.receive, client.send))
    assert client.status == 500
    assert b"secret" not in client.body


def test_every_error_of_ours_has_a_handler() -> None:
    class Full(Echo):
        def find(self, model: str, version: str | None) -> Arm:
            raise GatewayError("broken")

    client = Client()
    asyncio.run(rest(Full())(scope("/v2/models/m", "GET"), client.receive, client.send))
    assert client.status == 500
    assert b'"code":"internal"' in client.body


def test_models_without_inputs_or_outputs_are_described() -> None:
    app = rest(Echo(version()))
    answer = asyncio.run(ask(app, "GET", b"/v2/models/m"))
    assert answer.json["inputs"] == []


@pytest.mark.parametrize(
    ("path", "question"),
    [
        ("/v2/models/stats", Question("statistics", None, None, b"{}")),
        ("/v2/models/m/stats", Question("statistics", "m", None, b"{}")),
        ("/v2/models/m/versions/01/stats?x", Question("statistics", "m", "1", b"{}")),
        (
            "/v2/models/a%2Fb%20c%25%C3%A9/versions/9/stats",
            Question("statistics", "a/b c%é", "9", b"{}"),
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_statistics_are_what_the_desk_says(path: str, question: Question, method: str) -> None:
    clerk = Clerk(b'{"model_stats":[]}')
    answer = asyncio.run(ask(stocked(clerk), method, path.encode()))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body == (clerk.says if method == "GET" else b"")
    assert clerk.asked == [question]


@pytest.mark.parametrize("path", ["/v2/models/m/config", "/v2/models/m/versions/01/config"])
def test_a_model_says_how_it_is_configured(path: str) -> None:
    answer = get(path)
    assert (answer.status, answer.json["name"]) == (200, "m")
    assert answer.json["input"][0]["data_type"] == "TYPE_FP32"


@pytest.mark.parametrize("is_explicit", [False, True])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready":false}'])
def test_the_index_is_what_the_desk_says(is_explicit: bool, body: bytes) -> None:
    clerk = Clerk(b'[{"name":"m"}]')
    app = stocked(clerk, is_explicit)
    answer = asyncio.run(ask(app, "POST", b"/v2/repository/index", body))
    assert (answer.status, answer.body) == (200, clerk.says)
    assert clerk.asked == [Question("index", None, None, b'{"ready":false}')]


@pytest.mark.parametrize(
    ("verb", "parameters"), [("load", b'{"parameters":{}}'), ("unload", b"{}")]
)
def test_models_come_and_go_through_the_desk(verb: str, parameters: bytes) -> None:
    clerk = Clerk(b'{"name":"a b","x":true}')
    target = f"/v2/repository/models/a%20b/{verb}".encode()
    answer = asyncio.run(ask(stocked(clerk), "POST", target))
    assert (answer.status, answer.body) == (200, clerk.says)
    assert [(one.about, *one[1:]) for one in clerk.asked] == [(verb, "a b", None, parameters)]


@pytest.mark.parametrize("verb", ["load", "unload"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "Model name cannot be empty"),
        ("..", "model name must not contain path traversal characters"),
        ("%2e%2e", "model name must not contain path traversal characters"),
        ("..%2F..%2Fetc", "model name must not contain path traversal characters"),
        ("a%5Cb", "model name must not contain path traversal characters"),
        ("a%00", "model name must not contain path traversal characters"),
        ("stats", "model name must not contain path traversal characters"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(verb: str, name: str, words: str) -> None:
    clerk = Clerk()
    target = f"/v2/repository/models/{name}/{verb}".encode()
    answer = asyncio.run(ask(stocked(clerk), "POST", target))
    assert (answer.status, answer.code, clerk.asked) == (400, "malformed", [])
    assert answer.json["error"].startswith(words)


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_without_explicit_control_the_body_is_not_even_read(verb: str) -> None:
    client = Client()
    app = stocked(Clerk(), is_explicit=False)
    asyncio.run(app(scope(f"/v2/repository/models/m/{verb}"), client.receive, client.send))
    assert client.status == 403
    assert b'"code":"forbidden"' in client.body
    assert b"explicit model load / unload is not allowed if polling is enabled" in client.body


@pytest.mark.parametrize(
    "path", ["index", "models/m/load", "models/m/unload"], ids=["index", "load", "unload"]
)
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"[]", {}, 400, "malformed"),
        (b"[" * 500, {}, 400, "malformed"),
        (b" " * 1001, {}, 413, "too_large"),
        (b"{}", {b"content-encoding": b"br"}, 415, "unsupported_media_type"),
        (b"{}", {b"content-encoding": b"gzip"}, 400, "malformed"),
        (gzip.compress(b" " * 1001), {b"content-encoding": b"gzip"}, 413, "too_large"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    path: str, body: bytes, headers: dict[bytes, bytes], status: int, code: str
) -> None:
    clerk = Clerk()
    target = f"/v2/repository/{path}".encode()
    answer = asyncio.run(ask(stocked(clerk), "POST", target, body, list(headers.items())))
    assert (answer.status, answer.code, clerk.asked) == (status, code, [])


@pytest.mark.parametrize("verb", ["load", "unload"])
@pytest.mark.parametrize("origin", [b"http://evil.example", b"null", b"http://h"])
def test_no_web_page_loads_or_unloads(verb: str, origin: bytes) -> None:
    clerk = Clerk()
    target, headers = f"/v2/repository/models/m/{verb}".encode(), [(b"origin", origin)]
    answer = asyncio.run(ask(stocked(clerk), "POST", target, b"{}", headers))
    assert (answer.status, answer.code, clerk.asked) == (403, "forbidden", [])


def test_a_client_that_leaves_before_its_body_is_whole_loads_nothing() -> None:
    clerk, client = Clerk(), Client(part(b"{", more=True))
    asking = scope("/v2/repository/models/m/load")
    asyncio.run(stocked(clerk)(asking, client.receive, client.send))
    assert (client.status, clerk.asked) == (499, [])


def test_what_the_desk_refuses_with_is_an_answer_of_ours() -> None:
    clerk = Clerk(NotReady("the supervisor is gone", retry_after_s=3))
    answer = asyncio.run(ask(stocked(clerk), "GET", b"/v2/models/stats"))
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "not_ready", "3")
    assert answer.json["error"] == "the supervisor is gone"
