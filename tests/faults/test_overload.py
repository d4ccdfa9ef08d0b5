"""More is asked than can be answered: who is let in is answered in time, the rest at once.

Counts and states alone: how fast, is a matter of bench.
"""

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.server import Answer, Server, infer, serving, tensor
from tests.zoo import write_echo, write_plodding

CALLERS = 200
ROUNDS = 3
CODES = {"overloaded": 429, "deadline_exceeded": 504}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("overload")
    models = write_plodding(folder / "models")
    write_echo(models, "echo")
    with serving(models, folder, replicas=1) as running:
        yield running


def ask(number: int, timeout_ms: int, priority: int = 2) -> bytes:
    parameters = {"timeout": timeout_ms * 1000, "priority": priority}
    return infer("plodding", tensor("x", "INT64", [1], [number]), parameters=parameters)


def flood(server: Server, timeout_ms: int) -> list[tuple[int, Answer]]:
    """Everybody asks at once, hears an answer, and asks again; return who heard what."""
    heard: list[tuple[int, Answer]] = []
    with server.connections(CALLERS) as wires:
        for _ in range(ROUNDS):
            for number, wire in enumerate(wires):
                wire.send(ask(number, timeout_ms, priority=1 + number % 4))
            heard += [(number, wire.answer()) for number, wire in enumerate(wires)]
    return heard


def counted(server: Server, pattern: str) -> int:
    """Sum the samples of /metrics whose line begins as `pattern` says."""
    with server.admin() as admin:
        lines = admin.get("/metrics").text.splitlines()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if re.match(pattern, line))


def sheds(server: Server) -> Counter[str]:
    names = ("limit", "priority", "sojourn", "deadline", "rows")
    return Counter(
        {one: counted(server, rf'gateway_shed_total{{reason="{one}"}}') for one in names}
    )


def executed(server: Server) -> int:
    return counted(server, r'gateway_executions_total{model="plodding"')


def test_a_flood_is_answered_to_the_last_and_runs_only_for_those_who_hear_it(
    server: Server,
) -> None:
    ran, shed = executed(server), sheds(server)
    heard = flood(server, timeout_ms=150)
    assert len(heard) == CALLERS * ROUNDS
    statuses = Counter(answer.status for _, answer in heard)
    assert set(statuses) <= {200, 429, 504}
    assert statuses[200] > 0
    assert statuses[429] + statuses[504] > 0, "there was no overload: the test is too soft"
    for number, answer in heard:
        if answer.status == 200:
            assert answer.outputs == {"y": [number]}
        else:
            assert CODES[answer.json["code"]] == answer.status
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) >= 1
    late = sum(answer.status == 504 and answer.json["stage"] == "execute" for _, answer in heard)
    assert executed(server) - ran == statuses[200] + late
    early = sum(answer.status == 504 and answer.json["stage"] == "admission" for _, answer in heard)
    assert (sheds(server) - shed).total() == statuses[429] + early


def test_a_flood_of_one_model_leaves_another_alone(server: Server) -> None:
    echo = infer("echo", tensor("x", "FP32", [1, 4], [1, 2, 3, 4]))
    with server.connections(CALLERS) as wires, server.connect() as healthy:
        for number, wire in enumerate(wires):
            wire.send(ask(number, 150))
        for _ in range(50):
            assert healthy.ask(echo).status == 200
        assert {wire.answer().status for wire in wires} <= {200, 429, 504}


def test_after_a_flood_nobody_is_refused(server: Server) -> None:
    flood(server, timeout_ms=100)
    with server.connect() as wire:
        for number in range(40):
            assert wire.ask(ask(number, 5_000)).outputs == {"y": [number]}


def test_callers_with_one_request_each_and_much_time_are_no_overload(server: Server) -> None:
    before = sheds(server)
    with server.connections(20) as wires:
        for _ in range(10):
            for number, wire in enumerate(wires):
                wire.send(ask(number, 10_000))
            assert {wire.answer().status for wire in wires} == {200}
    assert sheds(server) == before
