"""Servers that run a version for us, and do their worst: no caller hangs, and few hear of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import models_onnx
from tests.elsewhere import (
    HANG_S,
    Asked,
    Behaviour,
    Elsewhere,
    always,
    answer,
    cut_off,
    dripping,
    hanging,
    output,
    resetting,
    saying,
    tensors,
    well,
    write_remote,
)
from tests.faults.traffic import traffic
from tests.operating import metrics, wait_until
from tests.server import WATCHDOG_S, Answer, Server, infer, serving, tensor
from tests.zoo import write_zoo

TIMEOUT_S = 0.5  # of the version that is treated badly
MOST_BYTES = 10_000
HALVES = ["FP16", "BF16"]  # which no JSON has


def take(model: str, *numbers: float) -> bytes:
    return infer(model, tensor("x", "FP32", [len(numbers), 1], numbers))


def check(told: Answer, *numbers: float) -> None:
    assert told.outputs == {"y": [2.0 * number for number in numbers]}


def code_of(told: Answer) -> tuple[int, str]:
    assert told.json.keys() - {"stage"} == {"error", "code", "request_id"}
    assert "127.0.0.1" not in told.json["error"]  # where it is, is nobody's business
    return told.status, told.json["code"]


class Scene:
    """A gateway with three versions elsewhere: `lone` at one server, `pair` at two."""

    def __init__(self, server: Server, lone: Elsewhere, pair: tuple[Elsewhere, Elsewhere]) -> None:
        self.server = server
        self.lone = lone
        self.pair = pair


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("remote")
    with Elsewhere() as lone, Elsewhere() as one, Elsewhere() as other:
        models = folder / "models"
        write_remote(
            models, lone.url, name="lone", timeout_s=TIMEOUT_S, max_answer_bytes=MOST_BYTES, rows=64
        )
        write_remote(models, one.url, other.url, name="pair", rows=64)
        # without breakers: what one test breaks is not held against the next one
        with serving(models, folder, default_deadline_s=60, breaker__mode="off") as server:
            yield Scene(server, lone, (one, other))


@pytest.fixture(autouse=True)
def _in_good_health(scene: Scene) -> Iterator[None]:
    yield
    for server in (scene.lone, *scene.pair):
        server.die()
        server.behave = well
        server.revive()


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (resetting, (500, "model_failed")),
        (cut_off, (500, "model_failed")),
        (dripping, (500, "model_failed")),
        (hanging, (500, "model_failed")),
        (saying(answer(500)), (500, "model_failed")),
        (saying(answer(503)), (500, "model_failed")),
        (saying(answer(503, retry_after=9)), (429, "overloaded")),
        (saying(answer(429)), (429, "overloaded")),
        (saying(answer(504)), (504, "deadline_exceeded")),
        (saying(answer(404)), (500, "model_failed")),
        (saying(answer(302, location="http://127.0.0.1:1/")), (500, "model_failed")),
        (saying(answer(200)), (500, "model_failed")),
        (always(b"garbage\r\n\r\n"), (500, "model_failed")),
        (saying(tensors()), (500, "model_failed")),
        (saying(tensors(output([2, 1], 8), blobs=bytes(8))), (500, "model_failed")),
        (saying(tensors(output([1, 1, 1], 4), blobs=bytes(4))), (500, "model_failed")),
        (saying(tensors(output([1, 1], 8, "y", "FP64"), blobs=bytes(8))), (500, "model_failed")),
        (saying(tensors(output([1, 1], 4), blobs=bytes(3))), (500, "model_failed")),
        (saying(tensors(output([1, 9999], 39_996), blobs=bytes(39_996))), (500, "model_failed")),
    ],
)  # fmt: skip
def test_whatever_a_server_does_its_caller_hears_and_the_next_is_answered(
    scene: Scene, behave: Behaviour, expected: tuple[int, str]
) -> None:
    scene.lone.behave = behave
    told = scene.server.ask(take("lone", 1))
    assert code_of(told) == expected
    if expected[0] == 429:
        assert told.headers["retry-after"].isdigit()
    scene.lone.behave = well
    check(scene.server.ask(take("lone", 1, 2)), 1, 2)


def test_where_nobody_listens_the_caller_hears_at_once(scene: Scene) -> None:
    scene.lone.die()
    assert code_of(scene.server.ask(take("lone", 1))) == (500, "model_failed")
    scene.lone.revive()
    check(scene.server.ask(take("lone", 3)), 3)


def test_one_poisoned_row_fails_alone(scene: Scene) -> None:
    numbers = [*range(17), -1, *range(18, 50)]
    with scene.server.connect() as wire:
        wire.send(b"".join(take("pair", number) for number in numbers))
        for number in numbers:
            told = wire.answer()
            if number < 0:
                assert code_of(told) == (500, "model_failed")
            else:
                check(told, number)


def test_the_request_of_a_caller_who_leaves_is_given_up(scene: Scene) -> None:
    scene.pair[0].behave = scene.pair[1].behave = hanging
    gone = sum(server.gone for server in scene.pair)
    asked = sum(len(server.inferences) for server in scene.pair)
    with scene.server.connect() as wire:
        wire.send(take("pair", 1))
        wait_until(
            lambda: sum(len(server.inferences) for server in scene.pair) > asked,
            scene.pair.__repr__,
        )
    wait_until(lambda: sum(server.gone for server in scene.pair) > gone, scene.pair.__repr__)


def inferences_of(servers: tuple[Elsewhere, Elsewhere]) -> list[Asked]:
    return sorted(
        [one for server in servers for one in server.inferences], key=lambda one: one.at_s
    )


def test_a_deadline_ends_the_request_it_is_told_of(scene: Scene) -> None:
    scene.pair[0].behave = scene.pair[1].behave = hanging
    gone = sum(server.gone for server in scene.pair)
    asked = len(inferences_of(scene.pair))
    body = take("pair", 1).replace(b"Host:", b"x-request-timeout-ms: 300\r\nHost:")
    assert code_of(scene.server.ask(body)) == (504, "deadline_exceeded")
    wait_until(lambda: sum(server.gone for server in scene.pair) > gone, scene.pair.__repr__)
    told = [int(one.headers["x-request-timeout-ms"]) for one in inferences_of(scene.pair)[asked:]]
    assert len(told) == 1
    assert 0 < told[0] <= 295
    assert HANG_S > WATCHDOG_S


@pytest.mark.slow
def test_a_server_that_dies_under_load_fails_nobody(scene: Scene) -> None:
    one, other = scene.pair
    with traffic(scene.server.port, take("pair", 1, 2), callers=8) as tally:
        tally.wait_for_more(300)
        one.die()
        tally.wait_for_more(600)
    assert tally.failures == []
    assert set(tally.answers) == {200}
    assert len(other.inferences) > 0
    assert metrics(scene.server)['gateway_retries_total{model="pair",version="1"}'] >= 1


@pytest.mark.slow
def test_a_server_that_drains_under_load_fails_nobody(tmp_path: Path) -> None:
    """It says so by 503, with a Retry-After, as this gateway does."""
    with Elsewhere() as one, Elsewhere() as other:
        models = write_remote(tmp_path / "models", one.url, other.url)
        with (
            serving(models, tmp_path) as server,
            traffic(server.port, take("twice", 1), callers=8) as tally,
        ):
            tally.wait_for_more(300)
            one.behave = saying(answer(503, b'{"code": "draining"}', retry_after=1))
            tally.wait_for_more(600)
        assert (tally.failures, set(tally.answers)) == ([], {200})


def test_a_total_outage_makes_a_tenth_more_requests(tmp_path: Path) -> None:
    calls = 200
    with Elsewhere() as one, Elsewhere() as other:
        models = write_remote(tmp_path / "models", one.url, other.url, rows=1)
        with (
            serving(models, tmp_path, breaker__mode="off") as server,
            server.connect() as wire,
        ):
            before = len(one.inferences) + len(other.inferences)
            one.behave = other.behave = resetting
            for number in range(calls):
                assert code_of(wire.ask(take("twice", number))) == (500, "model_failed")
            sent = len(one.inferences) + len(other.inferences) - before
            retries = metrics(server)['gateway_retries_total{model="twice",version="1"}']
    assert sent == calls + retries
    assert 0 < retries <= 0.1 * calls + 3


def test_what_fails_everywhere_is_asked_no_more_and_comes_back_by_itself(tmp_path: Path) -> None:
    with Elsewhere() as one, Elsewhere() as other:
        models = write_remote(tmp_path / "models", one.url, other.url)
        with serving(models, tmp_path, breaker__open_s=1) as server, server.connect() as wire:
            one.behave = other.behave = resetting
            codes = {code_of(wire.ask(take("twice", number))) for number in range(100)}
            assert codes == {(500, "model_failed"), (503, "breaker_open")}
            with server.admin() as admin:
                text = admin.get("/admin/v1/breakers").text
            assert "remote/0" in text
            assert "remote/1" in text
            one.behave = other.behave = well
            wait_until(lambda: wire.ask(take("twice", 1)).status == 200, lambda: text)


def remote_of(root: Path, url: str, datatype: str) -> None:
    """Declare that the zoo's model of a datatype runs in another gateway."""
    side = f'name = "{{}}"\ndatatype = "{datatype}"\nshape = [-1, 2]\n'
    folder = root / f"of_{datatype.lower()}" / "1"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(
        f'[batching]\nmax_batch_size = 8\n[execution]\nexecutor = "remote"\n'
        f"[remote]\nendpoints = {json.dumps([url])}\n"
        f"[[remote.inputs]]\n{side.format('x')}[[remote.outputs]]\n{side.format('y')}"
    )


