"""Start a server on its own processor, wait until it answers, and stop it.

Job    a server lives exactly as long as its `with` block, whatever happens inside.
Never  kills a process it did not start.
"""

import http.client
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.requests import Target

START_S = 300.0  # many models, or heavy ones, may take their time to load
RETRY_S = 0.05
STOP_S = 10.0
ROOT = Path(__file__).resolve().parents[1]  # where `-m bench` and `-m gateway` are found


class StartFailed(RuntimeError):
    """The server ended or stayed silent; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A kind of server: `command(port, scratch)` makes its command line."""

    name: str
    command: Callable[[int, Path], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Server:
    """A running server on loopback; its log is in `home`."""

    name: str
    pid: int
    port: int
    home: Path
    start_s: float  # from its execution to the first answer


def pinned(command: Sequence[str], cpu: int | None) -> list[str]:
    """The same command bound to one processor, its threads and children with it; None: free."""
    return list(command) if cpu is None else ["taskset", "--cpu-list", str(cpu), *command]


def free_port() -> int:
    """A port that nobody holds now; the caller binds it soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(rung: Rung, target: Target, cpu: int | None, scratch: Path) -> Iterator[Server]:
    """Run `rung` on `cpu` until the block ends; it has answered `target` with 200 once.

    Raises: StartFailed.
    """
    port = free_port()
    home = Path(tempfile.mkdtemp(prefix="server-", dir=scratch))
    home.chmod(0o755)  # nginx's worker may be another user
    log = home / "log"
    with log.open("wb") as sink:
        # taskset replaces itself by the server, so this pid is the server's own.
        command = pinned(rung.command(port, home), cpu)
        began_s = time.monotonic()
        process = subprocess.Popen(
            command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, cwd=ROOT
        )
    try:
        _await_answer(rung.name, process, port, target, log)
        yield Server(rung.name, process.pid, port, home, time.monotonic() - began_s)
    finally:
        _stop(process)


def _await_answer(
    name: str, process: subprocess.Popen[bytes], port: int, target: Target, log: Path
) -> None:
    deadline = time.monotonic() + START_S
    last = "no connection"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            status, body = ask(port, target)
        except OSError as error:
            last = str(error)
        else:
            if status == http.client.OK:
                return
            last = f"{status} {body[:200]!r}"
        time.sleep(RETRY_S)
    tail = log.read_text(errors="replace")[-2000:]
    raise StartFailed(f"{name} does not answer {target.path}: {last}\n{tail}")


def ask(port: int, target: Target) -> tuple[int, bytes]:
    """Send the target's first request on a connection of its own; (status, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = dict(line.split(": ", 1) for line in target.headers)
    try:
        if target.bodies is None:
            connection.request("GET", target.path, headers=headers)
        else:
            body = target.bodies.read_bytes().split(b"\n", 1)[0]
            headers["content-type"] = "application/json"
            connection.request("POST", target.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
