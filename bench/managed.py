"""What a running gateway says of its own processes, on its management port.

Job    find the replicas of a gateway that the bench has started; wait until they stand.
Never  changes anything.
"""

import http.client
import json
import re
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from bench.launch import Server

MANAGED = re.compile(r"^managed on http://([0-9.]+):([0-9]+)$", re.MULTILINE)
POLL_S = 0.01
WAIT_S = 60.0


class NeverSo(RuntimeError):
    """What was waited for did not come; the message says what was there instead."""


@dataclass(frozen=True, slots=True)
class Process:
    """One replica as its supervisor sees it."""

    slot: int
    pid: int
    state: str


def replicas(server: Server) -> tuple[Process, ...]:
    """Every replica that lives, by slot. Raises: OSError."""
    connection = connect(server)
    try:
        connection.request("GET", "/admin/v1/replicas")
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return tuple(Process(one["slot"], one["pid"], one["state"]) for one in answer["replicas"])


def connect(server: Server) -> http.client.HTTPConnection:
    """Lead to where the gateway is managed; the caller closes. Raises: NeverSo."""
    said = MANAGED.search((server.home / "log").read_text(errors="replace"))
    if said is None:
        raise NeverSo("the gateway did not say where it is managed")
    return http.client.HTTPConnection(said[1], int(said[2]), timeout=WAIT_S)


def are_whole(seen: tuple[Process, ...], count: int, without: AbstractSet[int]) -> bool:
    """Whether so many serve, and nobody of `without` lives any more."""
    serving = [one for one in seen if one.state == "serving"]
    return len(serving) == count and not {one.pid for one in seen} & without


def wait(
    server: Server,
    count: int,
    without: AbstractSet[int],
    look: Callable[[Server], tuple[Process, ...]] = replicas,
) -> None:
    """Wait until so many serve, and nobody of `without` lives any more. Raises: NeverSo."""
    latest_s = time.monotonic() + WAIT_S
    while not are_whole(seen := look(server), count, without):
        if time.monotonic() > latest_s:
            raise NeverSo(f"expected {count} replicas without {sorted(without)}, got {seen}")
        time.sleep(POLL_S)
