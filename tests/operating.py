"""What operators do to a server: load, unload, ask, and wait for what they asked for.

Job    the requests of both ports about versions, and what is known of a version.
Never  waits without a watchdog.
"""

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.server import WATCHDOG_S, Server


def load(server: Server, model: str) -> httpx.Response:
    """Ask the data port to load a model."""
    with server.client() as client:
        return client.post(f"/v2/repository/models/{model}/load")


def unload(server: Server, model: str) -> httpx.Response:
    """Ask the data port to unload a model."""
    with server.client() as client:
        return client.post(f"/v2/repository/models/{model}/unload")


def change(
    server: Server, what: str, model: str, version: str | None = None, **headers: str
) -> httpx.Response:
    """Ask the management port to load or unload a version, or what a policy chooses."""
    place = model if version is None else f"{model}/versions/{version}"
    with server.admin() as admin:
        return admin.post(f"/admin/v1/models/{place}/{what}", json={}, headers=headers)


def row(server: Server, model: str, version: str = "1") -> dict[str, Any]:
    """What the index says of one version; nothing where it is not known."""
    rows = [one for one in server.index() if (one["name"], one["version"]) == (model, version)]
    return rows[0] if rows else {}


def state(server: Server, model: str, version: str = "1") -> str | None:
    """The state of one version, None where it is not known."""
    found: str | None = row(server, model, version).get("state")
    return found


def wait_until(is_so: Callable[[], bool], what: Callable[[], object]) -> None:
    """Ask again and again until it is so; else say `what` is."""
    latest = time.monotonic() + WATCHDOG_S
    while not is_so():
        assert time.monotonic() < latest, what()


def wait_for_state(server: Server, expected: str | None, model: str, version: str = "1") -> None:
    """Wait until a version is in a state; None: until it is not known."""
    wait_until(
        lambda: state(server, model, version) == expected, lambda: row(server, model, version)
    )


def telemetry(server: Server) -> dict[str, Any]:
    """All counters, as the management port tells them."""
    with server.admin() as admin:
        found: dict[str, Any] = admin.get("/admin/v1/telemetry").json()
    return found


def executing(server: Server, model: str) -> int:
    """How many executions of a model are under way, wherever."""
    return sum(key["executing"] for key in telemetry(server)["keys"] if key["model"] == model)


def metrics(server: Server) -> dict[str, float]:
    """Every series of a scrape, by its name and labels."""
    with server.admin() as admin:
        lines = admin.get("/metrics").text.splitlines()
    pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {series: float(value) for series, _, value in pairs}
