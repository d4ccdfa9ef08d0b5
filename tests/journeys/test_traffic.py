"""A version on its way: deployed, shadowed, split, rolled back; and it outlives a kill -9."""

import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto

from bench.chances import binomial
from tests import zoo
from tests.operating import metrics, wait_for_state, wait_until
from tests.server import ROOT, Server, serving

ROUTES = "/admin/v1/models/digits/routes"
DIGITS = {
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [1, 64], "data": np.arange(64.0).tolist()}
    ]
}


def ask(client: httpx.Client, headers: dict[str, str] | None = None) -> tuple[str, str, str]:
    """Ask for digits; return the revision, the variant and the version that answered."""
    answer = client.post("/v2/models/digits/infer", json=DIGITS, headers=headers)
    assert answer.status_code == 200, answer.text
    named = answer.headers
    return (
        named.get("x-gateway-revision", ""),
        named.get("x-gateway-variant", ""),
        named["x-gateway-version"],
    )


def ask_often(server: Server, calls: int, connections: int = 4) -> Counter[tuple[str, str, str]]:
    """Ask over several connections, so that every replica is asked; count who answered."""

    def some(_: int) -> list[tuple[str, str, str]]:
        with server.client() as client:
            return [ask(client) for _ in range(calls // connections)]

    with ThreadPoolExecutor(connections) as pool:
        return Counter(one for found in pool.map(some, range(connections)) for one in found)


def route(server: Server) -> dict[str, Any]:
    """The routing document in force."""
    with server.admin() as admin:
        found: dict[str, Any] = admin.get(ROUTES).json()
    return found


def put(server: Server, reason: str, **members: Any) -> dict[str, Any]:
    """Change members of the document in force; return what it became."""
    with server.admin() as admin:
        before = admin.get(ROUTES)
        tag = before.headers["etag"]
        body = before.json() | {"reason": reason} | members
        answer = admin.put(ROUTES, json=body, headers={"if-match": tag})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def split(server: Server, canary: float) -> str:
    """Give the canary so many per cent; return the revision."""
    variants = [
        {"name": "stable", "version": "1", "weight": 100 - canary},
        {"name": "canary", "version": "2", "weight": canary},
    ]
    return str(put(server, f"canary at {canary}", variants=variants)["revision"])


def shadowed(server: Server) -> dict[str, int]:
    with server.admin() as admin:
        (shadow,) = admin.get("/admin/v1/models/digits/shadows").json()["shadows"]
    found: dict[str, int] = shadow["calls"]
    return found


def is_likely(count: int, draws: int, share: float) -> bool:
    """Whether so many of the draws are what a fair share gives, but for one run in a billion."""
    if share in (0.0, 1.0):
        return count == draws * share
    low, high = binomial(draws, share, 1 - 1e-9)
    return low <= count <= high


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def deploy(models: Path, version: str) -> None:
    """Lay a version of digits where the gateway looks."""
    shutil.copytree(ROOT / "models" / "digits" / version, models / "digits" / version)


@pytest.mark.slow
def test_a_version_is_deployed_shadowed_split_and_rolled_back_and_the_last_word_stands(
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    deploy(models, "1")
    with serving(models, tmp_path, replicas=2) as server:
        assert route(server)["variants"] == [{"name": "stable", "version": "1", "weight": 100}]

        deploy(models, "2")
        server.process.send_signal(signal.SIGHUP)
        wait_for_state(server, "READY", "digits", "2")
        server.wait_for_replicas(2)
        assert ask_often(server, 40).keys() == {("1", "stable", "1")}

        shadows = [{"name": "next", "version": "2", "sample_ratio": 1}]
        shadowing = str(put(server, "compare 2", shadows=shadows)["revision"])
        assert ask_often(server, 200) == {(shadowing, "stable", "1"): 200}
        wait_until(lambda: sum(shadowed(server).values()) == 200, lambda: shadowed(server))
        assert shadowed(server)["agreed"] + shadowed(server)["disagreed"] > 0
        assert shadowed(server)["failed"] == 0
        put(server, "seen enough", shadows=[])

        for weight in (5.0, 50.0, 100.0):
            revision = split(server, weight)
            found = ask_often(server, 400)
            stable, canary = (revision, "stable", "1"), (revision, "canary", "2")
            assert found.keys() <= {stable, canary}
            assert is_likely(found[canary], 400, weight / 100)

        with server.admin() as admin:
            body = {"reason": "2 is worse", "revision": 1}
            back = admin.post(ROUTES + "/rollback", json=body)
        last = back.json()
        assert ask_often(server, 40).keys() == {(str(last["revision"]), "stable", "1")}
        pids = [one["pid"] for one in server.replicas()]
        server.process.kill()
        server.process.wait()
        wait_until(lambda: all(is_gone(pid) for pid in pids), lambda: pids)

    with serving(models, tmp_path, replicas=2) as server:
        assert route(server) == last
        assert ask_often(server, 40).keys() == {(str(last["revision"]), "stable", "1")}
        with server.admin() as admin:
            told = admin.get("/admin/v1/audit").json()["entries"]
        assert [one["action"] for one in told] == ["rollback", *["put"] * 5, "first_sight"]
        assert [one["to"] for one in told] == [7, 6, 5, 4, 3, 2, 1]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both versions of digits on two replicas, and a key that may operate."""
    folder = tmp_path_factory.mktemp("two")
    models = folder / "models"
    for version in ("1", "2"):
        deploy(models, version)
    # version 1 of shelf never fails; version 2 does, for what is beyond its table
    zoo.write_echo(models, "shelf", TensorProto.INT64, ["rows", 1], 64)
    zoo.write_shelf(models, version="2")
    key = f"operate:ann:{sha256(b'secret').hexdigest()}"
    exposures = folder / "exposures.jsonl"
    settings = {
        "auth__keys": f'["{key}"]',
        "exposure_log__enabled": "true",
        "exposure_log__path": str(exposures),
    }
    with serving(models, folder, replicas=2, **settings) as server:
        yield server


def test_a_unit_stays_where_it_is_while_the_canary_grows(two: Server) -> None:
    put(two, "by user", sticky={"by": "header:x-user-id", "salt": "s"})

    def seen() -> dict[str, str]:
        with two.client() as client:
            return {user: ask(client, {"x-user-id": user})[1] for user in map(str, range(300))}

    split(two, 20)
    before = seen()
    assert seen() == before
    split(two, 40)
    after = seen()
    assert {user for user, variant in before.items() if variant == "canary"} <= {
        user for user, variant in after.items() if variant == "canary"
    }
    assert is_likely(Counter(after.values())["canary"], 300, 0.4)


def test_a_rule_and_a_pin_go_before_the_split_and_a_pin_needs_a_key(two: Server) -> None:
    split(two, 0)
    rule = {"if": {"all": [{"header": "x-tier", "equals": "beta"}]}, "variant": "canary"}
    revision = str(put(two, "beta first", rules=[rule])["revision"])
    with two.client() as client:
        assert ask(client) == (revision, "stable", "1")
        assert ask(client, {"x-tier": "beta"}) == (revision, "canary", "2")
        pin = {"x-gateway-variant": "canary", "x-api-key": "secret"}
        assert ask(client, pin) == (revision, "canary", "2")
        pin["x-api-key"] = "wrong"
        refused = client.post("/v2/models/digits/infer", json=DIGITS, headers=pin)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")


def test_what_names_a_version_is_counted_apart_from_the_split(two: Server) -> None:
    def counted() -> Counter[str]:
        found = Counter[str]()
        for series, value in metrics(two).items():
            if series.startswith("gateway_inference_requests_total{") and "success" in series:
                for variant in ("direct", "stable", "canary"):
                    if f'variant="{variant}"' in series and 'model="digits"' in series:
                        found[variant] += int(value)
        return found

    put(two, "no rules", rules=[])
    split(two, 100)
    before = counted()
    ask_often(two, 40)
    with two.client() as client:
        path = "/v2/models/digits/versions/1/infer"
        assert client.post(path, json=DIGITS).headers["x-gateway-version"] == "1"
        ask(client, {"x-gateway-variant": "stable", "x-api-key": "secret"})
    assert counted() - before == {"canary": 40, "direct": 2}


def test_what_a_canary_cannot_answer_stable_does(two: Server) -> None:
    routes = "/admin/v1/models/shelf/routes"
    variants = [
        {"name": "stable", "version": "1", "weight": 0},
        {"name": "canary", "version": "2", "weight": 100},
    ]
    body = {"variants": variants, "reason": "try 2"}
    with two.admin() as admin:
        assert admin.put(routes, json=body, headers={"if-match": '"1"'}).status_code == 200
    with two.client() as client:
        told = []
        for index in (3, 12):
            tensor = {"name": "x", "datatype": "INT64", "shape": [1, 1], "data": [index]}
            answer = client.post("/v2/models/shelf/infer", json={"inputs": [tensor]})
            (output,) = answer.json()["outputs"]
            told.append((answer.headers["x-gateway-variant"], output["data"]))
    assert told == [("canary", [30]), ("stable", [12])]
    labels = 'model="shelf",variant="canary",version="2"'
    assert metrics(two)[f"gateway_fallbacks_total{{{labels}}}"] == 1
    requests = 'model="shelf",outcome="model_failed",variant="canary",version="2"'
    assert metrics(two)[f"gateway_inference_requests_total{{{requests}}}"] == 1


def test_of_two_writers_with_one_revision_exactly_one_wins(two: Server) -> None:
    document = route(two)
    tag = {"if-match": f'"{document["revision"]}"'}

    def write(who: int) -> int:
        with two.admin() as admin:
            body = document | {"reason": f"writer {who}"}
            return admin.put(ROUTES, json=body, headers=tag).status_code

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(write, range(8))) == {200: 1, 412: 7}


@pytest.mark.slow
def test_a_hundred_switches_under_load_fail_nobody_and_no_answer_lies_about_its_revision(
    two: Server,
) -> None:
    put(two, "by call", sticky=None, rules=[])
    holds = {str(route(two)["revision"]): route(two)["variants"]}
    is_over = False

    def load(_: int) -> Counter[tuple[str, str, str]]:
        found = Counter[tuple[str, str, str]]()
        with two.client() as client:
            while not is_over:
                found[ask(client)] += 1
        return found

    with ThreadPoolExecutor(8) as pool:
        loading = [pool.submit(load, number) for number in range(8)]
        try:
            for number in range(100):
                weight = (0, 100, 50, 5)[number % 4]
                versions = ("1", "2") if number % 3 else ("2", "1")
                variants = [
                    {"name": name, "version": version, "weight": share}
                    for name, version, share in zip(
                        ("stable", "canary"), versions, (100 - weight, weight), strict=True
                    )
                ]
                changed = put(two, f"switch {number}", variants=variants)
                holds[str(changed["revision"])] = changed["variants"]
        finally:
            is_over = True
        found = sum((one.result() for one in loading), Counter[tuple[str, str, str]]())
    lies = [
        (revision, variant, version)
        for revision, variant, version in found
        if not any(
            (one["name"], one["version"]) == (variant, version) and one["weight"]
            for one in holds[revision]
        )
    ]
    assert lies == []
    assert len({revision for revision, _, _ in found}) > 50
    assert two.complaints() == ""


def test_the_exposure_log_tells_each_unit_and_variant_and_no_name(two: Server) -> None:
    put(two, "by user", sticky={"by": "header:x-user-id", "salt": "exposed"}, rules=[])
    revision = int(split(two, 50))
    with two.client() as client:
        for user in [f"user-{number}" for number in range(20)] * 2:
            ask(client, {"x-user-id": user})

    log = two.folder / "exposures.jsonl"

    def lines() -> list[str]:
        text = log.read_text() if log.exists() else ""
        return [line for line in text.splitlines() if f'"revision":{revision},' in line]

    wait_until(lambda: len(lines()) >= 20, lines)
    assert not any("user-" in line for line in lines())
    units = {line.partition('"unit":')[2] for line in lines()}
    assert len(units) == 20


def test_a_raw_request_without_a_revision_to_change_is_told_to_name_one(two: Server) -> None:
    with two.admin() as admin:
        answer = admin.put(ROUTES, json=route(two))
    assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required")
