"""A real server and what talks to it: `gateway serve`, run as its users run it.

Job    start the program in a process of its own, on a free port; speak raw bytes to it.
Life   `serving` ends with its block: the process is asked to stop, and killed if it does not.
Never  waits without a watchdog, and never by the clock alone.
"""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h11
import httpx

ROOT = Path(__file__).parents[1]
WATCHDOG_S = 30.0  # for any one wait; on a busy machine too this is an age
_MANAGED = re.compile(r"managed on (https?)://127\.0\.0\.1:([0-9]+)\n")
_SERVING = re.compile(r"serving .* on (https?)://127\.0\.0\.1:([0-9]+)\n")


@dataclass(frozen=True)
class Answer:
    """One answer as an independent parser read it; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"

    @property
    def outputs(self) -> dict[str, list[Any]]:
        """The tensors of an inference's answer, all as JSON."""
        assert self.status == 200, self.body
        return {one["name"]: one["data"] for one in self.json["outputs"]}


class Wire:
    """A connection as a client of any manners has it: bytes out, answers in."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(WATCHDOG_S)
        self.socket = connection
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, request: bytes) -> None:
        self.socket.sendall(request)

    def dribble(self, request: bytes) -> None:
        """Send byte by byte, each a write of its own."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(request)):
            self.socket.sendall(request[at : at + 1])

    def answer(self, method: str = "POST") -> Answer:
        """Read the next answer, which is one to `method`; 1xx are passed over."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        parser.send(h11.EndOfMessage())
        if self._read:
            parser.receive_data(self._read)
        found: h11.Response | None = None
        body = b""
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                parser.receive_data(self.socket.recv(65536))
            elif isinstance(event, h11.Response):
                found = event
            elif isinstance(event, h11.Data):
                body += event.data
        self._read = parser.trailing_data[0]
        assert found is not None
        headers = [(name.decode(), value.decode()) for name, value in found.headers]
        assert len(dict(headers)) == len(headers), "a header came twice"
        return Answer(found.status_code, dict(headers), body)

    def ask(self, request: bytes) -> Answer:
        self.send(request)
        return self.answer("HEAD" if request.startswith(b"HEAD ") else "POST")

    def is_ended(self) -> bool:
        """Wait for the server's next word; say whether it is the end, in order."""
        return not self._read and self.socket.recv(1) == b""

    def reset(self) -> None:
        """Leave as a client that dies does: no FIN, what is unread is lost."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


class Server:
    """A gateway that serves: its supervisor is `process`."""

    def __init__(self, process: subprocess.Popen[str], said: "Said", log: Path) -> None:
        self.process = process
        self.port = said.port
        self.scheme = said.scheme
        self.admin_url = said.admin_url
        self.folder = log.parent  # where it was started
        self._log = log

    def connect(self) -> Wire:
        return Wire(socket.create_connection(("127.0.0.1", self.port), WATCHDOG_S))

    @contextmanager
    def connections(self, count: int) -> Iterator[list[Wire]]:
        """Connect `count` times; all are closed when the block is left."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.connect()) for _ in range(count)]

    def connect_tls(self, context: ssl.SSLContext) -> Wire:
        plain = socket.create_connection(("127.0.0.1", self.port), WATCHDOG_S)
        return Wire(context.wrap_socket(plain, server_hostname="127.0.0.1"))

    def ask(self, request: bytes) -> Answer:
        """Ask on a connection of its own."""
        with self.connect() as wire:
            return wire.ask(request)

    def client(self, **options: Any) -> httpx.Client:
        url = f"{self.scheme}://127.0.0.1:{self.port}"
        return httpx.Client(base_url=url, timeout=WATCHDOG_S, trust_env=False, **options)

    def admin(self) -> httpx.Client:
        """A client of the management port."""
        return httpx.Client(
            base_url=self.admin_url, timeout=WATCHDOG_S, trust_env=False, verify=False
        )

    def replicas(self) -> list[dict[str, Any]]:
        """Ask which processes serve: slot, pid, state …"""
        with self.admin() as admin:
            found: list[dict[str, Any]] = admin.get("/admin/v1/replicas").json()["replicas"]
            return found

    def wait_for_replicas(self, count: int, without: AbstractSet[int] = frozenset()) -> None:
        """Wait until so many serve, none of them one of `without`."""
        latest = time.monotonic() + WATCHDOG_S
        while True:
            pids = {one["pid"] for one in self.replicas() if one["state"] == "serving"}
            if len(pids) == count and not pids & without:
                return
            assert time.monotonic() < latest, self.replicas()

    def index(self) -> list[dict[str, Any]]:
        """Ask the data port what it knows of each version."""
        with self.client() as client:
            found: list[dict[str, Any]] = client.post("/v2/repository/index").json()
            return found

    def stop(self) -> int:
        """Ask the process to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WATCHDOG_S)

    def refuses_connections(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), WATCHDOG_S).close()
        except ConnectionError:
            return True
        return False

    def complaints(self) -> str:
        """Return what the process wrote to stderr."""
        return self._log.read_text()

    def rss_bytes(self) -> int:
        """Return the resident memory of the replicas together."""
        pids = [one["pid"] for one in self.replicas()]
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
        return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Said:
    """What a gateway says of itself when it starts."""

    scheme: str
    port: int
    admin_url: str


@contextmanager
def serving(models: Path, folder: Path, **settings: object) -> Iterator[Server]:
    """Serve `models` from `folder`; `limits__max_rank=2` sets `limits.max_rank`.

    `AIP_HEALTH_ROUTE="/h"` is a variable that is so called, as a platform gives its containers.
    """
    log = folder / "stderr.txt"
    settings = {"replicas": 1, "admin_port": 0} | settings
    with (
        log.open("w") as complaints,
        subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--port", "0", "--models", str(models)],
            cwd=folder,
            env=_environment(settings),
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        ) as process,
    ):
        try:
            yield Server(process, _announced(process, log), log)
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(WATCHDOG_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _announced(process: subprocess.Popen[str], log: Path) -> Said:
    assert process.stdout is not None
    watchdog = threading.Timer(2 * WATCHDOG_S, process.kill)
    watchdog.start()
    lines = [process.stdout.readline() for _ in range(2)]
    watchdog.cancel()
    managed, serving = _MANAGED.fullmatch(lines[0]), _SERVING.fullmatch(lines[1])
    assert managed is not None, "".join(lines) + log.read_text()
    assert serving is not None, "".join(lines) + log.read_text()
    return Said(serving[1], int(serving[2]), f"{managed[1]}://127.0.0.1:{managed[2]}")


def _environment(settings: dict[str, object]) -> dict[str, str]:
    inherited = {name: text for name, text in os.environ.items() if name in {"PATH", "HOME"}}
    given = {
        name if name.isupper() else f"GATEWAY_{name.upper()}": str(value)
        for name, value in settings.items()
    }
    return {**inherited, "PYTHONPATH": str(ROOT), **given}


def request(
    target: str, body: bytes = b"", headers: Sequence[str] = (), method: str = "POST"
) -> bytes:
    """A well-framed request; a body brings its length."""
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", *headers]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def infer(model: str, *inputs: dict[str, Any], **members: Any) -> bytes:
    """A JSON inference request."""
    body = json.dumps({"inputs": list(inputs)} | members).encode()
    return request(f"/v2/models/{model}/infer", body)


def get(target: str, *headers: str) -> bytes:
    return request(target, headers=headers, method="GET")


def tensor(name: str, datatype: str, shape: Sequence[int], values: Sequence[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": list(values)}
