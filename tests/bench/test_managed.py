import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from bench import managed
from bench.launch import Server
from bench.managed import NeverSo, Process, are_whole

ROWS = [{"slot": 0, "pid": 11, "state": "serving", "restarts": 0, "started_at": "then"}]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A management port that knows one replica."""
    answer = tmp_path / "admin" / "v1" / "replicas"
    answer.parent.mkdir(parents=True)
    answer.write_text(json.dumps({"replicas": ROWS}))
    answers = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with HTTPServer(("127.0.0.1", 0), answers) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        (tmp_path / "log").write_text(
            f"managed on http://127.0.0.1:{listener.server_port}\nserving digits (1) on …\n"
        )
        yield Server("gateway", 10, 1, tmp_path, 0.5)
        listener.shutdown()
        thread.join()


def test_replicas_are_asked_where_the_gateway_says_that_it_is_managed(server: Server) -> None:
    assert managed.replicas(server) == (Process(0, 11, "serving"),)


def test_a_gateway_that_says_nothing_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    with pytest.raises(NeverSo):
        managed.replicas(Server("gateway", 10, 1, tmp_path, 0.5))


SERVING, STARTING, RETIRING = (
    Process(0, 11, "serving"),
    Process(1, 12, "starting"),
    Process(1, 13, "retiring"),
)


@pytest.mark.parametrize(
    ("seen", "without", "expected"),
    [
        ((SERVING,), frozenset(), True),
        ((SERVING,), frozenset({11}), False),  # nobody has noticed yet
        ((STARTING,), frozenset(), False),
        ((SERVING, STARTING), frozenset({99}), True),
        ((SERVING, RETIRING), frozenset({13}), False),  # it still sees callers off
        ((), frozenset(), False),
    ],
)
def test_a_fleet_is_whole_when_enough_serve_and_the_old_are_gone(
    seen: tuple[Process, ...], without: frozenset[int], expected: bool
) -> None:
    assert are_whole(seen, 1, without) is expected


def test_waiting_ends_when_the_successor_serves(tmp_path: Path) -> None:
    looks = iter([(SERVING,), (), (STARTING,), (Process(0, 21, "serving"),)])
    home = Server("gateway", 10, 1, tmp_path, 0.5)
    managed.wait(home, 1, {11}, lambda _server: next(looks))
    assert next(looks, None) is None
