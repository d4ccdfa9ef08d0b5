"""Serving: a real replica accepts, releases and leaves, before real connections."""

import asyncio
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn

from gateway.app.serving import Server
from gateway.control.messages import (
    Accept,
    Assigned,
    Drain,
    Release,
    Released,
    Retire,
    Withdraw,
)
from gateway.observe.layout import CONNECTIONS, HEARTBEAT_NS
from gateway.wire.port import Drain as WireDrain
from tests.app.supervising import Led, leading, proved
from tests.faults.traffic import traffic
from tests.server import WATCHDOG_S, Wire
from tests.wire.harness import request
from tests.zoo import LONG, write_few

pytestmark = pytest.mark.slow

ECHO = request(
    "POST",
    "/v2/models/echo/infer",
    b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}',
)
READY, LIVE = request("GET", "/readyz"), request("GET", "/livez")


def patient(steps: int = LONG) -> bytes:
    """A request that takes its time: half a second, where it is not said otherwise."""
    body = b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT64","data":[%d]}]}' % steps
    return request("POST", "/v2/models/patient/infer", body)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Assigned, ...]:
    return proved(write_few(tmp_path_factory.mktemp("models")))


@pytest.fixture
def led(models: tuple[Assigned, ...]) -> Iterator[Led]:
    """A replica that serves from the first of two slots."""
    with leading(slots=2) as replica:
        replica.greet(drain_timeout_s=20.0)
        replica.serve(models)
        yield replica


def waits(wire: Wire) -> bool:
    """Say whether nothing comes for a moment."""
    wire.socket.settimeout(0.2)
    try:
        wire.socket.recv(1)
    except TimeoutError:
        return True
    else:
        return False
    finally:
        wire.socket.settimeout(WATCHDOG_S)


def test_a_slot_is_served_from_when_it_is_accepted_until_it_is_released(led: Led) -> None:
    with led.connect(1) as early:
        early.send(ECHO)  # it queues
        assert waits(early)
        led.accept(1)
        assert early.answer().status == 200
        led.say(Release(1))
        assert led.hear(Released) == Released(1)
        with led.connect(1) as late:
            late.send(ECHO)
            assert waits(late)
            assert early.ask(ECHO).status == 200  # what was accepted is served on
            led.accept(1)
            assert late.answer().status == 200


def test_slots_are_accepted_and_released_as_often_as_it_is_said(led: Led) -> None:
    for _ in range(3):
        led.accept(0)
    for _ in range(20):
        led.accept(1)
        led.say(Release(1))
        led.hear(Released)
        with led.connect(0) as wire:
            assert wire.ask(ECHO).status == 200


def test_connections_that_queue_outlive_the_replica(led: Led) -> None:
    """The socket is not the replica's: whoever comes after it accepts."""
    led.say(Drain(5.0))
    assert led.ended() == 0
    with led.connect(0) as wire:
        wire.send(ECHO)
        assert waits(wire)


def test_the_telemetry_shows_that_the_loop_turns(led: Led) -> None:
    with led.connect():
        latest = time.monotonic() + WATCHDOG_S
        while led.memory.row(0)[CONNECTIONS] != 1:
            assert time.monotonic() < latest
        before = led.memory.row(0)[HEARTBEAT_NS]
        while led.memory.row(0)[HEARTBEAT_NS] == before:
            assert time.monotonic() < latest
    assert before <= time.monotonic_ns()


# withdrawing


def test_who_withdraws_fails_its_readiness_and_serves_on(led: Led) -> None:
    with led.connect() as resting, led.connect() as asking:
        assert resting.ask(ECHO).closes is False
        led.say(Withdraw())
        led.accept(1)  # everything said before was obeyed
        assert asking.ask(READY).status == 503
        assert waits(resting)
        answer = resting.ask(ECHO)
        assert (answer.status, answer.closes, resting.is_ended()) == (200, True, True)
    with led.connect() as new:
        answer = new.ask(ECHO)
        assert (answer.status, answer.closes, new.is_ended()) == (200, True, True)
    with led.connect() as probe:
        assert probe.ask(LIVE).status == 200


# retiring


def test_who_retires_ends_as_soon_as_everybody_has_left(led: Led) -> None:
    with led.connect() as resting:
        assert resting.ask(ECHO).status == 200
        led.say(Retire(WATCHDOG_S))
        assert waits(resting)
        assert led.process.poll() is None
        answer = resting.ask(ECHO)
        assert (answer.status, answer.closes, resting.is_ended()) == (200, True, True)
        assert led.ended() == 0


def test_who_retires_answers_what_takes_its_time(led: Led) -> None:
    with led.connect() as wire:
        wire.send(patient())
        assert waits(wire)
        led.say(Retire(WATCHDOG_S))
        answer = wire.answer()
        assert (answer.status, answer.closes) == (200, True)
    assert led.ended() == 0


def test_who_retires_ends_in_time_though_somebody_rests(led: Led) -> None:
    with led.connect() as wire:
        assert wire.ask(ECHO).status == 200
        led.say(Retire(0.5))
        assert wire.is_ended()
    assert led.ended() == 0


def test_who_retires_accepts_nobody_any_more_whatever_it_is_told(led: Led) -> None:
    with led.connect() as resting:
        assert resting.ask(ECHO).status == 200
        led.say(Retire(WATCHDOG_S))
        led.say(Accept(1))
        with led.connect(1) as late:
            late.send(ECHO)
            assert waits(late)
        assert resting.ask(ECHO).closes
        assert led.ended() == 0


def test_who_retires_leaves_the_queue_to_its_successor(led: Led) -> None:
    led.say(Retire(WATCHDOG_S))
    assert led.ended() == 0
    with led.connect() as wire:
        wire.send(ECHO)
        assert waits(wire)


