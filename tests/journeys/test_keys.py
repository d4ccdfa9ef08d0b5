"""Keys and quotas: who may ask, and how much, whichever replica he meets."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.plus import renew
from tests.server import Answer, Server, get, request, serving
from tests.wire.splitting import told
from tests.zoo import write_few

pytestmark = pytest.mark.slow

BODY = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'
REPLICAS = 2
SETTINGS = """
[auth]
keys = [{keys}]
quotas = [{quotas}]
"""


def ask(key: str | None, target: str = "/v2/models/echo/infer", body: bytes = BODY) -> bytes:
    return request(target, body, [] if key is None else [f"x-api-key: {key}"])


def write(file: Path, *keys: tuple[str, str], quotas: tuple[str, ...] = ()) -> None:
    """Let holders, by role and name, have keys that are called like them."""
    shown = ", ".join(f'"{told(role, name.encode(), name)}"' for role, name in keys)
    file.write_text(SETTINGS.format(keys=shown, quotas=", ".join(f'"{one}"' for one in quotas)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


@pytest.fixture
def server(tmp_path: Path, file: Path) -> Iterator[Server]:
    holders = [("predict", name) for name in ("shop", "greedy", "new")]
    write(file, *holders[:2], ("operate", "ops"), quotas=("greedy:0.5:6", "shop:10000:10000"))
    models = write_few(tmp_path / "models")
    with serving(models, tmp_path, replicas=REPLICAS) as running:
        yield running


def codes(server: Server, key: str, times: int) -> Counter[int]:
    """What so many requests, each on a connection of its own, are answered with."""
    return Counter(server.ask(ask(key)).status for _ in range(times))


def value(server: Server, holder: str, result: str) -> float:
    """What the metrics have counted."""
    name = f'gateway_quota_requests_total{{holder="{holder}",result="{result}"}} '
    with server.admin() as admin:
        text = admin.get("/metrics").text
    return float(next(line for line in text.splitlines() if line.startswith(name))[len(name) :])


def test_a_prediction_takes_a_key_and_a_probe_does_not(server: Server) -> None:
    answer = server.ask(ask(None))
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
    assert server.ask(ask("nobody")).status == 401
    assert server.ask(ask("shop")).outputs == {"y": [1.0, 2.0, 3.0, 4.0]}
    assert server.ask(ask("ops")).status == 200
    assert (
        server.ask(ask(None, "/v1/models/echo:predict", b'{"instances":[[1,2,3,4]]}')).status == 401
    )
    for target in ("/livez", "/readyz", "/v2", "/v2/models/echo", "/v2/models/stats"):
        assert server.ask(get(target)).status == 200


def test_a_large_body_of_a_stranger_is_refused_before_it_is_sent(server: Server) -> None:
    with server.connect() as wire:
        wire.send(ask(None, body=bytes(1 << 20))[:200])
        answer = wire.answer()
        assert (answer.status, answer.closes) == (401, True)
        assert wire.is_ended()


def test_who_asks_too_much_hears_when_to_come_again_and_others_are_served(server: Server) -> None:
    began = time.monotonic()
    greedy = codes(server, "greedy", 60)
    most = 6 + REPLICAS + 0.5 * (time.monotonic() - began)  # each replica lets one through
    assert set(greedy) == {200, 429}
    assert greedy[200] <= most
    assert codes(server, "shop", 20) == {200: 20}
    answer = server.ask(ask("greedy"))
    while answer.status == 200:
        answer = server.ask(ask("greedy"))
    check_refusal(answer)
    assert value(server, "greedy", "refused") >= greedy[429]
    assert value(server, "shop", "passed") == 20
    assert value(server, "shop", "refused") == 0


def check_refusal(answer: Answer) -> None:
    assert (answer.status, answer.json["code"]) == (429, "quota_exceeded")
    assert "at most 0.5 requests a second, 6 at once" in answer.json["error"]
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_a_signal_brings_new_keys_and_takes_old_ones(server: Server, file: Path) -> None:
    before = {one["pid"] for one in server.replicas()}
    write(file, ("predict", "new"), ("predict", "greedy"), quotas=("greedy:0.001:1",))
    renew(server)
    server.wait_for_replicas(REPLICAS, without=before)
    assert [server.ask(ask(key)).status for key in ("shop", "new", "ops")] == [401, 200, 401]
    assert codes(server, "greedy", 20)[200] <= REPLICAS
