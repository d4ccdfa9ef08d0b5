import asyncio
from collections.abc import Sequence

import pytest

from bench.answers import Caller, told, who

FIRST = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-gateway-version: 2\r\n"
    b"x-gateway-variant: canary\r\nx-gateway-revision: 7\r\nx-request-id: "
)
ANSWER = FIRST + b"a-1\r\ncontent-length: 4\r\n\r\n[5]\n"
OTHER = ANSWER.replace(b"canary", b"stable").replace(b"version: 2", b"version: 1")
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nx-request-id: b\r\ncontent-length: 2\r\n\r\n{}"


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 4000)})
        self.written: list[bytes] = []

    def write(self, data: "bytes | bytearray | memoryview[int]") -> None:
        self.written.append(bytes(data))


class Line:
    """A caller on a wire, and how often it said that it is done."""

    def __init__(self, requests: Sequence[bytes] = (b"a", b"b", b"c")) -> None:
        self.wire = Wire()
        self.ends = 0
        self.caller = Caller(requests, self.end)
        self.caller.connection_made(self.wire)

    def end(self) -> None:
        self.ends += 1


def test_an_answer_says_who_it_was() -> None:
    assert who(FIRST) == (200, "7", "canary", "2")


def test_a_refusal_names_nobody() -> None:
    assert who(REFUSED) == (503, "", "", "")


def test_as_many_are_sent_as_were_answered_and_no_more_than_asked_for() -> None:
    line = Line()
    line.caller.send(4, depth=2)
    line.caller.data_received(ANSWER)
    line.caller.data_received(ANSWER + ANSWER)
    assert line.wire.written == [b"ab", b"c", b"a"]
    assert line.ends == 0
    line.caller.data_received(ANSWER)
    assert (line.ends, line.caller.unanswered) == (1, 0)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_answers_are_counted_however_they_are_cut(size: int) -> None:
    line = Line()
    stream = ANSWER + OTHER + REFUSED + ANSWER
    line.caller.send(4, depth=4)
    for at in range(0, len(stream), size):
        line.caller.data_received(stream[at : at + size])
    assert sorted(told([line.caller])) == [
        [4000, 200, "7", "canary", "2", 2],
        [4000, 200, "7", "stable", "1", 1],
        [4000, 503, "", "", "", 1],
    ]


def test_who_is_stopped_waits_for_what_is_in_flight() -> None:
    line = Line()
    line.caller.send(100, depth=2)
    line.caller.stop()
    assert line.ends == 0
    line.caller.data_received(ANSWER + ANSWER)
    assert (line.ends, line.wire.written) == (1, [b"ab"])


def test_what_a_closed_connection_leaves_unanswered_is_told() -> None:
    line = Line()
    line.caller.send(3, depth=3)
    line.caller.data_received(ANSWER)
    line.caller.connection_lost(None)
    assert line.ends == 1
    assert told([line.caller]) == [
        [4000, 200, "7", "canary", "2", 1],
        [4000, 0, "", "", "", 2],
    ]
