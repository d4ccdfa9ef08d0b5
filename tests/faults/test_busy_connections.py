"""More connections that always have something to say than the loop looks at in one go."""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.crowd import check_health
from tests.faults.test_crowds import pid_of
from tests.server import WATCHDOG_S, Server, Wire, infer, serving, tensor
from tests.zoo import write_zoo

pytestmark = pytest.mark.slow

CONNECTIONS = 2500
DEPTH = 8  # requests that each has under way
LASTS_S = 8.0  # several times what a loop may stand still before its replica is replaced
STATUS = b"HTTP/1.1 "
HASTE = b"\r\nX-Request-Timeout-Ms: 100\r\n\r\n"  # so that many are refused, and ask again
ASK = infer("echo", tensor("x", "FP32", [1, 4], [1.0] * 4)).replace(b"\r\n\r\n", HASTE, 1)


@contextmanager
def busy(server: Server) -> Iterator["Busy"]:
    with server.connections(CONNECTIONS) as wires:
        yield Busy(wires)


class Busy:
    """Each sends a pipeline, and the next one when all of it is answered."""

    def __init__(self, wires: list[Wire]) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._missing: dict[int, int] = {}
        self._cut: dict[int, bytes] = {}  # what may begin a status line
        for wire in wires:
            number = wire.socket.fileno()
            self._sockets[number] = wire.socket
            self._poll.register(number, select.EPOLLIN)
            self._ask(number)
        self.answers = 0

    def _ask(self, number: int) -> None:
        self._sockets[number].sendall(ASK * DEPTH)
        self._missing[number] = DEPTH

    def work(self, until: float) -> None:
        """Read and ask until then; all are answered now and then."""
        while time.monotonic() < until:
            self._read(is_over=False)

    def end(self) -> None:
        """Read what is missing."""
        latest = time.monotonic() + WATCHDOG_S
        while any(self._missing.values()):
            assert time.monotonic() < latest
            self._read(is_over=True)

    def _read(self, *, is_over: bool) -> None:
        for number, _ in self._poll.poll(WATCHDOG_S):
            data = self._sockets[number].recv(1 << 16)
            assert data, "the server closed a connection"
            text = self._cut.get(number, b"") + data
            heard = text.count(STATUS)
            self._cut[number] = text[1 - len(STATUS) :]
            self.answers += heard
            self._missing[number] -= heard
            if not self._missing[number] and not is_over:
                self._ask(number)


def test_a_replica_whose_clients_never_pause_lives_and_answers_all_of_them(tmp_path: Path) -> None:
    models = write_zoo(tmp_path / "models")
    with serving(models, tmp_path, default_deadline_s=60) as server:
        before = pid_of(server)
        with busy(server) as clients:
            clients.work(time.monotonic() + LASTS_S)
            clients.end()
        check_health(server)
        assert pid_of(server) == before, "its event loop was taken for hung"
        assert server.complaints() == ""
