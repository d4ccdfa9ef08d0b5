"""A connection's life: used again and again, and ended in order when its time has come."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import WATCHDOG_S, Server, get, infer, serving, tensor
from tests.zoo import LONG, write_few

pytestmark = pytest.mark.slow

X = tensor("x", "FP32", [1, 4], [1, 2, 3, 4])
REQUEST = infer("echo", X)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_few(tmp_path_factory.mktemp("connections"))


@pytest.fixture
def impatient(models: Path, tmp_path: Path) -> Iterator[Server]:
    with serving(models, tmp_path, limits__keep_alive_s=0.3, default_deadline_s=60) as running:
        yield running


def test_a_connection_answers_as_many_requests_as_it_is_asked(demo: Server) -> None:
    with demo.connect() as wire:
        for _ in range(300):
            answer = wire.ask(get("/v2/health/live"))
            assert (answer.status, answer.closes) == (200, False)


def test_an_old_connection_ends_in_order_with_an_answer(models: Path, tmp_path: Path) -> None:
    with serving(models, tmp_path, connection_max_age_s=0.3) as server, server.connect() as wire:
        latest = time.monotonic() + WATCHDOG_S
        while not (answer := wire.ask(REQUEST)).closes:
            assert answer.outputs == {"y": [1.0, 2.0, 3.0, 4.0]}
            assert time.monotonic() < latest
        assert answer.outputs == {"y": [1.0, 2.0, 3.0, 4.0]}
        assert wire.is_ended()


def test_an_old_connection_answers_its_pipeline_to_the_end(models: Path, tmp_path: Path) -> None:
    """Whatever the server has read it answers; only the last answer says that it closes."""
    with serving(models, tmp_path, connection_max_age_s=0.3) as server, server.connect() as wire:
        latest = time.monotonic() + WATCHDOG_S
        closes = [False]
        while not closes[-1]:
            assert time.monotonic() < latest
            wire.send(REQUEST * 16)
            closes = [wire.answer().closes for _ in range(16)]
            assert not any(closes[:-1])
        assert wire.is_ended()


def test_a_connection_that_was_used_and_rests_too_long_is_ended(impatient: Server) -> None:
    with impatient.connect() as wire:
        assert not wire.ask(REQUEST).closes
        assert wire.is_ended()


def test_a_connection_that_never_speaks_is_ended_without_a_word(impatient: Server) -> None:
    with impatient.connect() as wire:
        assert wire.is_ended()


def test_a_slow_request_is_no_rest(impatient: Server) -> None:
    """It takes longer than a connection may rest, and its connection is kept."""
    with impatient.connect() as wire:
        slow = infer("patient", tensor("x", "INT64", [1], [LONG]))
        answer = wire.ask(slow)
        assert (answer.outputs, answer.closes) == ({"y": [LONG]}, False)
        assert wire.ask(REQUEST).status == 200


def test_a_connection_too_many_is_refused_with_a_time_to_come_back(
    models: Path, tmp_path: Path
) -> None:
    with serving(models, tmp_path, limits__max_connections=3) as server:
        with server.connections(3) as wires:
            assert [wire.ask(REQUEST).status for wire in wires] == [200] * 3
            with server.connect() as fourth:
                answer = fourth.answer()
                assert (answer.status, answer.json["code"]) == (429, "overloaded")
                assert int(answer.headers["retry-after"]) >= 1
                assert answer.closes
                assert fourth.is_ended()
            assert [wire.ask(REQUEST).status for wire in wires] == [200] * 3
        latest = time.monotonic() + WATCHDOG_S
        while not takes_another(server):  # once it has heard the others leave
            assert time.monotonic() < latest


def takes_another(server: Server) -> bool:
    """Ask without a word: a connection too many is answered before it speaks."""
    with server.connect() as wire:
        wire.send(REQUEST)
        return wire.answer().status == 200
