"""Secrets: whatever happens, none is told: not to clients, to logs, to metrics, or to `ps`."""

import base64
import hashlib
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.faults.processes import processes_in, wait_for_words
from tests.journeys.plus import renew
from tests.journeys.test_tls import CERTIFICATE
from tests.server import ROOT, Server, infer, request, serving, tensor
from tests.supervise.documents.redisserver import RedisServer, redis_server
from tests.zoo import write_few, write_shelf

pytestmark = pytest.mark.slow

ENCRYPTED = Path(__file__).with_name("encrypted.pem")  # the key of CERTIFICATE
PASSPHRASE = "hush-keyfile"
TICKET, LEVER, GLASS, STRANGER = "hush-ticket", "hush-lever", "hush-glass", "hush-stranger"
VIEWER, OPERATOR, NOBODY = "hush-viewer", "hush-operator", "hush-nobody"
REDIS = "hush-redis/word"
NEXT = "hush-next"  # in settings that are refused
PLANTED = [
    *(PASSPHRASE, TICKET, LEVER, GLASS, STRANGER, VIEWER, OPERATOR, NOBODY, REDIS, NEXT),
    quote(REDIS, safe=""),
    *(base64.b64encode(f":{secret}".encode()).decode() for secret in (VIEWER, NOBODY)),
]
SHELF = tensor("x", "INT64", [1, 1], [99])  # the model fails
ECHO = tensor("x", "FP32", [1, 4], [1, 2, 3, 4])


