"""Clients that leave at any moment harm nobody but themselves."""

import random
import socket
from collections.abc import Callable, Sequence

import pytest

from tests.faults.crowd import Caller, ask_for, check, check_health
from tests.server import Server, Wire

CALLERS = 120

Leave = Callable[[Wire], None]


def close(wire: Wire) -> None:
    wire.socket.close()


def reset(wire: Wire) -> None:
    wire.reset()


def stop_sending(wire: Wire) -> None:
    wire.socket.shutdown(socket.SHUT_WR)


def stop_reading(wire: Wire) -> None:
    wire.socket.shutdown(socket.SHUT_RD)
    wire.socket.close()


WAYS: Sequence[Leave] = (close, reset, stop_sending, stop_reading)


@pytest.mark.parametrize("seed", range(5))
def test_whoever_stays_gets_the_right_answers(server: Server, seed: int) -> None:
    """Half of the callers leave, each at its own point, while the others ask and wait."""
    dice = random.Random(seed)
    leavers = set(dice.sample(range(CALLERS), CALLERS // 2))
    leaving: list[Wire] = []
    with server.connections(CALLERS) as wires:
        callers = [Caller(wire, dice, number) for number, wire in enumerate(wires)]
        for number, caller in enumerate(callers):
            if number in leavers:
                caller.wire.send(caller.raw[: dice.randint(0, len(caller.raw))])
                leaving.append(caller.wire)
            else:
                caller.wire.send(caller.raw)
            if leaving and dice.random() < 0.5:
                dice.choice(WAYS)(leaving.pop(dice.randrange(len(leaving))))
        for wire in leaving:
            dice.choice(WAYS)(wire)
        for number, caller in enumerate(callers):
            if number not in leavers:
                caller.hear()


@pytest.mark.parametrize("leave", WAYS)
def test_whoever_leaves_the_queue_leaves_the_others_their_places(
    server: Server, leave: Leave
) -> None:
    """All wait for one thread, which is busy; every second one leaves meanwhile."""
    with server.connect() as first, server.connections(40) as wires:
        first.send(ask_for("patient", 300_000))
        for number, wire in enumerate(wires):
            wire.send(ask_for("patient", number))
        for wire in wires[::2]:
            leave(wire)
        for number, wire in enumerate(wires):
            if number % 2:
                check(wire.answer(), "patient", number)
        check(first.answer(), "patient", 300_000)


@pytest.mark.parametrize("leave", WAYS)
def test_whoever_leaves_while_his_call_runs_harms_nobody(server: Server, leave: Leave) -> None:
    with server.connect() as running:
        running.send(ask_for("patient", 200_000))
        check_health(server, 3)  # asked after it, so it runs now
        leave(running)
        check(server.ask(ask_for("patient", 5)), "patient", 5)


def test_half_a_body_is_no_request_whatever_was_promised(server: Server) -> None:
    """A promise of 60 MB costs nothing until it is kept."""
    head = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n"
    before = server.rss_bytes()
    with server.connections(200) as wires:
        for wire in wires:
            wire.send(head + b'{"inputs":[')
        check_health(server)
        assert server.rss_bytes() - before < 32 << 20
        for wire in wires:
            wire.reset()
    check_health(server)


def test_a_connection_that_asks_nothing_harms_nobody(server: Server) -> None:
    with server.connections(300) as wires:
        for at, wire in enumerate(wires):
            WAYS[at % len(WAYS)](wire)
        check_health(server)


def test_nobody_who_left_was_worth_a_complaint(server: Server) -> None:
    """A model that fails speaks of itself; nothing else may have been written."""
    lines = server.complaints().splitlines()
    assert [line for line in lines if "onnxruntime" not in line] == []
