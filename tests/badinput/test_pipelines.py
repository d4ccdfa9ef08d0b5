"""Many requests at once, of every kind, good and bad: answered in order, one answer each."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from tests.badinput.bodies import BODIES
from tests.badinput.dialects import DIALECTS
from tests.badinput.framing import FRAMING
from tests.badinput.rows import Row
from tests.badinput.targets import TARGETS
from tests.badinput.tensors import TENSORS
from tests.badinput.test_refusals import check_refusal
from tests.server import Answer, Server, Wire, get, infer, request, tensor

KEEPING = [row for row in (*TARGETS, *BODIES, *TENSORS, *DIALECTS) if row.keeps]
SHORT = [row for row in KEEPING if len(row.request) < 400]
PIPELINE = 60  # requests: more than the server reads ahead

Send = Callable[[Wire, bytes], None]


@dataclass(frozen=True)
class Turn:
    """One request of a pipeline, and what must come when it is its turn."""

    request: bytes
    check: Callable[[Answer], None]
    method: str = "POST"


def echo(number: int) -> Turn:
    """An inference known by its number."""
    values = [float(number)] * 4

    def check(answer: Answer) -> None:
        assert answer.outputs == {"y": values}
        assert answer.json["id"] == f"request {number}"

    x = tensor("x", "FP32", [1, 4], values)
    return Turn(infer("echo", x, id=f"request {number}"), check)


def patient(number: int) -> Turn:
    """An inference that runs in a thread and takes a while."""

    def check(answer: Answer) -> None:
        assert answer.outputs == {"y": [number]}

    return Turn(infer("patient", tensor("x", "INT64", [1], [number])), check)


def question(target: str, *members: str) -> Turn:
    def check(answer: Answer) -> None:
        assert answer.status == 200
        assert list(answer.json) == list(members)

    return Turn(get(target), check)


def bare(target: str) -> Turn:
    """A HEAD: the headers of a GET, and no body."""

    def check(answer: Answer) -> None:
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 0

    return Turn(request(target, method="HEAD"), check, "HEAD")


def options(target: str) -> Turn:
    def check(answer: Answer) -> None:
        assert (answer.status, answer.body) == (204, b"")
        assert "POST" in answer.headers["allow"]

    return Turn(request(target, method="OPTIONS"), check, "OPTIONS")


def refusal(row: Row) -> Turn:
    return Turn(row.request, lambda answer: check_refusal(answer, row))


def mixed(dice: random.Random, count: int, bad: Sequence[Row] = SHORT) -> list[Turn]:
    """Draw a pipeline of every kind of request."""
    kinds: Sequence[Callable[[int], Turn]] = (
        echo,
        echo,
        lambda number: patient(number * 10),
        lambda _: question("/v2/models/echo", "name", "versions", "platform", "inputs", "outputs"),
        lambda _: question("/v2/health/live", "live"),
        lambda _: bare("/v2/models"),
        lambda _: options("/v2/models/echo/infer"),
        lambda _: refusal(dice.choice(bad)),
        lambda _: refusal(dice.choice(bad)),
    )
    return [dice.choice(kinds)(number) for number in range(count)]


def at_once(wire: Wire, raw: bytes) -> None:
    wire.send(raw)


def byte_by_byte(wire: Wire, raw: bytes) -> None:
    wire.dribble(raw)


def in_pieces(wire: Wire, raw: bytes) -> None:
    """Cut anywhere, the same way every time."""
    dice = random.Random(len(raw))
    while raw:
        size = dice.randint(1, 700)
        wire.send(raw[:size])
        raw = raw[size:]


@pytest.mark.parametrize("send", [at_once, byte_by_byte, in_pieces])
@pytest.mark.parametrize("seed", range(4))
def test_a_mixed_pipeline_is_answered_in_order(server: Server, seed: int, send: Send) -> None:
    turns = mixed(random.Random(seed), PIPELINE)
    with server.connect() as wire:
        send(wire, b"".join(turn.request for turn in turns))
        for turn in turns:
            turn.check(wire.answer(turn.method))


def test_large_bad_requests_keep_their_turn_too(server: Server) -> None:
    """As many as the sockets hold are on their way before the first answer is read."""
    turns = [refusal(row) for row in KEEPING if len(row.request) < 60_000]
    with server.connect() as wire:
        for start in range(0, len(turns), 20):
            part = [echo(start), *turns[start : start + 20]]
            wire.send(b"".join(turn.request for turn in part))
            for turn in part:
                turn.check(wire.answer(turn.method))


@pytest.mark.parametrize("row", FRAMING[::7], ids=lambda row: row.sentence)
def test_a_request_that_cannot_be_framed_waits_for_its_turn_and_is_the_last(
    server: Server, row: Row
) -> None:
    before = [patient(5000), echo(1), question("/v2/health/live", "live")]
    with server.connect() as wire:
        wire.send(b"".join(turn.request for turn in before) + row.request)
        for turn in before:
            turn.check(wire.answer(turn.method))
        check_refusal(wire.answer(), row)
        assert wire.is_ended()


def test_nothing_after_a_request_that_cannot_be_framed_is_answered(server: Server) -> None:
    bad = next(row for row in FRAMING if row.sentence == "a length beside chunks")
    with server.connect() as wire:
        wire.send(bad.request + echo(1).request * 3)
        check_refusal(wire.answer(), bad)
        assert wire.is_ended()


def test_nothing_after_a_request_to_close_is_answered(server: Server) -> None:
    last = get("/v2/health/live", "Connection: close")
    with server.connect() as wire:
        wire.send(echo(1).request + last + echo(2).request)
        echo(1).check(wire.answer())
        answer = wire.answer()
        assert (answer.status, answer.closes) == (200, True)
        assert wire.is_ended()


def test_pipelines_of_many_clients_do_not_mix(server: Server) -> None:
    pipelines = [mixed(random.Random(100 + seed), 24) for seed in range(12)]
    with server.connections(len(pipelines)) as wires:
        for wire, turns in zip(wires, pipelines, strict=True):
            wire.send(b"".join(turn.request for turn in turns))
        for wire, turns in zip(wires, pipelines, strict=True):
            for turn in turns:
                turn.check(wire.answer(turn.method))


def test_a_body_in_chunks_is_a_body(server: Server) -> None:
    turn = echo(7)
    head, _, whole = turn.request.partition(b"\r\n\r\n")
    head = head.rpartition(b"\r\n")[0] + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, whole[at : at + 1]) for at in range(len(whole)))
    chunked = head + chunks + b"0\r\nA-Trailer: dropped\r\n\r\n"
    with server.connect() as wire:
        wire.send(chunked + chunked)
        turn.check(wire.answer())
        turn.check(wire.answer())


def test_a_client_that_asks_first_is_told_to_go_on(server: Server) -> None:
    turn = echo(3)
    head, _, whole = turn.request.partition(b"\r\n\r\n")
    with server.connect() as wire:
        wire.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(whole)
        turn.check(wire.answer())


def test_a_client_that_asks_first_may_be_refused_at_once(server: Server) -> None:
    huge = ["Expect: 100-continue", "Content-Length: 999999999"]
    with server.connect() as wire:
        wire.send(get("/v2", *huge))
        answer = wire.answer()
        assert (answer.status, answer.json["code"], answer.closes) == (413, "too_large", True)
        assert wire.is_ended()


def test_a_large_upload_that_is_refused_sees_its_refusal_and_no_reset(server: Server) -> None:
    """The client sends all of it before it looks: 8 MiB against a limit of 1."""
    size = 8 << 20
    with server.connect() as wire:
        wire.send(get("/v2", f"Content-Length: {size}") + b" " * size)
        answer = wire.answer()
        assert (answer.status, answer.json["code"]) == (413, "too_large")
        assert wire.is_ended()