def sha(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass
class Scene:
    """A gateway that knows secrets, and all that it has said of itself."""

    server: Server
    redis: RedisServer
    heard: list[str] = field(default_factory=list)

    def ask(self, raw: bytes) -> None:
        """Say something to the data port, and keep the answer."""
        trust = ssl.create_default_context(cafile=CERTIFICATE)
        with self.server.connect_tls(trust) as wire:
            answer = wire.ask(raw)
            self.heard.append(f"{answer.status} {answer.headers} {answer.body.decode()}")

    def manage(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        with self.server.admin() as admin:
            answer = admin.request(
                method, path, headers=headers, json={} if method != "GET" else None
            )
        self.heard.append(f"{answer.status_code} {answer.headers} {answer.text}")
        return answer

    def said(self) -> dict[str, str]:
        """What it has told, by whom or what."""
        folder = self.server.folder
        told = {"answers": "\n".join(self.heard), "stderr": self.server.complaints()}
        for file in (folder / ".gateway").rglob("*"):
            if file.is_file():
                told[str(file)] = file.read_text(errors="replace")
        for pid in processes_in(folder):
            told[f"arguments of {pid}"] = Path(f"/proc/{pid}/cmdline").read_text()
            if pid != self.server.process.pid:
                told[f"environment of {pid}"] = Path(f"/proc/{pid}/environ").read_text()
        return told


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    models = write_few(tmp_path / "models")
    write_shelf(models)
    (models / "broken" / "1").mkdir(parents=True)
    (models / "broken" / "1" / "model.onnx").write_bytes(b"nonsense")
    roles = ("predict", TICKET), ("operate", LEVER), ("feedback", GLASS)
    keys = ", ".join(f'"{role}:{role}:{sha(key)}"' for role, key in roles)
    tokens = f'"viewer:eve:{sha(VIEWER)}", "operator:bob:{sha(OPERATOR)}"'
    quotas = '"predict:1000:3"'
    (tmp_path / "gateway.toml").write_text(
        f"[auth]\nkeys = [{keys}]\nadmin_tokens = [{tokens}]\nquotas = [{quotas}]\n"
        '[repository]\ncontrol = "explicit"\nstartup = ["echo", "shelf", "broken"]\n'
    )
    with redis_server() as redis:
        redis.say("CONFIG", "SET", "requirepass", REDIS)
        settings = {
            "redis__url": redis.url.replace("unix://", f"unix://:{quote(REDIS, safe='')}@"),
            "tls__certfile": CERTIFICATE,
            "tls__keyfile": ENCRYPTED,
            "tls__keyfile_password": PASSPHRASE,
        }
        with serving(models, tmp_path, **settings) as server:
            yield Scene(server, redis)


def key(secret: str) -> list[str]:
    return [f"x-api-key: {secret}"]


def data_port(scene: Scene) -> None:
    """Every way to be let in, or not, with a key in the right place or in a wrong one."""
    body = infer("echo", ECHO).partition(b"\r\n\r\n")[2]
    target = "/v2/models/echo/infer"
    for secret in (TICKET, LEVER, GLASS, STRANGER):
        scene.ask(request(target, body, key(secret)))
        scene.ask(request(target, body, [f"authorization: Bearer {secret}"]))
        scene.ask(request(target, body, [*key(secret), "x-gateway-variant: canary"]))
        scene.ask(request("/v2/repository/models/broken/load", b"{}", key(secret)))
        scene.ask(request("/v2/repository/index", b"{}", key(secret)))
        scene.ask(
            request(
                "/v2/models/shelf/infer",
                infer("shelf", SHELF).partition(b"\r\n\r\n")[2],
                key(secret),
            )
        )
        for odd in (
            f"x-api-key : {secret}", f"x-api-key\t{secret}", f" folded {secret}",
            f"authorization Bearer {secret}", f"x-api-key: {secret}\x01", f"x-api-key; {secret}",
        ):  # fmt: skip
            scene.ask(request(target, body, [odd]))
    for _ in range(8):
        scene.ask(request(target, body, key(TICKET)))  # over the quota, in time


def management_port(scene: Scene) -> None:
    with scene.server.admin() as admin:
        paths = admin.get("/openapi.json", headers={"authorization": f"Bearer {VIEWER}"}).json()[
            "paths"
        ]
    basic = "Basic " + base64.b64encode(f":{VIEWER}".encode()).decode()
    wrong = "Basic " + base64.b64encode(f":{NOBODY}".encode()).decode()
    for path in (path.replace("{model}", "echo") for path in paths):
        for shown in (f"Bearer {VIEWER}", f"Bearer {OPERATOR}", f"Bearer {NOBODY}", basic, wrong):
            scene.manage("GET", path, {"authorization": shown})
    for shown in (VIEWER, OPERATOR, NOBODY):
        for model in ("echo", "broken"):
            scene.manage(
                "POST",
                f"/admin/v1/models/{model}/versions/1/load",
                {"authorization": f"Bearer {shown}"},
            )


def deaths(scene: Scene) -> None:
    """Redis goes, a replica is killed, and settings are refused that hold secrets."""
    scene.redis.kill()
    wait_for_words(scene.server, "Redis is away")
    headers = {"authorization": f"Bearer {VIEWER}"}
    scene.manage("GET", "/readyz", headers)
    kill_replica_of(scene, headers)
    settings = scene.server.folder / "gateway.toml"
    settings.write_text(
        f'[auth]\nkeys = ["predict:x:{NEXT}"]\nadmin_tokens = ["{NEXT}"]\n'
        f'[redis]\nurl = "redis://:{NEXT}@host:port/0"\n[cache]\nfleet_key = "{NEXT}"\n'
        f'[admin_tls]\nkeyfile_password = "{NEXT}"\n'
    )
    renew(scene.server)
    for path in ("$.auth.keys[0]: ", "$.auth.admin_tokens[0]: ", "$.cache.fleet_key: "):
        wait_for_words(scene.server, f"not renewed, all stays as it was: {path}")
    checked = subprocess.run(
        [sys.executable, "-m", "gateway", "check"],
        cwd=scene.server.folder, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin", "GATEWAY_REDIS__URL": f"http://:{NEXT}@h"},
    )  # fmt: skip
    assert (checked.returncode, "$.redis.url" in checked.stderr) == (1, True)
    scene.heard += [checked.stdout, checked.stderr]


def kill_replica_of(scene: Scene, headers: dict[str, str]) -> None:
    found = scene.manage("GET", "/admin/v1/replicas", headers).json()["replicas"]
    os.kill(found[0]["pid"], signal.SIGKILL)
    wait_for_words(scene.server, "has ended")


@pytest.mark.parametrize("act", [data_port, management_port, deaths])
def test_no_secret_is_told(scene: Scene, act: Callable[[Scene], None]) -> None:
    act(scene)
    said = scene.said()
    assert {"answers", "stderr"} < said.keys()
    assert said["answers"]
    told = [(secret, who) for secret in PLANTED for who, text in said.items() if secret in text]
    assert told == []
    digests = [sha(secret) for secret in (TICKET, LEVER, GLASS, VIEWER, OPERATOR)]
    assert [who for who, text in said.items() for one in digests if one in text] == []


def test_a_stranger_hears_nothing_of_how_it_is_built(scene: Scene) -> None:
    data_port(scene)
    text = "\n".join(scene.heard)
    for word in (
        str(scene.server.folder),
        "Traceback",
        "/onnxruntime",
        ".py",
        "server:",
        "uvicorn",
    ):
        assert word not in text
    assert "broken/1/model.onnx" in text  # an operator is told which file it is
