"""Respite: a lane that is not read for a while, and what its client sent meanwhile."""

import asyncio

import pytest

from gateway.wire.port import Policy
from tests.clock import play
from tests.wire.harness import (
    Desk,
    Echo,
    Line,
    Ticking,
    Waiting,
    Wire,
    echo,
    infer,
    port_of,
    request,
    turns,
)


def lengthen(line: Line, clock: Ticking) -> None:
    """Let this turn of the loop be long."""
    rotation = line.port.rotation
    rotation.look(clock())
    clock.now += 0.06
    rotation.look(clock())


def test_what_comes_in_a_long_turn_is_answered_in_the_next_and_nobody_is_read_before() -> None:
    async def scene() -> None:
        clock = Ticking()
        line = Line(Echo(), port=port_of(Echo(), clock=clock))
        lengthen(line, clock)
        line.send(infer(1) + infer(2))
        assert (line.wire.reads, line.answers()) == (False, [])
        await turns()
        assert (line.wire.reads, line.firsts()) == (True, [1, 2])
        line.send(infer(3))
        assert line.firsts() == [1, 2, 3]

    play(scene)


def test_a_pipeline_that_is_being_answered_goes_on_after_a_long_turn() -> None:
    async def scene() -> None:
        clock, desk = Ticking(), Desk()
        line = Line(desk, port=port_of(desk, clock=clock))
        line.send(infer(1))
        lengthen(line, clock)
        line.send(infer(2)[:40])
        echo(desk.calls[0])
        assert line.firsts() == [1]
        await turns()
        line.send(infer(2)[40:])
        echo(desk.calls[1])
        assert line.firsts() == [1, 2]

    play(scene)


def test_a_request_that_waited_to_be_read_has_spent_that_time() -> None:
    async def scene() -> None:
        clock, desk = Ticking(), Desk()
        line = Line(desk, port=port_of(desk, clock=clock))
        lengthen(line, clock)
        line.send(infer(1, "x-request-timeout-ms: 500"))
        clock.now += 0.2
        await turns()
        (call,) = desk.calls
        assert call.deadline - clock() == pytest.approx(0.24), "with 60 ms of the long turn"
        echo(call)
        line.send(infer(2, "x-request-timeout-ms: 500"))
        assert desk.calls[1].deadline - clock() == pytest.approx(0.5)

    play(scene)


def test_a_request_that_waited_too_long_to_be_read_is_late_and_never_runs() -> None:
    async def scene() -> None:
        clock, desk = Ticking(), Desk()
        line = Line(desk, port=port_of(desk, clock=clock))
        lengthen(line, clock)
        line.send(infer(1, "x-request-timeout-ms: 50"))
        clock.now += 0.06
        await turns()
        (answer,) = line.answers()
        assert (answer.status, answer.json["stage"]) == (504, "admission")
        assert "expected an answer within 50 ms" in answer.json["error"]
        assert answer.json["error"].endswith("120 ms")
        assert desk.calls == []

    play(scene)


class Eager(Wire):
    """Has something to read as soon as it is read again, as the kernel would have."""

    def __init__(self, sent: bytes) -> None:
        super().__init__()
        self._sent = sent

    def resume_reading(self) -> None:
        super().resume_reading()
        assert isinstance(self.protocol, asyncio.Protocol)
        asyncio.get_running_loop().call_soon(self.protocol.data_received, self._sent)
        self._sent = b""


def test_who_asks_again_at_once_after_a_refusal_has_spent_the_pause() -> None:
    async def scene() -> None:
        clock = Ticking()
        flow = Waiting(clock, is_full=True)
        line = Line(flow, port=port_of(flow, clock=clock), wire=Eager(infer(2)))
        line.send(infer(1))
        assert (line.statuses(), line.wire.reads) == ([429], False)
        flow.is_full = False
        refused_at = clock()
        await asyncio.sleep(2.0)
        (call,) = flow.calls
        assert call.arrived > refused_at + 0.2
        assert call.deadline - refused_at == pytest.approx(10.0)

    play(scene)


class Kernel:
    """A socket that says how long nothing has come."""

    def __init__(self, silent_ms: int) -> None:
        self._silent_ms = silent_ms

    def getsockopt(self, _level: int, _name: int, size: int) -> bytes:
        return self._silent_ms.to_bytes(4, "little").rjust(size, b"\0")


