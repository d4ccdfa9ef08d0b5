"""Following: a real replica obeys its supervisor, and does not outlive it."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.control.messages import (
    Ask,
    Assigned,
    Entry,
    Forget,
    Hello,
    Prepare,
    Prepared,
    Publish,
    Published,
    Reply,
    Retired,
    Shares,
    Table,
)
from gateway.control.reports import Report, Reported
from gateway.observe.counts import read_quota
from tests.app.supervising import Led, leading, proved, table_of
from tests.app.test_serving import ECHO, patient, waits
from tests.faults.traffic import traffic
from tests.wire.harness import request
from tests.wire.splitting import told
from tests.zoo import LONG, write_echo, write_few

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_few(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def models(folder: Path) -> tuple[Assigned, ...]:
    return proved(folder)


@pytest.fixture
def led(models: tuple[Assigned, ...]) -> Iterator[Led]:
    with leading() as replica:
        replica.greet(drain_timeout_s=0.5, repository={"control": "explicit"})
        replica.serve(models)
        yield replica


def test_a_replica_says_who_it_is() -> None:
    with leading() as replica:
        assert replica.greet().pid == replica.process.pid


def test_a_supervisor_that_dies_before_it_greets_leaves_nobody_behind() -> None:
    with leading() as replica:
        replica.die()
        assert replica.ended() == 0


def test_settings_that_make_no_sense_end_it_with_a_line() -> None:
    with leading() as replica:
        replica.say(Hello(0, 1, '{"nonsense": 1}'))
        assert replica.ended() == 1


def test_what_cannot_be_loaded_is_refused_with_its_reason(folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    versions = proved(copied)
    (copied / "echo" / "1" / "model.onnx").write_bytes(b"changed since")
    with leading() as replica:
        replica.greet()
        refused = replica.prepare(versions)
        (echo,) = [one.proof for one in versions if one.proof.found.model == "echo"]
        assert list(refused) == [echo.digest]
        assert "changed since it was proved" in refused[echo.digest]
        replica.publish(table_of(versions))
        replica.accept()
        with replica.connect() as wire:
            answer = wire.ask(ECHO)
            assert (answer.status, answer.json["code"]) == (503, "not_ready")
            assert wire.ask(patient(1)).status == 200


def test_a_part_of_a_quota_is_given_out_and_counted_at_its_place(
    models: tuple[Assigned, ...],
) -> None:
    auth = {"keys": [told("predict", b"ticket", "shop")], "quotas": ["shop:0.001:40"]}
    ask = ECHO.replace(b"\r\n", b"\r\nx-api-key: ticket\r\n", 1)
    with leading() as led:
        led.greet(auth=auth)
        led.say(Shares({"shop": (3, 100_000), "nobody": (4, 1)}))
        led.serve(models)
        with led.connect() as wire:
            assert [wire.ask(ask).status for _ in range(6)] == [200] * 4 + [429] * 2
            assert read_quota(led.memory.row(0), 3) == (6, 2)
            led.say(Shares({"shop": (None, 1_000_000)}))
            led.publish(table_of(models, 2))  # so it has heard
            assert wire.ask(ask).status == 200
            assert read_quota(led.memory.row(0), 3) == (6, 2)


def test_versions_are_prepared_one_after_another_and_answered_each(led: Led, folder: Path) -> None:
    more = proved(folder, first_row=10), proved(folder, first_row=20)
    led.say(Prepare(7, more[0]))
    led.say(Prepare(8, more[1]))
    led.say(Publish(Table(2)))  # waits for neither
    led.hear(Published)
    assert led.hear(Prepared) == Prepared(7)
    assert led.hear(Prepared) == Prepared(8)


def test_it_says_how_its_executors_are(led: Led) -> None:
    led.say(Report(5))
    reported = led.hear(Reported)
    told = {(one.model, one.executor, one.state, one.calls) for one in reported.breakers}
    assert reported.ticket == 5
    assert told == {("echo", "inline", "CLOSED", 0), ("patient", "thread", "CLOSED", 0)}
    assert {one.next_try for one in reported.breakers} == {None}


def test_what_leaves_the_table_is_final_when_it_is_closed(models: tuple[Assigned, ...]) -> None:
    with leading() as led:
        led.greet()  # a version that left has as long as a drain: the call must not be cut off
        led.serve(models)
        with led.connect() as wire:
            wire.send(patient())
            assert waits(wire)
            led.publish(Table(2))
            assert wire.answer().status == 200
            rows = led.hear(Retired).rows + led.hear(Retired).rows
            assert set(rows) == {one.row for one in models}
            assert wire.ask(ECHO).status == 404


def test_what_is_forgotten_is_final(led: Led, folder: Path) -> None:
    more = proved(folder, first_row=10)
    assert led.prepare(more) == {}
    led.say(Forget((10, 11, 12)))
    rows = [row for _ in range(3) for row in led.hear(Retired).rows]
    assert sorted(rows) == [10, 11, 12]


def test_what_is_forgotten_while_it_is_loaded_is_final_once_and_not_held(
    led: Led, folder: Path
) -> None:
    """In its turn: a row that is called final before it is loaded could have a new owner."""
    more = proved(folder, first_row=10)
    rows = tuple(one.row for one in more)
    for one in more:
        led.say(Prepare(one.row, (one,)))
    led.say(Forget((*rows, 99)))
    for one in more:
        assert led.hear(Prepared) == Prepared(one.row)
    final = [row for _ in range(len(rows) + 1) for row in led.hear(Retired).rows]
    assert sorted(final) == [*rows, 99]  # of a row that it never heard of, too
    led.publish(table_of(more, 2))
    with led.connect() as wire:
        assert wire.ask(ECHO).status == 200  # by what was there before, which has its digest


def test_versions_are_reloaded_under_load_and_every_call_is_answered(
    led: Led, folder: Path
) -> None:
    with traffic(led.ports[0], ECHO, callers=8) as tally:
        for turn in range(1, 11):
            versions = proved(folder, first_row=100 * turn)
            assert led.prepare(versions) == {}
            led.publish(table_of(versions, turn + 1))
            left = led.hear(Retired).rows + led.hear(Retired).rows
            assert all(row < 100 * turn for row in left)
            tally.wait_for_more(20)
    assert tally.failures == []
    assert set(tally.answers) == {200}


def test_a_version_that_changes_under_load_changes_for_all_at_once(
    led: Led, tmp_path: Path
) -> None:
    """Two versions of `echo`, one after the other by default: no call falls between them."""
    write_echo(tmp_path, "echo", version="1")
    write_echo(tmp_path, "echo", version="2")
    versions = proved(tmp_path, first_row=50)
    served = {one.proof.found.version: one.proof.digest for one in versions}
    assert led.prepare(versions) == {}
    with traffic(led.ports[0], ECHO, callers=8) as tally:
        for turn in range(1, 51):
            default = "12"[turn % 2]
            led.publish(Table(turn, {"echo": Entry(default, served)}))
            with led.connect() as wire:
                assert wire.ask(ECHO).json["model_version"] == default
    assert tally.failures == []
    assert set(tally.answers) == {200}


# questions


def test_a_question_goes_to_the_supervisor_and_its_answer_to_the_caller(led: Led) -> None:
    with led.connect() as wire:
        wire.send(request("POST", "/v2/repository/index", b"{}"))
        ask = led.hear(Ask)
        assert (ask.about, json.loads(ask.parameters)) == ("index", {"ready": False})
        led.say(Reply(ask.ticket, '[{"name": "m"}]'))
        assert wire.answer().json == [{"name": "m"}]


def test_a_refusal_of_the_supervisor_reaches_the_caller(led: Led) -> None:
    with led.connect() as wire:
        wire.send(request("POST", "/v2/repository/models/m/unload", b"{}"))
        led.say(Reply(led.hear(Ask).ticket, "no such model", "unknown_model"))
        answer = wire.answer()
        assert "no such model" in answer.json["error"]


# the end


def test_a_supervisor_that_dies_has_its_replica_drain(led: Led) -> None:
    with led.connect() as asking, led.connect() as resting:
        resting.ask(ECHO)
        asking.send(request("POST", "/v2/repository/index", b"{}"))
        led.hear(Ask)
        led.die()
        assert asking.answer().status == 503
        assert resting.is_ended()
        assert led.ended() == 0


def test_a_call_that_never_ends_does_not_outlive_the_supervisor(led: Led) -> None:
    with led.connect() as wire:
        wire.send(patient(LONG * 1000))
        assert waits(wire)
        led.die()
        assert led.ended() == 0


def test_a_replica_that_was_stopped_does_not_outlive_the_supervisor(
    models: tuple[Assigned, ...],
) -> None:
    """Nothing in the process runs any more: the kernel ends it."""
    with leading() as replica:
        replica.greet(drain_timeout_s=0.0)
        replica.serve(models)
        os.kill(replica.process.pid, signal.SIGSTOP)
        replica.die()
        assert replica.ended() == -signal.SIGKILL


def test_a_message_that_is_none_is_the_end_of_obedience(led: Led) -> None:
    led.control.sendall(b'{"kind": "nonsense"}\n')
    assert led.ended() == 0
