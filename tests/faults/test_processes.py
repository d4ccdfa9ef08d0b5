"""Processes that run a model, killed, stopped, crashed and starved: no caller of another notices.

Callers ask by their numbers, without a pause, and each must get its own answer, once.
"""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.killers import FATAL, FOR_EVER, write_crashing, write_hungry
from tests.faults.processes import processes_in, wait_for_workers, workers, zombies_of
from tests.operating import change, load, unload, wait_for_state, wait_until
from tests.server import Answer, Server, Wire, infer, serving, tensor
from tests.zoo import write_patient, write_shelf

pytestmark = pytest.mark.slow

CALLERS = 8
KILLS = 3
SETTINGS = '[execution]\nexecutor = "process"\n'
HUNGRY_MIB = 256


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("processes")
    models = folder / "models"
    write_shelf(models, "alone", SETTINGS)
    write_shelf(models, "several", f"{SETTINGS}instances = 3")
    write_crashing(models)
    (models / "crashing" / "1" / "model.toml").write_text(
        f"[batching]\nmax_batch_size = 64\n{SETTINGS}instances = 2\n"
    )
    write_hungry(models, f"{SETTINGS}max_memory_bytes = {HUNGRY_MIB << 20}\n")
    write_patient(models)
    (models / "patient" / "1" / "model.toml").write_text(f"{SETTINGS}instances = 2\n")
    settings = {"default_deadline_s": 30, "repository__control": "explicit"}
    names = '["alone", "several", "crashing", "hungry", "patient"]'
    with serving(models, folder, **settings, repository__startup=names) as running:
        yield running
        check_reaped(running)
        running.stop()
        assert processes_in(folder) == set()  # all of them ended with their replica


def check_reaped(server: Server) -> None:
    """Wait until every process that has ended is reaped."""
    wait_until(lambda: not zombies_of(server), lambda: zombies_of(server))


def take(model: str, *numbers: int, deadline_ms: int | None = None) -> bytes:
    shape = [len(numbers), 1] if model in ("alone", "several") else [len(numbers)]
    parameters = {} if deadline_ms is None else {"timeout": 1000 * deadline_ms}
    return infer(model, tensor("x", "INT64", shape, numbers), parameters=parameters)


class Crowd:
    """Callers of one model, in threads: each asks again as soon as it is answered."""

    def __init__(self, server: Server, model: str) -> None:
        self._server, self._model = server, model
        self._is_over = threading.Event()
        self.answered = [0] * CALLERS
        self.faults: list[object] = []
        self.threads = [threading.Thread(target=self._ask, args=(at,)) for at in range(CALLERS)]

    def _ask(self, at: int) -> None:
        try:
            with self._server.connect() as wire:
                while not self._is_over.is_set():
                    number = (at + self.answered[at]) % 10
                    answer = wire.ask(take(self._model, number))
                    if answer.status != 200 or answer.outputs != {"y": [number * 10]}:
                        self.faults.append((number, answer))
                    self.answered[at] += 1
        except Exception as error:  # noqa: BLE001 - it is told where the block is left
            self.faults.append(error)

    def wait_for_answers(self, count: int = 20) -> None:
        """Wait until each of them has had so many more answers."""
        least = [before + count for before in self.answered]
        wait_until(
            lambda: (
                bool(self.faults)
                or all(now >= want for now, want in zip(self.answered, least, strict=True))
            ),
            lambda: (self.answered, self.faults),
        )

    def end(self) -> None:
        self._is_over.set()


@contextmanager
def a_crowd(server: Server, model: str) -> Iterator[Crowd]:
    """Have callers ask while the block runs; each answer of theirs must be the right one."""
    crowd = Crowd(server, model)
    for thread in crowd.threads:
        thread.start()
    try:
        crowd.wait_for_answers()
        yield crowd
        crowd.wait_for_answers()
    finally:
        crowd.end()
        for thread in crowd.threads:
            thread.join()  # each of its waits has a watchdog
    assert crowd.faults == []


def one_of(server: Server, model: str, instances: int) -> int:
    return min(wait_for_workers(server, model, instances))


