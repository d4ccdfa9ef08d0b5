"""A Redis of one's own: the real server, in a process that can be killed, stopped and cut off.

Job    start it on a socket in a folder, do to it what happens to servers.
Life   `redis_server` ends with its block.
Never  listens where somebody else could: a socket in a folder is nobody else's.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.server import WATCHDOG_S


class RedisServer:
    """One server. What it has is in memory alone, unless `is_lasting`."""

    def __init__(self, folder: Path, is_lasting: bool) -> None:
        self._folder = folder
        self._is_lasting = is_lasting
        self._process: subprocess.Popen[str] | None = None
        self.url = f"unix://{self._socket}"

    @property
    def _socket(self) -> Path:
        return self._folder / "redis"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        found = shutil.which("redis-server")
        assert found is not None, "redis-server is not installed: make test-tools"
        keeping = "yes" if self._is_lasting else "no"
        options = ["--port", "0", "--unixsocket", str(self._socket), "--save", ""]
        self._process = subprocess.Popen(
            [found, *options, "--appendonly", keeping, "--appendfsync", "always"],
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        watchdog = threading.Timer(WATCHDOG_S, self._process.kill)
        watchdog.start()
        said = ""
        while "ready to accept connections" not in said.lower():
            line = self._process.stdout.readline()
            assert line, said
            said += line
        watchdog.cancel()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self.close()

    def close(self) -> None:
        """End it in order, if it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(WATCHDOG_S)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It takes connections and answers nothing, for as long as the block."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def say(self, *words: str | bytes | int) -> bytes:
        """Have it do a command, as somebody else would; return what it answers."""
        texts = [one if isinstance(one, bytes) else str(one).encode() for one in words]
        lengths = (b"$%d\r\n%b\r\n" % (len(one), one) for one in texts)
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(WATCHDOG_S)
            wire.connect(str(self._socket))
            wire.sendall(b"*%d\r\n%b" % (len(texts), b"".join(lengths)))
            answer = wire.recv(1 << 20)
        assert not answer.startswith(b"-"), answer
        return answer


@contextmanager
def redis_server(is_lasting: bool = False) -> Iterator[RedisServer]:
    """Run a server; its folder has a short name, since a socket's may have no long one."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), is_lasting)
        server.start()
        try:
            yield server
        finally:
            server.close()
