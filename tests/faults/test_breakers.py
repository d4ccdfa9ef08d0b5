"""A version that fails is asked no more, its callers are answered, and it comes back by itself."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from onnx import TensorProto

from tests.operating import metrics, wait_until
from tests.server import Server, request, serving, tensor
from tests.zoo import write_echo, write_patient, write_shelf

pytestmark = pytest.mark.slow

POISON = 99  # beyond the shelf of version 2, and nothing special to version 1
ROUTES = "/admin/v1/models/shelf/routes"
STATE = 'gateway_breaker_state{{executor="{}",model="{}",version="{}"}}'
FOR_EVER = 1 << 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A canary that fails at whatever lies beyond its shelf, and a stable version that does not."""
    folder = tmp_path_factory.mktemp("breakers")
    models = folder / "models"
    write_echo(models, "shelf", TensorProto.INT64, ["rows", 1])
    write_shelf(models, version="2")
    for name, settings in (("inlined", ""), ("threaded", '[execution]\nexecutor = "thread"')):
        write_shelf(models, name, settings)
    write_patient(models)
    with serving(models, folder, breaker__open_s=1.0, breaker__slow_start_s=0.5) as running:
        yield running


def take(model: str, number: int, path: str = "") -> bytes:
    body = {"inputs": [tensor("x", "INT64", [1, 1], [number])]}
    return request(f"/v2/models/{model}{path}/infer", json.dumps(body).encode())


def patient(steps: int, *headers: str) -> bytes:
    body = {"inputs": [tensor("x", "INT64", [1], [steps])]}
    return request("/v2/models/patient/infer", json.dumps(body).encode(), headers)


def breakers(server: Server, model: str, version: str = "1") -> list[dict[str, Any]]:
    with server.admin() as admin:
        told = admin.get("/admin/v1/breakers").json()
    assert told["silent"] == []
    return [one for one in told["breakers"] if (one["model"], one["version"]) == (model, version)]


def state(server: Server, model: str, version: str = "1") -> str:
    (one,) = breakers(server, model, version)
    found: str = one["state"]
    return found


def give_all_to_the_canary(server: Server) -> None:
    variants = [
        {"name": "stable", "version": "1", "weight": 0},
        {"name": "canary", "version": "2", "weight": 100},
    ]
    with server.admin() as admin:
        before = admin.get(ROUTES)
        body = {"variants": variants, "fallback": "stable", "reason": "try it"}
        headers = {"if-match": before.headers["etag"]}
        assert admin.put(ROUTES, json=before.json() | body, headers=headers).status_code == 200


def test_callers_of_a_failing_canary_are_answered_and_it_comes_back_when_it_is_well(
    server: Server,
) -> None:
    give_all_to_the_canary(server)
    assert server.ask(take("shelf", 7)).headers["x-gateway-version"] == "2"

    def fails() -> bool:
        answer = server.ask(take("shelf", POISON))
        assert answer.outputs == {"y": [POISON]}
        assert answer.headers["x-gateway-version"] == "1"
        return state(server, "shelf", "2") == "OPEN"

    wait_until(fails, lambda: breakers(server, "shelf", "2"))
    (seen,) = breakers(server, "shelf", "2")
    assert (seen["executor"], seen["failure_ratio"] >= 0.5, seen["calls"] >= 20) == (
        "inline", True, True,
    )  # fmt: skip
    told = metrics(server)
    assert told[STATE.format("inline", "shelf", "2")] == 2
    assert told[STATE.format("inline", "shelf", "1")] == 0
    assert told['gateway_breaker_openings_total{model="shelf",version="2"}'] >= 1

    refused = server.ask(take("shelf", 7, "/versions/2"))
    if refused.status != 200:  # its time may be over just now, and this a probe
        assert (refused.status, refused.json["code"]) == (503, "breaker_open")
        assert int(refused.headers["retry-after"]) >= 1

    def is_well() -> bool:
        assert server.ask(take("shelf", 7)).status == 200
        return state(server, "shelf", "2") == "CLOSED"

    wait_until(is_well, lambda: breakers(server, "shelf", "2"))
    wait_until(
        lambda: server.ask(take("shelf", 7)).headers["x-gateway-version"] == "2",
        lambda: metrics(server),
    )
    counted = metrics(server)
    labels = 'model="shelf",outcome="{}",variant="canary",version="2"'
    for outcome in ("model_failed", "breaker_open", "success"):
        assert counted[f"gateway_inference_requests_total{{{labels.format(outcome)}}}"] > 0


@pytest.mark.parametrize("shelf", ["inlined", "threaded"])
@pytest.mark.parametrize("together", [1, 10])
def test_one_poisoned_row_in_fifty_requests_changes_nothing_for_the_others(
    server: Server, shelf: str, together: int
) -> None:
    """Many more than a breaker needs to judge; each connection has its requests in one write."""
    with server.connections(together) as wires:
        for turn in range(10):
            numbers = [number % 10 for number in range(50)]
            numbers[(turn * 7) % 50] = POISON
            shares = [numbers[at::together] for at in range(together)]
            for step in range(0, 50 // together, 5):
                for wire, share in zip(wires, shares, strict=True):
                    wire.send(b"".join(take(shelf, one) for one in share[step : step + 5]))
                for wire, share in zip(wires, shares, strict=True):
                    for one in share[step : step + 5]:
                        answer = wire.answer()
                        if one == POISON:
                            assert (answer.status, answer.json["code"]) == (500, "model_failed")
                        else:
                            assert answer.outputs == {"y": [one * 10]}
    assert state(server, shelf) == "CLOSED"
    assert metrics(server)[f'gateway_breaker_openings_total{{model="{shelf}",version="1"}}'] == 0


def test_who_waits_behind_one_that_hangs_is_told_before_its_own_time_is_over(
    server: Server,
) -> None:
    """The one thread of the model never comes back: so nobody else shall wait for it."""
    with server.connections(2) as (first, second):
        first.send(patient(FOR_EVER, "x-request-timeout-ms: 300"))
        assert first.answer().status == 504
        answer = second.ask(patient(1))
        assert (answer.status, answer.json["code"]) == (503, "breaker_open")
        assert second.ask(patient(1)).json["code"] == "breaker_open"
    assert state(server, "patient") == "OPEN"