@pytest.mark.parametrize(("model", "instances"), [("alone", 1), ("several", 3)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_no_request_fails_when_a_process_is_killed_again_and_again(
    server: Server, model: str, instances: int, number: signal.Signals
) -> None:
    with a_crowd(server, model) as crowd:
        for _ in range(KILLS):
            victim = one_of(server, model, instances)
            os.kill(victim, number)
            wait_for_workers(server, model, instances, without=victim)
            crowd.wait_for_answers()
    check_reaped(server)


@pytest.mark.parametrize(("model", "instances"), [("alone", 1), ("several", 3)])
def test_no_request_fails_when_a_process_is_stopped(
    server: Server, model: str, instances: int
) -> None:
    with a_crowd(server, model) as crowd:
        for _ in range(2):
            victim = one_of(server, model, instances)
            os.kill(victim, signal.SIGSTOP)
            wait_for_workers(server, model, instances, without=victim)
            crowd.wait_for_answers()


def test_no_request_fails_when_all_processes_are_killed_at_once(server: Server) -> None:
    with a_crowd(server, "several") as crowd:
        victims = wait_for_workers(server, "several", 3)
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda: len(now := workers(server, "several")) == 3 and not now & victims,
            lambda: victims,
        )
        crowd.wait_for_answers()


def check_in_one_batch(wire: Wire, model: str, numbers: Sequence[int], guilty: int) -> Answer:
    """Send all in one write; return what the guilty one is told. The others are answered."""
    wire.send(b"".join(take(model, number) for number in numbers))
    answers = [wire.answer() for _ in numbers]
    for number, answer in zip(numbers, answers, strict=True):
        if number != guilty:
            assert answer.status == 200, answer
    return answers[numbers.index(guilty)]


@pytest.mark.parametrize("at", [0, 7, 15])
def test_a_row_that_crashes_its_process_fails_alone(server: Server, at: int) -> None:
    numbers = [0, 1, 2, 3] * 4
    numbers[at] = FATAL
    with server.connect() as wire, a_crowd(server, "several"):
        told = check_in_one_batch(wire, "crashing", numbers, FATAL)
    assert (told.status, told.json["code"]) == (500, "model_failed")
    assert "SIGFPE" in told.json["error"]
    check_reaped(server)


def test_several_rows_that_crash_fail_each_and_nobody_else(server: Server) -> None:
    numbers = [FATAL, *range(5), FATAL, *range(5)]
    with server.connect() as wire:
        wire.send(b"".join(take("crashing", number) for number in numbers))
        statuses = [wire.answer().status for _ in numbers]
    assert statuses == [500 if number == FATAL else 200 for number in numbers]


def test_a_row_that_wants_too_much_memory_fails_alone_and_costs_no_process(
    server: Server,
) -> None:
    before = wait_for_workers(server, "hungry", 1)
    too_many = (2 * HUNGRY_MIB << 20) // 4
    with server.connect() as wire:
        told = check_in_one_batch(wire, "hungry", [1, 2, too_many, 3], too_many)
        assert (told.status, told.json["code"]) == (500, "model_failed")
        assert "memory" in told.json["error"]
        assert wire.ask(take("hungry", 1000)).outputs == {"y": [1000]}
    assert workers(server, "hungry") == before


def test_a_row_that_never_ends_is_killed_when_nobody_waits_for_it(server: Server) -> None:
    """It holds one instance; who asks meanwhile is answered by the other."""
    before = wait_for_workers(server, "patient", 2)
    with server.connections(2) as (stuck, other):
        stuck.send(take("patient", FOR_EVER, deadline_ms=3000))
        for number in range(20):
            assert other.ask(take("patient", number)).outputs == {"y": [number]}
        told = stuck.answer()
    assert (told.status, told.json["code"]) == (504, "deadline_exceeded")
    wait_until(
        lambda: (
            len(workers(server, "patient") - before) >= 1 and len(workers(server, "patient")) == 2
        ),
        lambda: workers(server, "patient"),
    )
    with server.connect() as wire:
        for number in range(20):
            assert wire.ask(take("patient", number)).outputs == {"y": [number]}


def test_a_replica_that_is_killed_leaves_no_process_behind(server: Server) -> None:
    before = wait_for_workers(server, "several", 3)
    (replica,) = server.replicas()
    os.kill(replica["pid"], signal.SIGKILL)
    server.wait_for_replicas(1, without={replica["pid"]})
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before), lambda: before)
    wait_for_workers(server, "several", 3)
    with server.connect() as wire:
        assert wire.ask(take("several", 3)).outputs == {"y": [30]}


def test_a_version_that_is_unloaded_takes_its_processes_with_it(server: Server) -> None:
    assert unload(server, "several").status_code == 200
    wait_for_workers(server, "several", 0)
    check_reaped(server)
    assert load(server, "several").status_code == 200
    wait_for_state(server, "READY", "several")
    wait_for_workers(server, "several", 3)
    assert change(server, "load", "several", "1").status_code == 200  # once more changes nothing
    wait_for_workers(server, "several", 3)
