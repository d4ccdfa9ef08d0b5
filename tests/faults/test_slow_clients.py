"""Clients that send or read as slowly as they can meet a limit, and others notice nothing."""

import select
import socket
import threading
import time
from contextlib import suppress

import pytest

from tests.faults.crowd import ask_for, check_health
from tests.server import WATCHDOG_S, Answer, Server, Wire, infer, tensor

pytestmark = pytest.mark.slow

HEAD = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n"
BEGINS = {"head": HEAD + b"A: ", "body": HEAD + b"\r\n"}


def has_answer(wire: Wire) -> bool:
    return bool(select.select([wire.socket], [], [], 0)[0])


def drip(wire: Wire) -> None:
    """Send a byte more, unless the server has had enough."""
    if not has_answer(wire):
        try:
            wire.send(b" ")
        except ConnectionError:
            return


def check_late(answer: Answer, stage: str) -> None:
    assert (answer.status, answer.json["code"]) == (408, "request_timeout")
    assert f"the request's {stage} did not arrive within 1.0 s" in answer.json["error"]
    assert answer.closes


def test_200_slow_senders_are_told_so_and_the_others_are_served(server: Server) -> None:
    stages = ["head", "body"] * 100
    latest = time.monotonic() + WATCHDOG_S
    with server.connections(len(stages)) as wires:
        for stage, wire in zip(stages, wires, strict=True):
            wire.send(BEGINS[stage])
        while not all(map(has_answer, wires)):
            assert time.monotonic() < latest
            for wire in wires:
                drip(wire)
            check_health(server, 3)
        for stage, wire in zip(stages, wires, strict=True):
            check_late(wire.answer(), stage)
    check_health(server)


@pytest.mark.parametrize("stage", ["head", "body"])
def test_a_slow_request_behind_a_good_one_is_told_after_it(server: Server, stage: str) -> None:
    with server.connect() as wire:
        wire.send(ask_for("echo", 1) + BEGINS[stage])
        assert wire.answer().outputs == {"y": [1.0] * 4}
        check_late(wire.answer(), stage)
        assert wire.is_ended()


def test_who_does_not_read_his_answers_is_dropped_and_memory_stays_bounded(
    server: Server,
) -> None:
    """Each asks for some 50 MB of answers, and takes none of them."""
    values = [0.125] * 50_000
    large = infer("free", tensor("x", "FP32", [1, len(values)], values))
    server.ask(large)
    before = server.rss_bytes()
    latest = time.monotonic() + WATCHDOG_S
    ends = select.poll()
    with server.connections(10) as wires:
        unsent = dict.fromkeys(wires, memoryview(large * 200))
        for wire in wires:
            wire.socket.setblocking(False)
            ends.register(wire.socket, 0)  # its end alone: POLLHUP and POLLERR
        while len(ends.poll(0)) < len(wires):
            assert time.monotonic() < latest
            for wire in wires:
                unsent[wire] = unsent[wire][send_some(wire, unsent[wire]) :]
            check_health(server, 3)
            assert server.rss_bytes() - before < 120 << 20
        assert min(map(len, unsent.values())) > 100 * len(large)  # the server stopped reading
    check_health(server)


def send_some(wire: Wire, raw: memoryview) -> int:
    """Send what the socket takes without waiting; return how much that was."""
    sent = 0
    with suppress(BlockingIOError, ConnectionError):
        while sent < len(raw):
            sent += wire.socket.send(raw[sent:])
    return sent


def take(wire: Wire, most_bytes: int) -> bytes:
    piece = wire.socket.recv(most_bytes)
    assert piece, "cut off"
    return piece


def test_who_reads_slowly_but_reads_gets_it_all(server: Server) -> None:
    """Far more than all buffers hold, read for three times the time that a stall may last."""
    values = [0.125] * 200_000
    large = infer("free", tensor("x", "FP32", [1, len(values)], values))
    with server.connect() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sending = threading.Thread(target=wire.send, args=(large * 16,), daemon=True)
        sending.start()
        received = bytearray()
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            received += take(wire, 1024)
            check_health(server, 1)
        while received.count(b"]}]}") < 16:
            received += take(wire, 1 << 20)
        sending.join(WATCHDOG_S)
    assert received.count(b"0.125") == 16 * len(values)