ROWS: dict[str, list[Any]] = {
    "BOOL": [True, False, False, True],
    "BYTES": ["", "é😀", "a\0b", '"'],
    "FP64": [1.5, -2.25, 1e300, 0],
    "INT64": [-(2**63), 2**63 - 1, 0, 1],
    "UINT64": [2**64 - 1, 0, 1, 2],
}


def test_a_gateway_may_run_the_versions_of_another(tmp_path: Path) -> None:
    zoo = write_zoo(tmp_path / "zoo")
    (tmp_path / "one").mkdir()
    with serving(zoo, tmp_path / "one") as far:
        for kind in (*ROWS, *HALVES):
            remote_of(tmp_path / "models", f"http://127.0.0.1:{far.port}", kind)
        (tmp_path / "two").mkdir()
        with serving(tmp_path / "models", tmp_path / "two") as near:
            for kind, data in ROWS.items():
                request = infer(f"of_{kind.lower()}", tensor("x", kind, [2, 2], data))
                assert near.ask(request).json == far.ask(request).json
                assert near.ask(request).outputs == {"y": data}
            bits = np.array([0x0001, 0x7E01, 0xFF80, 0x8000], "<u2").tobytes()
            for kind in HALVES:
                told = near.ask(binary(f"of_{kind.lower()}", kind, bits))
                assert told.body.endswith(bits)


