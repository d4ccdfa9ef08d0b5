"""Replicas that die, hang and are replaced: callers of the others notice nothing."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.killers import FOR_EVER, write_hanging
from tests.faults.processes import (
    callers_by_replica,
    callers_of,
    kill_replica,
    processes_in,
    wait_for_states,
)
from tests.faults.traffic import traffic
from tests.operating import executing, wait_until
from tests.server import WATCHDOG_S, Server, infer, serving, tensor
from tests.zoo import write_few

pytestmark = pytest.mark.slow

ASK = infer("echo", tensor("x", "FP32", [1, 4], [1, 2, 3, 4]))
CALLERS = 16
Moment = Callable[[Server], AbstractContextManager[None]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    models = write_few(tmp_path / "models")
    with serving(models, tmp_path, replicas=2, drain_timeout_s=5) as running:
        yield running


@pytest.mark.parametrize("slot", [0, 1])
def test_a_killed_replica_takes_no_caller_of_the_other_with_it(server: Server, slot: int) -> None:
    """New connections to its slot are served by the other, and wait for nobody."""
    callers = 2 * CALLERS  # so many that nobody has none
    with traffic(server.port, ASK, callers) as tally:
        held = callers_by_replica(server, callers)
        victim = kill_replica(server, slot)
        tally.wait_for_more(20 * callers)
        (other,) = held.keys() - {victim}
        assert held[victim]
        assert held[other]
        assert sorted(tally.lost) == sorted(held[victim])  # each once, and nobody else
        assert len(tally.failures) == len(tally.lost)  # and nobody was turned away meanwhile
        assert held[other] <= callers_of(other, server)  # on the connections that they had
        assert other in {one["pid"] for one in server.replicas() if one["state"] == "serving"}
        for _ in range(4 * CALLERS):  # both slots' queues are read
            assert server.ask(ASK).status == 200
    assert set(tally.answers) == {200}
    assert len(tally.bodies) == 1


def test_a_killed_replica_strands_no_connection_that_waits_in_its_queue(server: Server) -> None:
    """Nobody sent a byte to it, so nobody may notice: each is accepted by somebody else."""
    victim = server.replicas()[0]
    os.kill(victim["pid"], signal.SIGSTOP)
    with server.connections(64) as wires:
        # about half of them queue where nobody accepts any more
        os.kill(victim["pid"], signal.SIGKILL)
        for wire in wires:
            assert wire.ask(ASK).status == 200


def test_the_only_replica_may_die_and_connections_wait_for_its_successor(tmp_path: Path) -> None:
    models = write_few(tmp_path / "models")
    with serving(models, tmp_path, replicas=1) as server:
        for _ in range(2):
            os.kill(server.replicas()[0]["pid"], signal.SIGKILL)
            with server.connections(8) as wires:
                for wire in wires:
                    assert wire.ask(ASK).status == 200


def test_a_stopped_replica_is_killed_and_replaced_and_the_other_serves_its_slot(
    server: Server,
) -> None:
    with traffic(server.port, ASK, CALLERS) as tally:
        victim = server.replicas()[0]
        os.kill(victim["pid"], signal.SIGSTOP)
        server.wait_for_replicas(2, without={victim["pid"]})
        tally.wait_for_more(20 * CALLERS)
        assert len(tally.failures) <= CALLERS
    assert set(tally.answers) == {200}
    [row] = [row for row in server.index() if row["name"] == "echo"]
    assert row["state"] == "READY"  # a process that somebody stopped accuses no model


def test_twenty_replacements_under_load_fail_no_request(server: Server) -> None:
    with traffic(server.port, ASK, CALLERS) as tally:
        for _ in range(20):
            before = {one["pid"] for one in server.replicas() if one["state"] == "serving"}
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_replicas(2, without=before)
            tally.wait_for_more(CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200}
    assert len(tally.bodies) == 1


@contextmanager
def at_rest(server: Server) -> Iterator[None]:
    yield


@contextmanager
def with_one_stopped(server: Server) -> Iterator[None]:
    os.kill(server.replicas()[0]["pid"], signal.SIGSTOP)
    yield


@contextmanager
def with_one_that_hangs(server: Server) -> Iterator[None]:
    with server.connect() as wire:
        wire.send(infer("hanging", tensor("x", "INT64", [1], [FOR_EVER])))
        wait_until(lambda: executing(server, "hanging") > 0, server.replicas)
        yield


@contextmanager
def under_load(server: Server) -> Iterator[None]:
    with traffic(server.port, ASK, CALLERS) as tally:
        tally.wait_for_more(10 * CALLERS)
        yield
    assert set(tally.answers) == {200}
    assert len(tally.bodies) == 1


@contextmanager
def while_one_starts(server: Server) -> Iterator[None]:
    os.kill(server.replicas()[0]["pid"], signal.SIGKILL)
    wait_for_states(server, "serving", "starting")
    yield


@contextmanager
def while_the_first_is_replaced(server: Server) -> Iterator[None]:
    server.process.send_signal(signal.SIGHUP)
    wait_for_states(server, "serving", "serving", "starting")
    yield


@contextmanager
def while_the_second_is_replaced(server: Server) -> Iterator[None]:
    """The first one that was replaced waits for callers who rest."""
    with server.connections(2 * CALLERS) as wires:
        for wire in wires:
            assert wire.ask(ASK).status == 200
        server.process.send_signal(signal.SIGHUP)
        wait_for_states(server, "retiring", "serving", "serving", "starting")
        yield


@contextmanager
def while_both_are_replaced_under_load(server: Server) -> Iterator[None]:
    with under_load(server), while_the_first_is_replaced(server):
        yield


@pytest.mark.parametrize(
    "moment",
    [
        at_rest,
        with_one_stopped,
        with_one_that_hangs,
        under_load,
        while_one_starts,
        while_the_first_is_replaced,
        while_the_second_is_replaced,
        while_both_are_replaced_under_load,
    ],
)
def test_nobody_survives_the_supervisor(tmp_path: Path, moment: Moment) -> None:
    """Those that can hear of it drain; one that cannot is ended by the kernel."""
    models = write_few(write_hanging(tmp_path / "models"))
    with serving(models, tmp_path, replicas=2, drain_timeout_s=2) as server, moment(server):
        known = {server.process.pid, *(one["pid"] for one in server.replicas())}
        assert known <= processes_in(tmp_path)
        server.process.kill()
        wait_until(lambda: not processes_in(tmp_path), lambda: processes_in(tmp_path))
        # its sockets are the last that the kernel takes from a process
        wait_until(server.refuses_connections, lambda: "somebody listens")


def test_calls_in_flight_are_answered_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    models = write_few(tmp_path / "models")
    slow = infer("patient", tensor("x", "INT64", [1], [100_000]))
    with (
        serving(models, tmp_path, replicas=1, default_deadline_s=60) as server,
        server.connect() as wire,
    ):
        wire.send(slow)
        assert server.ask(ASK).status == 200  # read after the slow one was
        server.process.kill()
        assert wire.answer().status == 200


def _counters(text: str) -> dict[str, float]:
    """Every counter and histogram cell of a scrape, by its line."""
    found = {}
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        name = series.partition("{")[0]
        if not line.startswith("#") and name.endswith(("_total", "_bucket", "_count", "_sum")):
            found[series] = float(value)
    return found


def _successes(counters: dict[str, float]) -> float:
    ours = 'gateway_inference_requests_total{model="echo"'
    return sum(v for k, v in counters.items() if k.startswith(ours) and '"success"' in k)


def test_no_counter_ever_goes_back_while_replicas_come_and_go(tmp_path: Path) -> None:
    """Forty processes are replaced, every other time by a kill, between and during scrapes.

    Nor does one lag behind what callers have heard, whoever counted it and died.
    """
    models = write_few(tmp_path / "models")
    with (
        serving(models, tmp_path, replicas=4, drain_timeout_s=2) as server,
        traffic(server.port, ASK, 2) as tally,
        server.admin() as admin,
    ):
        before, seen = _counters(admin.get("/metrics").text), set[int]()
        turn, latest = 0, time.monotonic() + 10 * WATCHDOG_S
        while len(seen) < 44:
            assert time.monotonic() < latest, f"{len(seen)} processes so far"
            there = server.replicas()
            seen |= {one["pid"] for one in there}
            serving_now = sorted(one["pid"] for one in there if one["state"] == "serving")
            if len(serving_now) == 4:  # perhaps amid a replacement
                turn += 1
                if turn % 2:
                    server.process.send_signal(signal.SIGHUP)
                else:
                    with suppress(ProcessLookupError):  # it has ended by itself meanwhile
                        os.kill(serving_now[turn // 2 % 4], signal.SIGKILL)
            tally.wait_for_more(100)
            answered = tally.answers[200]
            after = _counters(admin.get("/metrics").text)
            backward = {k: (v, after.get(k)) for k, v in before.items() if after.get(k, -1.0) < v}
            assert not backward
            assert answered <= _successes(after)
            before = after
        assert _successes(before) <= sum(tally.answers.values()) + len(tally.failures)