# draining


def test_who_drains_answers_what_has_begun_to_arrive_and_closes_the_rest(led: Led) -> None:
    with led.connect() as resting, led.connect() as late, led.connect() as running:
        assert resting.ask(ECHO).status == 200
        late.send(ECHO[:-5])
        running.send(patient())
        assert waits(running)
        led.say(Drain(WATCHDOG_S))
        assert resting.is_ended()
        late.send(ECHO[-5:])
        assert (late.answer().status, late.is_ended()) == (200, True)
        assert (running.answer().status, running.is_ended()) == (200, True)
    assert led.ended() == 0


def test_a_drain_is_over_in_its_time_whatever_still_runs(led: Led) -> None:
    with led.connect() as wire:
        wire.send(patient(LONG * 1000))
        assert waits(wire)
        led.say(Drain(0.5))
        assert led.ended() == 0


def test_a_drain_is_hurried_by_a_shorter_one(led: Led) -> None:
    with led.connect() as wire:
        wire.send(patient(LONG * 1000))
        assert waits(wire)
        led.say(Drain(600.0))
        assert waits(wire)
        led.say(Drain(0.1))
        assert led.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_next_one_hurries(led: Led, number: signal.Signals) -> None:
    with led.connect() as wire:
        wire.send(patient(LONG * 1000))
        assert waits(wire)
        led.process.send_signal(number)
        assert waits(wire)
        led.process.send_signal(number)
        assert led.ended() == 0


# under load


def test_slots_change_hands_under_load_and_no_request_fails(led: Led) -> None:
    with traffic(led.ports[0], ECHO) as tally:
        for _ in range(3):
            led.say(Release(0))
            led.hear(Released)
            tally.wait_for_more(100)  # nobody accepts, and who is there is served
            led.accept(0)
            tally.wait_for_more(100)
        led.say(Withdraw())
        tally.wait_for_more(100)
    assert tally.failures == []
    assert set(tally.answers) == {200}


def test_a_replica_is_replaced_under_load_and_no_request_fails(
    models: tuple[Assigned, ...],
) -> None:
    """Two processes accept from one socket; the older one sees its clients off."""
    with ExitStack() as stack:
        old = stack.enter_context(leading())
        old.greet()
        old.serve(models)
        with traffic(old.ports[0], ECHO) as tally:
            for _ in range(3):
                new = stack.enter_context(leading(sockets=old.sockets))
                new.greet()
                new.serve(models)
                old.say(Retire(WATCHDOG_S))
                assert old.ended() == 0
                tally.wait_for_more(200)
                old = new
    assert tally.failures == []
    assert set(tally.answers) == {200}
    assert tally.connections > 3 * 16


# TLS


def test_a_certificate_that_cannot_be_read_ends_it_with_a_line(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("nonsense")
    (tmp_path / "k.pem").write_text("nonsense")
    with leading() as replica:
        tls = {"certfile": str(tmp_path / "c.pem"), "keyfile": str(tmp_path / "k.pem")}
        with pytest.raises(AssertionError, match="has ended"):
            replica.greet(tls=tls)
        assert replica.ended() == 1
        assert "cannot serve: " in replica.said()
        assert "Traceback" not in replica.said()


class Named(asyncio.Protocol):
    """Says hello to whoever is accepted."""

    def __init__(self, **_: object) -> None:
        """Take what uvicorn gives to a protocol."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


async def _greeted(address: tuple[str, int]) -> bool:
    """Say whether a new connection is accepted within a moment."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        return await asyncio.wait_for(reader.read(5), 0.2) == b"hello"
    except TimeoutError:
        return False
    finally:
        writer.close()


def _serving(slots: tuple[socket.socket, ...], is_pressed: Callable[[float], bool]) -> Server:
    settings = uvicorn.Config(_no_app, http=Named, lifespan="off", log_config=None)
    settings.load()
    return Server(settings, WireDrain(), slots, is_pressed)


def test_while_refusing_takes_too_much_time_nobody_is_accepted_and_after_it_everybody() -> None:
    async def scene() -> list[bool]:
        pressed = False
        first, second = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        server = _serving((first, second), lambda _now: pressed)
        seen = []
        with first, second:
            assert await server.accept(0)
            pressed = True
            await server.on_tick(1)
            assert await server.accept(1), "it will, when there is time"
            seen += [await _greeted(slot.getsockname()) for slot in (first, second)]
            server.release(0)
            pressed = False
            await server.on_tick(1)
            seen += [await _greeted(slot.getsockname()) for slot in (first, second)]
            server.release(1)
        return seen

    assert asyncio.run(scene()) == [False, False, False, True]


@contextmanager
def _no_descriptor_left() -> Iterator[None]:
    """Have the kernel refuse every new descriptor; those that are open stay."""
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_slots_for_which_there_was_no_descriptor_are_accepted_from_as_soon_as_there_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> list[bool]:
        pressed = True
        slots = first, second = tuple(socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        server = _serving(slots, lambda _now: pressed)
        with first, second:
            for number in (0, 1):
                assert await server.accept(number)
            await server.on_tick(1)
            pressed = False
            with _no_descriptor_left():
                await server.on_tick(1)
            assert len(caplog.messages) == 2
            assert all("cannot be accepted from yet" in one for one in caplog.messages)
            await server.on_tick(1)
            seen = [await _greeted(slot.getsockname()) for slot in slots]
            for number in (0, 1):
                server.release(number)
        return seen

    assert asyncio.run(scene()) == [True, True]
    assert len(caplog.messages) == 2  # once was enough


async def _no_app(_scope: object, _receive: object, _send: object) -> None:
    raise AssertionError("nobody asks it")
