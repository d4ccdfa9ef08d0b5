"""Endpoints: what other dialects ask beside predictions."""

import asyncio

import pytest

from gateway import __version__
from gateway.flow import Flow, Served
from gateway.types import Version
from gateway.wire.paths import Routes
from gateway.wire.port import Port
from tests.wire.asgi import ask
from tests.wire.harness import DOUBLE, Answer, Echo, numbers, port_of

OLD = Version("m", "1", DOUBLE.signature)
NEW = Version("m", "2", DOUBLE.signature)
ROUTES = Routes("m", predict=("v1", "endpoints", "7:predict"), health=("v1", "endpoints", "7"))


def of(flow: Flow | None = None, routes: Routes = ROUTES) -> Port:
    return port_of(flow or Echo(OLD, NEW), routes=routes)


def get(path: str, method: str = "GET", port: Port | None = None, body: bytes = b"") -> Answer:
    return asyncio.run(ask((port or of()).app, method, path.encode(), body))


def unloaded() -> Flow:
    return Flow({"m": Served(None, {}, {"1": "unloaded"})}, {})


def state(version: str) -> dict[str, object]:
    status = {"error_code": "OK", "error_message": ""}
    return {"version": version, "state": "AVAILABLE", "status": status}


def test_a_model_of_v1_is_ready_and_says_which_versions_are() -> None:
    states = [state("1"), state("2")]
    assert get("/v1/models/m").json == {"name": "m", "ready": True, "model_version_status": states}
    (found,) = get("/v1/models/m/versions/01").json["model_version_status"]
    assert found == state("1")
    assert get("/v1/models").json == {"models": ["m"]}


def test_a_model_of_v1_that_is_not_ready_is_503_and_one_unknown_404() -> None:
    assert get("/v1/models/m", port=of(unloaded())).status == 503
    assert get("/v1/models/n").status == 404
    assert get("/v1/models/m/versions/9").status == 404


@pytest.mark.parametrize("path", ["/v1/models/m:explain", "/v1/models/m/versions/1%3Aexplain"])
def test_an_explanation_is_not_implemented(path: str) -> None:
    answer = get(path, "POST", body=b"{}")
    assert (answer.status, answer.code) == (501, "not_implemented")


def test_a_prediction_of_v1_answers_by_either_path() -> None:
    body = b'{"instances":[[1,2]]}'
    for path in ("/v1/models/m:predict", "/v1/models/m/versions/1:predict"):
        assert get(path, "POST", body=body).json == {"predictions": [[1, 2]]}
    assert get("/v1/models/n:predict", "POST", body=body).code == "unknown_model"


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/models/m:predict", "POST"),
        ("/v1/models/m/versions/1:predict", "POST"),
        ("/invocations", "POST"),
        ("/v1/endpoints/7:predict", "POST"),
        ("/ping", "GET, HEAD"),
        ("/v1/models/m", "GET, HEAD"),
    ],
)
def test_a_wrong_method_hears_the_right_ones(path: str, allow: str) -> None:
    for method in ("PUT", "OPTIONS"):
        assert get(path, method).headers["allow"] == allow
    assert get(path, "TRACE").status == 405


def test_a_ping_is_a_line_when_the_default_model_is_ready() -> None:
    for path in ("/ping", "/v1/endpoints/7"):
        answer = get(path)
        assert (answer.status, answer.body) == (200, b"\n")
        assert get(path, port=of(unloaded())).status == 503
    assert get("/ping", "HEAD").status == 200


def test_a_health_route_that_is_called_like_ours_is_the_model_s() -> None:
    routes = Routes("m", health=("health",))
    assert get("/health", port=of(routes=routes)).body == b"\n"
    assert get("/health", port=of(unloaded(), routes)).status == 503
    assert get("/livez", port=of(unloaded(), routes)).status == 200


def test_the_version_is_plain_text() -> None:
    answer = get("/version")
    assert answer.body == __version__.encode()
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/ping", "/version", "/invocations", "/v1/endpoints/7"])
def test_without_a_default_model_there_are_no_such_paths(path: str) -> None:
    port = of(routes=Routes())
    assert get(path, port=port).code == "not_found"
    assert get(path, "POST", port, numbers(1, 2)).code == "not_found"


def test_a_default_model_that_is_not_known_is_404_by_its_name() -> None:
    port = of(routes=Routes("nobody"))
    assert "'nobody'" in get("/invocations", "POST", port, b"{}").json["error"]
    assert get("/ping", port=port).status == 404