class Known(Eager):
    """What its client sends comes late in the pause, as the kernel knows."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return Kernel(40) if name == "socket" else super().get_extra_info(name, default)


def test_who_asks_again_late_in_the_pause_has_spent_what_was_left_of_it() -> None:
    async def scene() -> None:
        clock = Ticking()
        flow = Waiting(clock, is_full=True)
        line = Line(flow, port=port_of(flow, clock=clock), wire=Known(infer(2)))
        line.send(infer(1))
        assert (line.statuses(), line.wire.reads) == ([429], False)
        flow.is_full = False
        await asyncio.sleep(2.0)
        (call,) = flow.calls
        assert call.deadline - call.arrived == pytest.approx(9.96)

    play(scene)


def test_who_is_refused_again_has_all_his_time_from_then_on() -> None:
    async def scene() -> None:
        clock = Ticking()
        flow = Waiting(clock, is_full=True)
        line = Line(flow, port=port_of(flow, clock=clock), wire=Eager(infer(2)))
        line.send(infer(1))
        for _ in range(200):
            await asyncio.sleep(0.01)
            if len(line.statuses()) == 2:
                break
        assert line.statuses() == [429, 429]
        flow.is_full = False
        refused_at = clock()
        await asyncio.sleep(3.0)
        line.send(infer(3))
        (call,) = flow.calls
        assert call.deadline - 10.0 >= refused_at

    play(scene)


@pytest.mark.parametrize("quiet_s", [74.98, 299.5])
def test_who_waits_to_be_read_is_not_idle(quiet_s: float) -> None:
    """Neither is closed who has been quiet for long, nor who is old, and asks just then."""

    async def scene() -> None:
        clock = Ticking()
        policy = Policy(connection_max_age_s=299.6, keep_alive_s=max(75.0, quiet_s + 0.05))
        line = Line(Echo(), port=port_of(Echo(), policy, clock=clock))
        await asyncio.sleep(quiet_s)
        rotation = line.port.rotation
        rotation.is_long, rotation.since = True, clock()  # and its turn does not end by itself
        line.send(infer(1))
        await asyncio.sleep(2.0)
        assert not line.wire.is_ended
        rotation.look(clock())
        await turns()
        assert line.firsts() == [1]

    play(scene)


def test_a_client_that_does_not_read_is_not_read_in_long_turns_either() -> None:
    async def scene() -> None:
        clock, desk = Ticking(), Desk()
        line = Line(desk, port=port_of(desk, Policy(max_pipeline_depth=1), clock=clock))
        line.send(infer(1) + infer(2))
        assert not line.wire.reads
        line.wire.reads = True  # what the loop had read before
        lengthen(line, clock)
        line.send(infer(3))
        await turns()
        assert not line.wire.reads
        for at in range(3):
            echo(desk.calls[at])
        assert (line.wire.reads, line.firsts()) == (True, [1, 2, 3])

    play(scene)


def test_who_asks_again_after_the_pause_has_all_his_time() -> None:
    async def scene() -> None:
        clock = Ticking()
        flow = Waiting(clock, is_full=True)
        line = Line(flow, port=port_of(flow, clock=clock))
        line.send(infer(1))
        assert not line.wire.reads
        flow.is_full = False
        await asyncio.sleep(2.0)
        line.send(infer(2))
        (call,) = flow.calls
        assert call.deadline - call.arrived == pytest.approx(10.0)

    play(scene)


def test_what_is_left_of_a_pipeline_after_a_refusal_has_waited_since_it_came() -> None:
    async def scene() -> None:
        clock = Ticking()
        flow = Waiting(clock, is_full=True)
        line = Line(flow, port=port_of(flow, clock=clock))
        lengthen(line, clock)
        came_at = line.port.rotation.since
        line.send(infer(1) + infer(2))
        await turns()
        assert (line.statuses(), line.wire.reads) == ([429], False)
        flow.is_full = False
        await asyncio.sleep(2.0)
        (call,) = flow.calls
        assert call.deadline - came_at == pytest.approx(10.0)

    play(scene)


def test_what_is_kept_in_a_long_turn_is_bounded_over_all_connections() -> None:
    async def scene() -> None:
        clock = Ticking()
        policy = Policy(max_unfinished_bytes=100_000)
        port = port_of(Echo(), policy, clock=clock)
        lines = [Line(Echo(), port=port) for _ in range(2)]
        lengthen(lines[0], clock)
        for line in lines:
            line.send(request("POST", "/v2/models/m/infer", bytes(70_000)))
        (refusal,) = lines[1].answers()
        assert (refusal.status, refusal.closes) == (429, True)
        assert port.room.held_bytes == 70_000 + len(request("POST", "/v2/models/m/infer", b"")) + 23
        lines[0].leave()
        assert port.room.held_bytes == 0

    play(scene)


def test_who_leaves_while_he_waits_to_be_read_is_not_read() -> None:
    async def scene() -> None:
        clock, desk = Ticking(), Desk()
        line = Line(desk, port=port_of(desk, clock=clock))
        lengthen(line, clock)
        line.send(infer(1))
        line.leave()
        await turns()
        assert desk.calls == []

    play(scene)


def test_what_was_kept_is_answered_before_the_server_leaves() -> None:
    async def scene() -> None:
        clock = Ticking()
        line = Line(Echo(), port=port_of(Echo(), clock=clock))
        lengthen(line, clock)
        line.send(infer(1))
        line.lane.shutdown()
        await turns()
        assert line.firsts() == [1]
        assert line.answers()[0].closes
        assert line.wire.is_ended

    play(scene)