def binary(model: str, kind: str, blob: bytes) -> bytes:
    """Ask for two rows of two, in binary both ways."""
    member = {
        "name": "x",
        "datatype": kind,
        "shape": [2, 2],
        "parameters": {"binary_data_size": len(blob)},
    }
    wanted = [{"name": "y", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [member], "outputs": wanted}).encode()
    lines = (
        f"POST /v2/models/{model}/infer HTTP/1.1",
        "Host: x",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(head) + len(blob)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + head + blob


def test_a_version_that_runs_elsewhere_may_shadow_one_that_runs_here(tmp_path: Path) -> None:
    models_onnx.twice(tmp_path / "models" / "twice" / "1" / "model.onnx")
    (tmp_path / "models" / "twice" / "1" / "model.toml").write_text(
        "[batching]\nmax_batch_size = 8"
    )
    with Elsewhere() as far:
        folder = write_remote(tmp_path / "far", far.url) / "twice" / "1"
        folder.rename(tmp_path / "models" / "twice" / "2")
        with serving(tmp_path / "models", tmp_path) as server, server.admin() as admin:
            routes = "/admin/v1/models/twice/routes"
            before = admin.get(routes)
            document = before.json() | {
                "reason": "compare",
                "variants": [{"name": "stable", "version": "1", "weight": 100}],
                "shadows": [{"name": "new", "version": "2", "sample_ratio": 1}],
            }
            changed = admin.put(routes, json=document, headers={"if-match": before.headers["etag"]})
            assert changed.status_code == 200, changed.text

            def calls() -> dict[str, int]:
                (shadow,) = admin.get("/admin/v1/models/twice/shadows").json()["shadows"]
                found: dict[str, int] = shadow["calls"]
                return found

            check(server.ask(take("twice", 3)), 3)
            wait_until(lambda: sum(calls().values()) > 0, calls)
            assert calls() == {"agreed": 1, "disagreed": 0, "failed": 0, "dropped": 0}
