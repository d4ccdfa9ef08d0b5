"""Lane: one connection, its order, its limits and its end, by a clock that jumps."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batch.batcher import Batcher, Finish
from gateway.core.batching import Policy as BatchingPolicy
from gateway.core.pausing import Share
from gateway.errors import ClientGone, Overloaded
from gateway.flow import Flow, Served
from gateway.types import Arm, Call, Outputs
from gateway.wire.heads import Head, HeadCache
from gateway.wire.port import Policy, Pressure
from gateway.wire.runner import Message, Receive, Send
from tests.clock import play
from tests.fakes import a_record
from tests.wire.harness import (
    DOUBLE,
    Answer,
    Desk,
    Echo,
    Line,
    Ticking,
    Waiting,
    Wire,
    answers,
    echo,
    infer,
    listening,
    monotonic,
    numbers,
    peer,
    port_of,
    request,
    turns,
)
from tests.wire.splitting import GUARDED

LIVE = request("GET", "/livez")
BAD_JSON = request("POST", "/v2/models/m/infer", b"{")
BAD_TERM = request("POST", "/v2/models/m/infer", numbers(1, 2), "x-request-timeout-ms: soon")
BAD_PATH = request("GET", "/%zz")
BROKEN = b"NONSENSE\r\n\r\n"


# one request


def test_an_inference_is_answered_before_data_received_returns() -> None:
    async def scene() -> list[Answer]:
        line = Line(Echo())
        line.send(infer(7, "x-request-id: me"))
        return line.answers()

    (answer,) = play(scene)
    assert answer.status == 200
    assert answer.headers == {
        "content-type": "application/json",
        "x-gateway-version": "1",
        "x-request-id": "me",
        "content-length": str(len(answer.body)),
    }
    assert answer.json == {
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [7.0, 0.0]}],
    }


def test_an_answer_is_one_write() -> None:
    async def scene() -> int:
        line = Line(Echo())
        line.send(infer(7))
        return line.wire.writes

    assert play(scene) == 1


def test_every_request_without_a_name_gets_one_of_its_own() -> None:
    async def scene() -> set[str]:
        line = Line(Echo())
        line.send(infer(1), infer(2), LIVE, BAD_PATH)
        await turns()
        return {answer.headers["x-request-id"] for answer in line.answers("POST", "POST", "GET")}

    assert len(play(scene)) == 4


def test_what_is_no_inference_is_answered_by_the_app() -> None:
    async def scene() -> list[Answer]:
        line = Line(Echo())
        line.send(LIVE)
        await turns()
        assert line.port.tasks == set()
        return line.answers("GET")

    (answer,) = play(scene)
    assert (answer.status, answer.json) == (200, {"live": True})


@pytest.mark.parametrize("is_tls", [False, True])
def test_the_app_is_told_who_asks_and_how(is_tls: bool) -> None:
    seen: list[Message] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})

    class Secure(Wire):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return is_tls if name == "sslcontext" else super().get_extra_info(name, default)

    async def scene() -> list[Answer]:
        wire = Secure() if is_tls else Wire()
        port = port_of(Echo())
        port.app = app
        line = Line(Echo(), port=port, wire=wire)
        line.send(LIVE)
        await turns()
        return line.answers("GET")

    (answer,) = play(scene)
    assert answer.status == 204
    assert seen[0]["scheme"] == ("https" if is_tls else "http")
    assert (seen[0]["client"], seen[0]["server"]) == (("127.0.0.1", 5), ("127.0.0.1", 80))


@pytest.mark.parametrize(
    ("path", "status"), [("/livez", 200), ("/nowhere", 404), ("/%zz", 400), ("/v2/models/x", 404)]
)
def test_a_head_request_gets_the_headers_of_a_get_and_no_body(path: str, status: int) -> None:
    async def scene() -> tuple[Answer, Answer]:
        line = Line(Echo())
        line.send(request("GET", path, b"", "x-request-id: a"))
        line.send(request("HEAD", path, b"", "x-request-id: a"))
        line.send(request("GET", path, b"", "x-request-id: a"))
        await turns()
        whole, bare, after = line.answers("GET", "HEAD", "GET")
        assert after == whole
        return whole, bare

    whole, bare = play(scene)
    assert (bare.status, bare.headers, bare.body) == (status, whole.headers, b"")
    assert whole.body


def test_an_app_that_fails_on_a_head_request_sends_no_body_either() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        raise RuntimeError

    async def scene() -> list[int]:
        port = port_of(Echo())
        port.app = app
        line = Line(Echo(), port=port)
        line.send(request("HEAD", "/livez"), LIVE)
        await turns()
        return line.statuses("HEAD", "GET")

    assert play(scene) == [500, 500]


# order


@given(st.permutations(range(6)))
def test_answers_leave_in_the_order_of_their_requests(order: list[int]) -> None:
    async def scene() -> list[float]:
        desk = Desk()
        line = Line(desk)
        line.send(b"".join(infer(at) for at in range(6)))
        for at in order:
            echo(desk.calls[at])
        return line.firsts()

    assert play(scene) == [0, 1, 2, 3, 4, 5]


KINDS = {"infer": 200, "live": 200, "json": 400, "term": 400, "path": 400, "none": 404}
BYTES = {
    "infer": infer(1),
    "live": LIVE,
    "json": BAD_JSON,
    "term": BAD_TERM,
    "path": BAD_PATH,
    "none": request("GET", "/none"),
}


@given(
    st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=14),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_inference_metadata_and_bad_requests_mixed_are_answered_in_order(
    kinds: list[str], dice: Any, is_one_piece: bool
) -> None:
    async def scene() -> list[tuple[int, str]]:
        desk = Desk()
        line = Line(desk)
        named = [
            BYTES[kind].replace(b"host: h\r\n", b"host: h\r\nx-request-id: %d\r\n" % at)
            for at, kind in enumerate(kinds)
        ]
        line.send(*([b"".join(named)] if is_one_piece else named))
        while desk.calls:
            if dice.random() < 0.5:
                await turns()
            echo(desk.calls.pop(dice.randrange(len(desk.calls))))
        await turns()
        return [(answer.status, answer.headers["x-request-id"]) for answer in line.answers()]

    assert play(scene) == [(KINDS[kind], str(at)) for at, kind in enumerate(kinds)]


def test_a_request_that_cannot_be_framed_is_answered_in_its_turn() -> None:
    async def scene() -> list[int]:
        desk = Desk()
        line = Line(desk)
        line.send(infer(1) + LIVE + BROKEN + infer(2))
        await turns()
        assert line.wire.written == b""
        echo(desk.calls[0])
        await turns()
        return line.statuses()

    assert play(scene) == [200, 200, 400]


def test_nothing_is_read_after_a_request_that_cannot_be_framed() -> None:
    async def scene() -> int:
        desk = Desk()
        line = Line(desk)
        line.send(BROKEN, infer(1))
        line.send(infer(2))
        return len(desk.calls)

    assert play(scene) == 0


@given(st.lists(st.integers(1, 3000), max_size=8))
def test_answers_do_not_depend_on_how_the_requests_were_cut(places: list[int]) -> None:
    text = infer(1) + LIVE + BAD_JSON + b"\r\n" + BAD_PATH + infer(2) + infer(3)
    ends = sorted({0, len(text), *(place % len(text) for place in places)})
    pieces = [text[start:stop] for start, stop in itertools.pairwise(ends)]

    async def scene() -> list[int]:
        line = Line(Echo())
        for piece in pieces:
            line.send(piece)
            await turns(2)
        await turns()
        return line.statuses()

    assert play(scene) == [200, 200, 400, 400, 200, 200]


# back-pressure


def test_reading_pauses_while_the_pipeline_is_full_and_goes_on_after_an_answer() -> None:
    async def scene() -> None:
        desk = Desk()
        line = Line(desk, Policy(max_pipeline_depth=16))
        line.send(b"".join(infer(at) for at in range(16)))
        assert line.wire.reads
        line.send(infer(16))
        assert (len(desk.calls), line.wire.reads) == (16, False)
        echo(desk.calls[1])  # not its turn: the pipeline is as full as before
        assert (len(desk.calls), line.wire.reads) == (16, False)
        echo(desk.calls[0])  # frees two places
        assert (len(desk.calls), line.wire.reads) == (17, True)
        for call in desk.calls[2:]:
            echo(call)
        assert line.firsts() == list(range(17))

    play(scene)


def test_thousands_of_answers_that_waited_for_one_are_written_one_by_one() -> None:
    async def scene() -> None:
        desk = Desk()
        line = Line(desk, Policy(max_pipeline_depth=3000))
        line.send(b"".join(infer(at) for at in range(3000)))
        for call in reversed(desk.calls):
            echo(call)
        assert line.firsts() == list(range(3000))
        assert line.wire.reads

    play(scene)


def test_a_long_pipeline_is_read_as_far_as_it_is_answered() -> None:
    async def scene() -> None:
        desk = Desk()
        line = Line(desk, Policy(max_pipeline_depth=4))
        line.send(b"".join(infer(at) for at in range(10)))
        for at in range(10):
            assert len(desk.calls) == min(10, at + 4)
            echo(desk.calls[at])
        assert line.firsts() == list(range(10))
        assert line.wire.reads

    play(scene)


def test_bad_requests_in_a_full_pipeline_are_answered_in_their_turn() -> None:
    async def scene() -> list[int]:
        desk = Desk()
        line = Line(desk, Policy(max_pipeline_depth=2))
        line.send(infer(1) + (BAD_JSON + BAD_PATH) * 20)
        assert line.wire.written == b""
        echo(desk.calls[0])
        await turns(40)
        return line.statuses()

    assert play(scene) == [200] + [400] * 40


def test_many_requests_in_one_read_let_the_loop_turn_between() -> None:
    """Each of them is answered at once, so the pipeline is never full."""

    async def scene() -> None:
        line = Line(Echo(), Policy(max_pipeline_depth=16))
        line.send(b"".join(infer(at) for at in range(40)))
        assert (len(line.answers()), line.wire.reads) == (16, False)
        line.lane.data_received(infer(40))  # was on its way
        assert len(line.answers()) == 16
        await turns(1)
        assert len(line.answers()) == 32
        await turns(1)
        assert (line.firsts(), line.wire.reads) == (list(range(41)), True)

    play(scene)


def test_a_pipeline_of_just_the_depth_is_answered_without_a_rest() -> None:
    async def scene() -> int:
        line = Line(Echo(), Policy(max_pipeline_depth=4))
        line.send(b"".join(infer(at) for at in range(4)))
        assert line.wire.reads
        return len(line.answers())

    assert play(scene) == 4


class Hasty(Desk):
    """Refuses the second call at once, and answers the first one when the third comes."""

    def infer(self, call: Call) -> None:
        self.calls.append(call)
        if len(self.calls) == 2:
            call.fail(Overloaded("full"))
        elif len(self.calls) == 3:
            echo(self.calls[0])


def test_a_refusal_that_waits_for_its_turn_is_told_when_that_comes_while_the_rest_is_read() -> None:
    """A long turn runs what waits before all is read."""

    async def scene() -> None:
        desk = Hasty()
        line = Line(desk)
        line.send(infer(1) + infer(2) + infer(3))
        await turns()
        assert line.statuses() == [200, 429]
        echo(desk.calls[2])
        assert line.statuses() == [200, 429, 200]

    play(scene)


@pytest.mark.parametrize("does_leave", [False, True])
def test_a_rest_outlives_neither_the_connection_nor_its_requests(does_leave: bool) -> None:
    async def scene() -> list[bool]:
        line = Line(Echo(), Policy(max_pipeline_depth=1))
        line.send(infer(1) + infer(2) + infer(3))
        line.lane.shutdown()
        if does_leave:
            line.leave()
        await turns()
        return [answer.closes for answer in line.answers()]

    assert play(scene) == ([False] if does_leave else [False, False, True])


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    async def scene() -> None:
        desk = Desk()
        line = Line(desk)
        line.lane.pause_writing()
        line.send(infer(1))
        assert (len(desk.calls), line.wire.reads) == (0, False)
        line.lane.resume_writing()
        assert (len(desk.calls), line.wire.reads) == (1, True)
        echo(desk.calls[0])
        assert line.statuses() == [200]

    play(scene)


def test_a_full_pipeline_stays_unread_when_the_client_reads_again() -> None:
    async def scene() -> None:
        desk = Desk()
        line = Line(desk, Policy(max_pipeline_depth=1))
        line.send(infer(1) + infer(2))
        line.lane.pause_writing()
        line.lane.resume_writing()
        assert (len(desk.calls), line.wire.reads) == (1, False)
        echo(desk.calls[0])
        assert (len(desk.calls), line.wire.reads) == (2, True)

    play(scene)


def test_answers_are_written_while_the_client_does_not_read() -> None:
    async def scene() -> list[int]:
        desk = Desk()
        line = Line(desk)
        line.send(infer(1) + infer(2))
        line.lane.pause_writing()
        for call in desk.calls:
            echo(call)
        return line.statuses()

    assert play(scene) == [200, 200]


@pytest.mark.parametrize("wait_s", [29.0, 31.0])
def test_a_client_that_does_not_read_its_answers_is_cut_off(wait_s: float) -> None:
    async def scene() -> bool:
        line = Line(Echo(), Policy(write_timeout_s=30.0))
        line.send(infer(1))
        line.lane.pause_writing()
        await asyncio.sleep(wait_s)
        return line.wire.is_aborted

    assert play(scene) == (wait_s > 30)


def test_a_client_that_reads_slowly_but_reads_is_kept() -> None:
    async def scene() -> None:
        line = Line(Echo(), Policy(write_timeout_s=30.0))
        line.wire.unsent_bytes = 1000
        line.lane.pause_writing()
        for _ in range(20):
            await asyncio.sleep(20.0)
            line.wire.unsent_bytes -= 1
        await asyncio.sleep(25.0)
        assert not line.wire.is_aborted
        await asyncio.sleep(15.0)
        assert line.wire.is_aborted

    play(scene)


def test_a_client_that_reads_again_in_time_is_kept() -> None:
    async def scene() -> bool:
        line = Line(Echo(), Policy(write_timeout_s=30.0))
        line.lane.pause_writing()
        await asyncio.sleep(29.0)
        line.lane.resume_writing()
        await asyncio.sleep(29.0)
        line.lane.pause_writing()
        await asyncio.sleep(29.0)
        return line.wire.is_closing()

    assert not play(scene)


# the end of a connection


@pytest.mark.parametrize(
    "asked", [infer(1, "connection: close"), infer(1, "connection: x, Close"), infer(1, minor=0)]
)
def test_a_connection_ends_with_the_answer_that_the_client_wants_to_be_the_last(
    asked: bytes,
) -> None:
    async def scene() -> None:
        line = Line(Echo())
        line.send(infer(0), asked)
        assert [answer.closes for answer in line.answers()] == [False, True]
        assert line.wire.is_closing()
        assert not line.wire.is_aborted
        await turns()
        assert line.port.connections == set()

    play(scene)


def test_what_follows_the_last_request_is_not_read() -> None:
    async def scene() -> None:
        desk = Desk()
        line = Line(desk)
        line.send(infer(1) + infer(2, "connection: close") + infer(3))
        line.send(infer(4))
        assert len(desk.calls) == 2
        echo(desk.calls[1])
        assert not line.wire.is_closing()
        echo(desk.calls[0])
        assert [answer.closes for answer in line.answers()] == [False, True]
        assert line.firsts() == [1, 2]
        assert line.wire.is_closing()

    play(scene)


@pytest.mark.parametrize("wait_s", [74.0, 76.0])
def test_an_idle_connection_is_kept_alive_for_a_while(wait_s: float) -> None:
    async def scene() -> bool:
        line = Line(Echo(), Policy(keep_alive_s=75.0))
        await asyncio.sleep(50.0)
        line.send(infer(1))
        await asyncio.sleep(wait_s)
        return line.wire.is_closing()

    assert play(scene) == (wait_s > 75)


def test_a_connection_that_never_asked_is_closed_too() -> None:
    async def scene() -> bool:
        line = Line(Echo(), Policy(keep_alive_s=75.0))
        await asyncio.sleep(76.0)
        return line.wire.is_closing() and not line.wire.written

    assert play(scene)


def test_a_connection_that_waits_for_an_answer_is_not_idle() -> None:
    async def scene() -> list[int]:
        desk = Desk()
        line = Line(desk, Policy(keep_alive_s=5.0))
        line.send(infer(1))
        await asyncio.sleep(60.0)
        echo(desk.calls[0])
        return line.statuses()

    assert play(scene) == [200]


def test_a_connection_of_full_age_ends_with_its_next_answer() -> None:
    async def scene() -> list[bool]:
        desk = Desk()
        line = Line(desk, Policy(connection_max_age_s=300.0))
        for at in range(4):
            line.send(infer(1))
            await asyncio.sleep(74.0)
            echo(desk.calls[at])
        line.send(infer(1))
        await asyncio.sleep(74.0)
        echo(desk.calls[4])
        return [answer.closes for answer in line.answers()]

    assert play(scene) == [False, False, False, False, True]


def test_a_connection_of_full_age_answers_all_that_it_read() -> None:
    async def scene() -> list[bool]:
        desk = Desk()
        line = Line(desk, Policy(connection_max_age_s=10.0))
        line.send(infer(1) + infer(2) + infer(3)[:-1])
        await asyncio.sleep(5.1)
        line.send(infer(3)[-1:])
        await asyncio.sleep(5.1)
        for call in desk.calls:
            echo(call)
        return [answer.closes for answer in line.answers()]

    assert play(scene) == [False, False, True]


@pytest.mark.parametrize("keep_alive_s", [75.0, 3.0])
def test_an_idle_connection_of_full_age_is_closed(keep_alive_s: float) -> None:
    async def scene() -> bool:
        policy = Policy(connection_max_age_s=10.0, keep_alive_s=keep_alive_s)
        line = Line(Echo(), policy)
        for _ in range(3):
            await asyncio.sleep(2.5)
            line.send(infer(1))
        await asyncio.sleep(2.6)
        return line.wire.is_closing()

    assert play(scene)


def test_a_connection_that_is_retired_ends_with_its_next_answer() -> None:
    async def scene() -> list[bool]:
        line = Line(Echo())
        line.send(infer(1))
        line.lane.retire()
        assert not line.wire.is_closing()
        line.send(infer(2))
        assert line.wire.is_closing()
        return [answer.closes for answer in line.answers()]

    assert play(scene) == [False, True]


def test_a_connection_that_is_retired_while_it_waits_ends_with_that_answer() -> None:
    async def scene() -> list[bool]:
        desk = Desk()
        line = Line(desk)
        line.send(infer(1) + infer(2))
        line.lane.retire()
        for call in desk.calls:
            echo(call)
        assert line.wire.is_closing()
        return [answer.closes for answer in line.answers()]

    assert play(scene) == [False, True]


def test_a_client_that_rests_is_not_cut_off_because_it_is_retired() -> None:
    """It might be asking at that moment; only its own rest ends it, as ever."""

    async def scene() -> list[bool]:
        line = Line(Echo(), Policy(keep_alive_s=75.0, connection_max_age_s=20.0))
        line.lane.retire()
        await asyncio.sleep(74.0)
        assert not line.wire.is_closing()
        line.send(infer(1))
        return [answer.closes for answer in line.answers()]

    assert play(scene) == [True]


def test_a_client_that_rests_too_long_is_cut_off_though_it_is_retired() -> None:
    async def scene() -> bool:
        line = Line(Echo(), Policy(keep_alive_s=75.0))
        line.lane.retire()
        await asyncio.sleep(76.0)
        return line.wire.is_closing()

    assert play(scene)


def test_who_comes_to_a_port_that_withdraws_is_answered_once() -> None:
    async def scene() -> list[bool]:
        port = port_of(Echo(), clock=monotonic())
        port.drain.withdraw()
        line = Line(Echo(), port=port)
        await asyncio.sleep(10.0)
        assert not line.wire.is_closing()
        line.send(infer(1))
        return [answer.closes for answer in line.answers()]

    assert play(scene) == [True]


def test_who_comes_to_a_port_that_drains_and_asks_nothing_is_cut_off() -> None:
    async def scene() -> bool:
        port = port_of(Echo(), clock=monotonic())
        port.drain.begin()
        line = Line(Echo(), port=port)
        await asyncio.sleep(1.1)
        return line.wire.is_closing()

    assert play(scene)


@pytest.mark.parametrize("asked", [infer(1), infer(1, "connection: close")])
def test_a_client_that_never_reads_its_last_answer_does_not_stay(asked: bytes) -> None:
    """Closing waits until what was written has left, and that may be for ever."""

    async def scene() -> Wire:
        line = Line(Echo(), Policy(keep_alive_s=75.0, linger_s=2.0), wire=Wire(holds=True))
        line.send(asked)
        await asyncio.sleep(78.0)
        assert line.port.connections == set()
        return line.wire

    assert play(scene).is_aborted


# refused, and listened to a while


def test_a_refused_client_is_told_listened_to_and_then_left() -> None:
    async def scene() -> None:
        line = Line(Echo(), Policy(linger_s=2.0))
        line.send(BROKEN)
        (answer,) = line.answers()
        assert (answer.status, answer.code, answer.closes) == (400, "malformed", True)
        assert (line.wire.has_eof, line.wire.reads) == (True, True)
        await asyncio.sleep(1.9)
        line.send(b"x" * 1000)
        assert not line.wire.is_closing()
        await asyncio.sleep(0.2)
        assert line.wire.is_aborted
        assert line.port.connections == set()

    play(scene)


def test_a_refused_client_is_listened_to_for_so_many_bytes() -> None:
    async def scene() -> None:
        line = Line(Echo(), Policy(linger_bytes=1000))
        line.send(BROKEN, b"x" * 1000)
        assert not line.wire.is_closing()
        line.send(b"x")
        assert line.wire.is_aborted

    play(scene)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HEAD /livez HTTP/1.1\r\n\r\n"],
        [b"\r\nHEAD /livez HTTP/1.1\r\n\r\n"],
        [b"HEAD /livez HTTP/1.1\r\n", b"\r\n"],
        [b"HEAD /livez HTTP/1.1\r\nhost: h\r\ncontent-length: 2000\r\n\r\n"],
        [b"HEAD /livez HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n", b"x\r\n"],
        [b"HEAD /livez HTTP/1.1\r\nhost: h\r\n"],
    ],
)
def test_a_head_request_that_cannot_be_framed_gets_no_body_either(pieces: list[bytes]) -> None:
    async def scene() -> Answer:
        line = Line(Echo(), Policy(max_body_bytes=1000, header_timeout_s=10.0))
        line.send(infer(1), *pieces)
        await asyncio.sleep(10.1)
        _, answer = line.answers("POST", "HEAD")
        return answer

    answer = play(scene)
    assert (answer.status in (400, 408, 413), answer.body, answer.closes) == (True, b"", True)
    assert int(answer.headers["content-length"]) > 0


def test_bytes_are_thrown_away_while_a_refusal_waits_for_its_turn() -> None:
    async def scene() -> None:
        desk = Desk()
        line = Line(desk, Policy(linger_s=2.0, keep_alive_s=5.0))
        line.send(infer(1) + BROKEN)
        for _ in range(5):
            await asyncio.sleep(4.0)
            line.send(infer(2))
        echo(desk.calls[0])
        assert line.statuses() == [200, 400]
        await asyncio.sleep(1.9)
        assert not line.wire.is_closing()
        await asyncio.sleep(0.2)
        assert line.wire.is_aborted

    play(scene)


def test_a_transport_that_cannot_half_close_is_listened_to_as_well() -> None:
    async def scene() -> None:
        line = Line(Echo(), wire=Wire(can_half_close=False))
        line.send(BROKEN)
        assert (line.wire.has_eof, line.wire.reads) == (False, True)
        await asyncio.sleep(2.1)
        assert line.wire.is_aborted

    play(scene)


def test_a_refused_client_that_does_not_read_is_cut_off() -> None:
    async def scene() -> bool:
        line = Line(Echo(), Policy(write_timeout_s=30.0))
        line.lane.pause_writing()
        line.lane.resume_writing()
        line.send(BROKEN)
        line.lane.pause_writing()
        await asyncio.sleep(31.0)
        return line.wire.is_aborted

    assert play(scene)


def test_a_body_too_large_is_refused_by_its_head() -> None:
    async def scene() -> list[Answer]:
        line = Line(Echo(), Policy(max_body_bytes=1000))
        line.send(b"POST /livez HTTP/1.1\r\nhost: h\r\ncontent-length: 1001\r\n\r\n")
        return line.answers()

    (answer,) = play(scene)
    assert (answer.status, answer.code, answer.closes) == (413, "too_large", True)


def test_a_body_too_large_is_refused_though_it_came_in_one_piece() -> None:
    async def scene() -> list[Answer]:
        line = Line(Echo(), Policy(max_body_bytes=10))
        line.send(infer(1))
        return line.answers()

    (answer,) = play(scene)
    assert (answer.status, answer.code) == (413, "too_large")


def test_a_fault_of_ours_is_a_500_for_its_request_alone() -> None:
    class Broken(Desk):
        def infer(self, call: Call) -> None:
            if not self.calls:
                self.calls.append(call)
                raise RuntimeError
            echo(call)

    async def scene() -> list[int]:
        line = Line(Broken())
        line.send(infer(1), infer(2)[:9], infer(2)[9:])
        return line.statuses()

    assert play(scene) == [500, 200]


def test_a_request_that_was_answered_is_not_answered_again_by_a_later_fault() -> None:
    class Late(Echo):
        def infer(self, call: Call) -> None:
            echo(call)
            raise RuntimeError

    async def scene() -> list[int]:
        line = Line(Late())
        line.send(infer(1), infer(2) + infer(3))
        return line.statuses()

    assert play(scene) == [200, 200, 200]


def test_a_fault_of_ours_in_framing_is_a_500_and_ends_the_connection() -> None:
    class Broken(HeadCache):
        def get(self, raw: bytes) -> Head:
            raise RuntimeError

    async def scene(*pieces: bytes) -> list[int]:
        port = port_of(Echo())
        port.heads = Broken(port.policy.heads)
        line = Line(Echo(), port=port)
        line.send(*pieces)
        return line.statuses()

    assert play(lambda: scene(infer(1))) == [500]
    assert play(lambda: scene(infer(1)[:9], infer(1)[9:])) == [500]


# slow senders


@pytest.mark.parametrize(
    ("pieces", "within_s", "what"),
    [
        ([b"P"], 10.0, "head"),
        ([infer(1)[:-30], b""], 30.0, "body"),
        ([b"\r\n\r\nPOST / HT"], 10.0, "head"),
        ([infer(0) + infer(1)[:-1]], 30.0, "body"),
    ],
)
def test_a_slow_sender_gets_a_408_and_is_left(
    pieces: list[bytes], within_s: float, what: str
) -> None:
    async def scene() -> Answer:
        line = Line(Echo(), Policy(header_timeout_s=10.0, body_timeout_s=30.0, linger_s=2.0))
        await asyncio.sleep(60.0)
        line.send(*pieces)
        before = len(line.wire.written)
        await asyncio.sleep(within_s - 0.1)
        assert len(line.wire.written) == before
        await asyncio.sleep(0.2)
        answer = line.answers()[-1]
        await asyncio.sleep(2.0)
        assert line.wire.is_aborted
        return answer

    answer = play(scene)
    assert (answer.status, answer.code, answer.closes) == (408, "request_timeout", True)
    assert answer.json["error"] == f"the request's {what} did not arrive within {within_s} s"


def test_single_bytes_do_not_win_a_slow_sender_time() -> None:
    async def scene() -> list[int]:
        line = Line(Echo(), Policy(header_timeout_s=10.0))
        for at in range(10):
            line.send(infer(1)[at : at + 1])
            await asyncio.sleep(1.01)
        return line.statuses()

    assert play(scene) == [408]


def test_a_head_and_its_body_have_their_time_one_after_the_other() -> None:
    async def scene() -> list[int]:
        line = Line(Echo(), Policy(header_timeout_s=10.0, body_timeout_s=30.0))
        line.send(infer(1)[:20])
        await asyncio.sleep(9.0)
        line.send(infer(1)[20:-1])
        await asyncio.sleep(29.0)
        line.send(infer(1)[-1:])
        await asyncio.sleep(40.0)
        line.send(infer(2)[:20])
        await asyncio.sleep(9.0)
        line.send(infer(2)[20:])
        return line.statuses()

    assert play(scene) == [200, 200]


def test_a_request_begun_while_another_is_answered_is_judged_soon_after() -> None:
    async def scene() -> list[int]:
        desk = Desk()
        line = Line(desk, Policy(header_timeout_s=10.0, keep_alive_s=75.0))
        line.send(infer(1) + b"PO")
        await asyncio.sleep(11.0)
        assert line.statuses() == []
        echo(desk.calls[0])
        await asyncio.sleep(10.0)
        return line.statuses()

    assert play(scene) == [200, 408]


# permission


EXPECTING = infer(1, "expect: 100-continue")
HEAD_LENGTH = EXPECTING.index(b"\r\n\r\n") + 4


def test_a_client_that_waits_for_permission_gets_it_once() -> None:
    async def scene() -> list[int]:
        line = Line(Echo())
        line.send(EXPECTING[:HEAD_LENGTH])
        assert line.wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.send(EXPECTING[HEAD_LENGTH:-1], EXPECTING[-1:])
        return line.statuses()

    assert play(scene) == [100, 200]


def test_permission_waits_for_the_answers_before_it() -> None:
    async def scene() -> list[int]:
        desk = Desk()
        line = Line(desk)
        line.send(infer(1) + infer(2) + EXPECTING[:HEAD_LENGTH])
        echo(desk.calls[1])
        assert line.wire.written == b""
        echo(desk.calls[0])
        assert line.statuses() == [200, 200, 100]
        line.send(EXPECTING[HEAD_LENGTH:])
        echo(desk.calls[2])
        return line.statuses()

    assert play(scene) == [200, 200, 100, 200]


def test_the_time_of_a_body_begins_with_the_permission_to_send_it() -> None:
    async def scene() -> list[int]:
        desk = Desk()
        line = Line(desk, Policy(body_timeout_s=30.0))
        line.send(infer(1) + EXPECTING[:HEAD_LENGTH])
        await asyncio.sleep(40.0)
        echo(desk.calls[0])
        await asyncio.sleep(29.0)
        assert line.statuses() == [200, 100]
        await asyncio.sleep(31.0)
        return line.statuses()

    assert play(scene) == [200, 100, 408]


@pytest.mark.parametrize("size", [HEAD_LENGTH + 1, len(EXPECTING)])
def test_a_client_that_sends_without_waiting_gets_no_permission(size: int) -> None:
    async def scene() -> list[int]:
        line = Line(Echo())
        line.send(EXPECTING[:size], EXPECTING[size:])
        return line.statuses()

    assert play(scene) == [200]


def test_a_body_that_would_be_refused_is_not_permitted() -> None:
    async def scene() -> list[int]:
        line = Line(Echo(), Policy(max_body_bytes=10))
        line.send(EXPECTING[:HEAD_LENGTH])
        return line.statuses()

    assert play(scene) == [413]


# too many, too late


def test_one_connection_too_many_is_told_so_and_left() -> None:
    async def scene() -> None:
        port = port_of(Echo(), Policy(max_connections=1), clock=monotonic())
        first, second = Line(Echo(), port=port), Line(Echo(), port=port)
        (answer,) = second.answers()
        assert (answer.status, answer.code, answer.closes) == (429, "overloaded", True)
        assert answer.headers["retry-after"] == "1"
        second.send(infer(1))
        assert len(second.answers()) == 1
        await asyncio.sleep(2.1)
        assert second.wire.is_aborted
        first.send(infer(1))
        assert first.statuses() == [200]
        first.leave()
        third = Line(Echo(), port=port)
        third.send(infer(1))
        assert third.statuses() == [200]

    play(scene)


def test_one_connection_too_many_from_one_address_is_told_so_and_others_are_not() -> None:
    async def scene() -> None:
        policy = Policy(max_connections_per_address=2)
        port = port_of(Echo(), policy, clock=monotonic())
        lines = [Line(Echo(), port=port) for _ in range(3)]
        (answer,) = lines[2].answers()
        assert (answer.status, answer.code, answer.closes) == (429, "overloaded", True)
        assert "at most 2 connections from one address" in answer.json["error"]
        elsewhere = Line(Echo(), port=port, wire=Wire(peer="10.0.0.9"))
        elsewhere.send(infer(1))
        assert elsewhere.statuses() == [200]
        lines[0].leave()
        again = Line(Echo(), port=port)
        again.send(infer(1))
        assert again.statuses() == [200]

    play(scene)


def test_what_a_client_has_sent_in_part_is_forgotten_when_it_leaves() -> None:
    async def scene() -> None:
        line = Line(Echo())
        line.send(infer(1)[:-1])
        assert line.port.room.held_bytes > 0
        line.leave()
        assert line.port.room.held_bytes == 0

    play(scene)


def test_who_sends_more_than_there_is_room_for_is_told_so_and_left() -> None:
    async def scene() -> None:
        policy = Policy(max_unfinished_bytes=100_000)
        line = Line(Echo(), policy)
        line.send(request("POST", "/v2/models/m/infer", b"", "content-length: 300000"))
        line.send(bytes(90_000), bytes(90_000))
        (answer,) = line.answers()
        assert (answer.status, answer.code, answer.closes) == (429, "overloaded", True)
        assert "limits.max_unfinished_bytes" in answer.json["error"]

    play(scene)


@pytest.mark.parametrize("fields", [(), ("x-api-key: nonsense",)])
def test_strangers_are_refused_in_order_and_rest_when_there_are_too_many(
    fields: tuple[str, ...],
) -> None:
    async def scene() -> None:
        port = port_of(Echo(), clock=monotonic(), keys=GUARDED)
        line = Line(Echo(), port=port)
        line.send(infer(1, *fields) + infer(2, "x-api-key: ticket") + infer(3, *fields))
        assert line.statuses() == [401, 200, 401]
        port.pressure = Pressure(Share(ratio=1e-6, free_s=-1.0))
        line.send(infer(4, *fields))
        found = [line.wire.reads]
        await asyncio.sleep(2.1)
        assert [*found, line.wire.reads] == [False, True]
        assert line.statuses() == [401, 200, 401, 401]

    play(scene)


def test_connections_far_too_many_are_ended_without_a_word() -> None:
    async def scene() -> None:
        policy = Policy(max_connections=1, max_refused=2, linger_s=2.0)
        port = port_of(Echo(), policy, clock=monotonic())
        _, *refused = [Line(Echo(), port=port) for _ in range(5)]
        assert [line.wire.is_aborted for line in refused] == [False, False, True, True]
        assert [len(line.wire.written) > 0 for line in refused] == [True, True, False, False]
        await asyncio.sleep(2.1)
        assert port.refused == set()
        assert Line(Echo(), port=port).statuses() == [429]

    play(scene)


class Machine:
    """An executor that runs what a test releases."""

    def __init__(self) -> None:
        self.executions: list[tuple[Sequence[Call], Finish]] = []

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        self.executions.append((calls, finish))

    def release(self) -> None:
        calls, finish = self.executions.pop(0)
        rows = sum(call.rows for call in calls)
        finish(Outputs([np.zeros((rows, 2), np.float32)], len(calls)))


def test_a_client_that_leaves_takes_its_queued_calls_along() -> None:
    async def scene() -> None:
        machine = Machine()
        clock = monotonic()
        async with Batcher(machine.run, BatchingPolicy(), a_record(), clock) as batcher:
            arm = Arm(DOUBLE)
            flow = Flow({"m": Served(arm, {"1": arm})}, {arm: batcher})
            busy, leaver, other = Line(flow), Line(flow), Line(flow)
            busy.send(infer(0))
            await turns()
            leaver.send(infer(1) + infer(2))
            other.send(infer(3))
            await turns()
            leaver.leave()
            machine.release()
            await turns()
            ((calls, _),) = machine.executions
            assert len(calls) == 1
            machine.release()
            assert (busy.statuses(), other.statuses()) == ([200], [200])
            assert leaver.wire.written == b""
            assert (busy.port.connections, leaver.port.connections) == ({busy.lane}, set())

    play(scene)


def test_a_client_that_leaves_has_its_calls_done_before_anybody_runs_them() -> None:
    async def scene() -> None:
        desk = Desk()
        line = Line(desk)
        line.send(infer(1) + LIVE + infer(2))
        line.leave()
        assert [call.done for call in desk.calls] == [True, True]
        assert all(isinstance(call.error, ClientGone) for call in desk.calls)
        for call in desk.calls:
            echo(call)
        await turns()
        assert line.wire.written == b""

    play(scene)


def test_nothing_wakes_after_a_client_left() -> None:
    async def scene() -> None:
        line = Line(Desk())
        line.send(infer(1)[:-1])
        line.leave()
        line.lane.shutdown()
        line.lane.resume_writing()
        line.send(b"x")
        await asyncio.sleep(1000.0)
        assert line.wire.written == b""

    play(scene)


# shutdown


def test_an_idle_connection_closes_at_once_when_the_server_leaves() -> None:
    async def scene() -> bool:
        line = Line(Echo())
        line.send(infer(1))
        line.lane.shutdown()
        return line.wire.is_closing()

    assert play(scene)


def test_what_was_read_in_part_or_whole_is_answered_before_the_server_leaves() -> None:
    async def scene() -> None:
        desk = Desk()
        line = Line(desk)
        line.send(infer(1) + LIVE + infer(2)[:-1])
        line.lane.shutdown()
        echo(desk.calls[0])
        await turns()
        assert not line.wire.is_closing()
        line.send(infer(2)[-1:])
        echo(desk.calls[1])
        assert [answer.closes for answer in line.answers()] == [False, False, True]
        assert line.wire.is_closing()

    play(scene)


def test_a_pipeline_longer_than_its_limit_is_answered_before_the_server_leaves() -> None:
    async def scene() -> list[bool]:
        desk = Desk()
        line = Line(desk, Policy(max_pipeline_depth=2))
        line.send(b"".join(infer(at) for at in range(5)))
        line.lane.shutdown()
        for at in range(5):
            echo(desk.calls[at])
        return [answer.closes for answer in line.answers()]

    assert play(scene) == [False, False, False, False, True]


def test_bad_requests_are_answered_before_the_server_leaves() -> None:
    async def scene() -> list[bool]:
        desk = Desk()
        line = Line(desk, Policy(max_pipeline_depth=1))
        line.send(infer(1) + BAD_JSON + BAD_PATH)
        line.lane.shutdown()
        echo(desk.calls[0])
        await turns()
        return [answer.closes for answer in line.answers()]

    assert play(scene) == [False, False, True]


def test_a_connection_that_comes_when_the_server_has_left_hears_so() -> None:
    async def scene() -> None:
        port = port_of(Echo(), clock=monotonic())
        port.drain.begin()
        asks, idles = Line(Echo(), port=port), Line(Echo(), port=port)
        asks.send(infer(1))
        assert [answer.closes for answer in asks.answers()] == [True]
        await asyncio.sleep(1.1)
        assert idles.wire.is_closing()
        assert not idles.wire.written

    play(scene)


@pytest.mark.parametrize("path", ["/v2/health/ready", "/readyz", "/ready"])
def test_who_asks_a_server_that_leaves_hears_that_it_drains_and_lives(path: str) -> None:
    async def scene() -> list[Answer]:
        line = Line(Echo())
        line.send(LIVE + request("GET", path)[:-1])
        line.port.drain.begin()
        line.lane.shutdown()
        line.send(b"\n")
        await turns()
        return line.answers("GET", "GET")

    live, ready = play(scene)
    assert (live.status, live.json) == (200, {"live": True})
    assert (ready.status, ready.code, ready.closes) == (503, "draining", True)
    assert ready.headers["retry-after"] == "1"


# with sockets


def test_a_client_that_closes_its_writing_side_has_left() -> None:
    """A FIN says no more than that; the call it waits for is dropped from the queue."""

    async def scene() -> tuple[bytes, list[Call]]:
        desk = Desk()
        async with listening(port_of(desk)) as address, peer(address) as (read, write):
            write.write(infer(1))
            write.write_eof()
            return await read.read(), desk.calls

    received, (call,) = asyncio.run(scene())
    assert received == b""
    assert isinstance(call.error, ClientGone)


def test_an_early_refusal_reaches_a_client_that_is_still_sending() -> None:
    upload = b"x" * (8 << 20)

    async def scene() -> Answer:
        policy = Policy(max_body_bytes=1 << 20)
        async with listening(port_of(Echo(), policy)) as address, peer(address) as (read, write):
            head = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"
            write.write(head % len(upload))
            for start in range(0, len(upload), 65536):
                write.write(upload[start : start + 65536])
                await write.drain()
            return answers(await read.read())[0]

    answer = asyncio.run(scene())
    assert (answer.status, answer.code) == (413, "too_large")


def test_requests_over_a_socket_are_answered_in_order() -> None:
    async def scene() -> list[int]:
        async with listening(port_of(Echo())) as address, peer(address) as (read, write):
            closing = request("GET", "/livez", b"", "connection: close")
            write.write((infer(1) + LIVE + BAD_JSON) * 30 + closing)
            return [answer.status for answer in answers(await read.read())]

    assert asyncio.run(scene()) == [200, 200, 400] * 30 + [200]


def test_a_client_that_reads_nothing_at_first_gets_all_its_answers() -> None:
    rows = 20_000
    wide = request(
        "POST",
        "/v2/models/m/infer",
        b'{"inputs":[{"name":"x","shape":[%d,2],"datatype":"FP32","data":[%b]}]}'
        % (rows, b",".join([b"1.5"] * rows * 2)),
    )
    wide_version = replace(DOUBLE, signature=replace(DOUBLE.signature, max_batch_rows=rows))

    async def scene() -> list[int]:
        async with (
            listening(port_of(Echo(wide_version))) as address,
            peer(address) as (read, write),
        ):
            closing = request("GET", "/livez", b"", "connection: close")

            async def send() -> None:
                for _ in range(20):
                    write.write(wide)
                    await write.drain()
                write.write(closing)

            sending = asyncio.create_task(send())
            await turns(200)
            received = await read.read()
            await sending
            return [answer.status for answer in answers(received)]

    assert asyncio.run(scene()) == [200] * 20 + [200]


# refusing too much


class Full(Echo):
    """Has no room for anybody, and takes its time to say so."""

    def __init__(self, clock: Ticking) -> None:
        super().__init__()
        self.clock = clock
        self.is_full = True

    def infer(self, call: Call) -> None:
        if self.is_full:
            self.clock.now += 0.005
            call.fail(Overloaded("full"))
        else:
            super().infer(call)


def test_who_is_refused_too_often_is_not_read_for_a_while_and_who_is_not_is_read_on() -> None:
    async def scene() -> None:
        clock = Ticking()
        flow = Full(clock)
        port = port_of(flow, clock=clock)
        rude, polite = Line(flow, port=port), Line(flow, port=port)
        seen = []
        for _ in range(3):
            rude.send(infer(1))
            seen.append(rude.wire.reads)
        assert seen == [True, True, False], "a few refusals stop nobody"
        assert rude.statuses() == [429, 429, 429]
        flow.is_full = False
        polite.send(infer(2))
        assert polite.wire.reads
        assert polite.statuses() == [200]
        for _ in range(2):
            await asyncio.sleep(0.03)
            seen.append(rude.wire.reads)
        assert seen[3:] == [False, True]
        rude.send(infer(3))
        assert rude.statuses()[-1] == 200

    play(scene)


def test_a_rest_after_a_refusal_outlives_no_connection() -> None:
    async def scene() -> None:
        clock = Ticking()
        flow = Full(clock)
        line = Line(flow, port=port_of(flow, clock=clock))
        for _ in range(4):
            line.send(infer(1))
        assert not line.wire.reads
        line.leave()
        await asyncio.sleep(2.0)
        assert not line.wire.reads

    play(scene)


def test_of_a_pipeline_no_more_is_taken_while_its_client_rests() -> None:
    async def scene() -> None:
        clock = Ticking()
        flow = Full(clock)
        line = Line(flow, port=port_of(flow, clock=clock))
        line.send(b"".join(infer(row) for row in range(8)))
        assert line.statuses() == [429] * 3
        flow.is_full = False
        await asyncio.sleep(1.0)
        assert line.statuses() == [429] * 3 + [200] * 5

    play(scene)


def test_a_client_whose_pipeline_was_full_while_it_rested_is_read_again() -> None:
    """The last one of a full pipeline is refused; the others are answered when its rest is over."""

    async def scene() -> None:
        clock = Ticking()
        flow = Waiting(clock)
        policy = Policy(max_pipeline_depth=4)
        line = Line(flow, port=port_of(flow, policy, clock=clock))
        for _ in range(3):
            line.send(infer(1))
        flow.is_full = True
        line.send(infer(2))
        seen = [line.wire.reads]
        await asyncio.sleep(2.0)
        flow.is_full = False
        for call in flow.calls:
            echo(call)
        assert line.statuses() == [200, 200, 200, 429]
        assert [*seen, line.wire.reads] == [False, True]
        line.send(infer(3))
        echo(flow.calls[-1])
        assert line.statuses()[-1] == 200

    play(scene)
