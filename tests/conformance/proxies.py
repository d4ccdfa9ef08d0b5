"""Proxies: nginx and HAProxy themselves, in front of gateways, as operators put them there.

Job    write a configuration, start the proxy in a process of its own, stop it by its pid.
Life   `nginx` and `haproxy` end with their blocks.
Never  waits for a port: a proxy inherits a socket that listens already, so that whoever
       connects before the proxy is up waits in the queue.

Source: nginx's NGINX variable, by which its binary is replaced; `bind fd@` of HAProxy.
"""

import csv
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.server import WATCHDOG_S, Wire

_NGINX = """\
daemon off;
worker_processes 1;
user root;
pid nginx.pid;
error_log error.log info;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 0;
    keepalive_requests 1000000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream gateways {{
        {servers}
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name gateways;
        location / {{
            proxy_pass http://gateways;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            {options}
        }}
    }}
}}
"""
_HAPROXY = """\
global
    maxconn 512
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout check 10s
    {options}
frontend predictions
    bind fd@{data}
    default_backend gateways
backend gateways
    option httpchk GET /readyz
    default-server check inter 100ms fall 1 rise 1
    {servers}
frontend counters
    bind fd@{counters}
    stats enable
    stats uri /
"""
_SBIN = ("/usr/sbin", "/usr/local/sbin")  # where Debian has daemons, and no user's PATH leads


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs."""

    port: int
    folder: Path
    counters_port: int | None = None

    def connect(self) -> Wire:
        return Wire(socket.create_connection(("127.0.0.1", self.port), WATCHDOG_S))

    def client(self, **options: Any) -> httpx.Client:
        url = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=url, timeout=WATCHDOG_S, trust_env=False, **options)

    def complaints(self) -> str:
        """What the proxy has to say of its work."""
        return "".join(one.read_text() for one in sorted(self.folder.glob("*.log")))

    def counters(self) -> dict[str, Mapping[str, str]]:
        """What HAProxy counts of each gateway, by its port."""
        assert self.counters_port is not None
        url = f"http://127.0.0.1:{self.counters_port}/;csv"
        text = httpx.get(url, timeout=WATCHDOG_S, trust_env=False).text
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return {row["svname"]: row for row in rows if row["pxname"] == "gateways"}


@contextmanager
def nginx(folder: Path, ports: Sequence[int], *options: str) -> Iterator[Proxy]:
    """Run nginx before the gateways on `ports`; `options` are directives of its location."""
    with ExitStack() as stack:
        listening = stack.enter_context(_listening())
        running = Proxy(listening.getsockname()[1], folder)
        (folder / "nginx.conf").write_text(
            _NGINX.format(
                port=running.port,
                servers="\n        ".join(f"server 127.0.0.1:{one};" for one in ports),
                options="\n            ".join(f"{one};" for one in options),
            )
        )
        command = [_found("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
        inherited = {"NGINX": f"{listening.fileno()};"}
        stack.enter_context(_running(folder, command, inherited, listening))
        yield running


@contextmanager
def haproxy(folder: Path, ports: Sequence[int], *options: str) -> Iterator[Proxy]:
    """Run HAProxy before the gateways on `ports`; `options` are lines of its defaults."""
    with ExitStack() as stack:
        data, counters = (stack.enter_context(_listening()) for _ in range(2))
        running = Proxy(data.getsockname()[1], folder, counters.getsockname()[1])
        file = folder / "haproxy.cfg"
        file.write_text(
            _HAPROXY.format(
                data=data.fileno(),
                counters=counters.fileno(),
                servers="\n    ".join(f"server {one} 127.0.0.1:{one}" for one in ports),
                options="\n    ".join(options),
            )
        )
        command = [_found("haproxy"), "-db", "-f", str(file)]
        stack.enter_context(_running(folder, command, {}, data, counters))
        yield running


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and on which nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def _listening() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(512)
    return listening


def _found(name: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), *_SBIN])
    found = shutil.which(name, path=path)
    assert found is not None, f"{name} is not installed: make test-tools"
    return found


@contextmanager
def _running(
    folder: Path, command: Sequence[str], variables: Mapping[str, str], *inherited: socket.socket
) -> Iterator[None]:
    with (
        (folder / "stderr.log").open("w") as complaints,
        subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], **variables},
            stdout=complaints,
            stderr=complaints,
            pass_fds=[one.fileno() for one in inherited],
        ) as process,
    ):
        for one in inherited:
            one.close()  # so that nobody waits in a queue that only we hold
        try:
            yield
            assert process.poll() is None, (folder / "stderr.log").read_text()
        finally:
            process.terminate()
            try:
                process.wait(WATCHDOG_S)
            except subprocess.TimeoutExpired:
                process.kill()
