"""The floor that the kernel sets: nginx answering a static 200 to the same POST."""

from collections.abc import Sequence
from pathlib import Path

from bench.requests import ANSWER

CONFIGURATION = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        default_type application/json;
        location / {{ return 200 '{answer}'; }}
    }}
}}
"""


def configuration(port: int) -> str:
    """One worker, no log, connections that never run out; `return` reads and drops the body."""
    return CONFIGURATION.format(port=port, answer=ANSWER.decode())


def command(port: int, home: Path) -> Sequence[str]:
    """Write the configuration into `home` and return what starts nginx there."""
    (home / "nginx.conf").write_text(configuration(port))
    return ["nginx", "-p", str(home), "-c", "nginx.conf", "-e", "error.log"]
