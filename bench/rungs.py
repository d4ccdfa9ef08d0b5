"""The rungs of the ladder, from what no Python server can pass down to the whole gateway."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench import nginx
from bench.launch import Rung


def _own(kind: str, models: Path, port: int, _home: Path) -> Sequence[str]:
    command = [sys.executable, "-m", "bench.servers", kind, "--port", str(port)]
    return [*command, "--models", str(models)]


def _gateway(models: Path, replicas: int, settings: str, port: int, home: Path) -> Sequence[str]:
    """Default settings, so that the row is what a user gets; only its state is kept apart."""
    file = home / "gateway.toml"
    file.write_text(f'{settings}\n[state]\ndir = "{home / "state"}"\n')
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(file)]
    command += ["--models", str(models), "--replicas", str(replicas)]
    return [*command, "--port", str(port), "--admin-port", "0"]


NGINX = Rung("nginx static 200", nginx.command)


def bare(models: Path) -> Rung:
    """A Protocol on uvloop and httptools, and a canned answer."""
    return Rung("bare uvloop+httptools", partial(_own, "bare", models))


def gateway(models: Path, replicas: int = 1, settings: str = "") -> Rung:
    """`gateway serve` on `models`; `settings` are lines of its configuration file."""
    return Rung("gateway", partial(_gateway, models, replicas, settings))


def ladder(models: Path) -> tuple[Rung, ...]:
    """All rungs, fastest first."""
    own = {
        "bare uvicorn ASGI": "uvicorn",
        "gateway as plain ASGI": "asgi",
        "lane": "lane",
        "lane + decode": "decode",
        "lane + decode + batch": "batch",
        "lane + decode + batch + encode": "encode",
    }
    return (
        NGINX,
        bare(models),
        *(Rung(name, partial(_own, kind, models)) for name, kind in own.items()),
        gateway(models),
    )
