"""What was counted is the same wherever it is read, adds up, and is lost with no replica.

The identities of the protocol's statistics, S1 to S8, over two replicas and callers of every
kind: those who get what they want, those whose model fails, those out of time, those who leave.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults.traffic import traffic
from tests.operating import executing, metrics, telemetry, wait_until
from tests.server import Server, Wire, get, infer, request, serving, tensor
from tests.zoo import LONG, write_few, write_shelf

pytestmark = pytest.mark.slow

MODELS = ("echo", "patient", "shelf")
PARTS = ("queue", "compute_input", "compute_infer", "compute_output")
FAILED = ("client_gone", "deadline_exceeded", "model_failed", "internal")
POISON = 99
ROUNDS = 12


@dataclass
class Sent:
    """What callers did to one model, and what they saw of it."""

    answers: Counter[int] = field(default_factory=Counter)
    leavers: int = 0
    rows: int = 0  # of what was answered with 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("statistics")
    models = write_shelf(write_few(folder / "models"))
    # chance may send one replica more poison than a breaker bears
    rest = {"default_deadline_s": 60, "breaker__mode": "metrics_only"}
    with serving(models, folder, replicas=2, **rest) as running:
        yield running


def echo(rows: int) -> bytes:
    return infer("echo", tensor("x", "FP32", [rows, 4], [1] * 4 * rows))


def shelf(number: int) -> bytes:
    return infer("shelf", tensor("x", "INT64", [1, 1], [number]))


def patient(steps: int, *headers: str) -> bytes:
    body = infer("patient", tensor("x", "INT64", [1], [steps])).partition(b"\r\n\r\n")[2]
    return request("/v2/models/patient/infer", body, headers)


def statistics(server: Server) -> dict[str, dict[str, Any]]:
    """The data port's rows, by model."""
    with server.client() as client:
        rows = client.get("/v2/models/stats").json()["model_stats"]
    return {one["name"]: one for one in rows}


def counts(row: dict[str, Any]) -> dict[str, int]:
    """Every number of a row that may only grow."""
    found = {name: row[name] for name in ("inference_count", "execution_count", "last_inference")}
    for name, one in row["inference_stats"].items():
        found |= {f"{name}.{unit}": value for unit, value in one.items()}
    for size in row["batch_stats"]:
        for name in PARTS[1:]:
            found[f"{size['batch_size']}.{name}"] = size[name]["count"]
    return found


def call_everybody(server: Server) -> dict[str, Sent]:
    """Send everything there is, from many connections at once; return what came of it."""
    sent = {model: Sent() for model in MODELS}
    jobs: list[Callable[[], None]] = []

    def ask(wire: Wire, model: str, one: bytes, rows: int = 1) -> None:
        status = wire.ask(one).status
        sent[model].answers[status] += 1
        sent[model].rows += rows if status == 200 else 0

    def succeed() -> None:
        with server.connect() as wire:
            for rows in (1, 3, 8):
                ask(wire, "echo", echo(rows), rows)
            ask(wire, "echo", echo(9))  # more than it takes: never queued

    def be_failed() -> None:
        """In one write, so that the poisoned one has batchmates."""
        with server.connect() as wire:
            wire.send(shelf(1) + shelf(POISON) + shelf(2) + shelf(3))
            for _ in range(4):
                status = wire.answer().status
                sent["shelf"].answers[status] += 1
                sent["shelf"].rows += status == 200

    def run_out_of_time() -> None:
        with server.connect() as wire:
            ask(wire, "patient", patient(1))
            ask(wire, "patient", patient(LONG, "x-request-timeout-ms: 20"))

    def leave() -> None:
        wire = server.connect()
        wire.send(get("/v2/health/live") + patient(LONG // 4))
        assert wire.answer().status == 200  # so what came with it was read
        wire.reset()
        sent["patient"].leavers += 1

    for turn in range(ROUNDS):
        jobs += [succeed, be_failed]
        jobs += [run_out_of_time, leave] if turn % 4 == 0 else []
    with ThreadPoolExecutor(1) as pool:  # one job at a time beside the leavers it left behind
        for job in [pool.submit(job) for job in jobs]:
            job.result()
    return sent


def tried(row: dict[str, Any]) -> int:
    counted: int = (
        row["inference_stats"]["success"]["count"] + row["inference_stats"]["fail"]["count"]
    )
    return counted


def settle(server: Server, before: dict[str, Any], sent: dict[str, Sent]) -> dict[str, Any]:
    """Wait until each leaver was missed, and nothing runs for nobody; return all rows."""
    expected = tried(before["patient"]) + sent["patient"].leavers
    expected += sum(sent["patient"].answers.values())
    wait_until(
        lambda: tried(statistics(server)["patient"]) >= expected,
        lambda: (expected, statistics(server)["patient"]),
    )
    wait_until(lambda: executing(server, "patient") == 0, lambda: telemetry(server))
    return statistics(server)


def check_identities(row: dict[str, Any]) -> None:
    """S1 to S6, of one row at rest."""
    stats = row["inference_stats"]
    for one in stats.values():
        assert set(one) == {"count", "ns"}
        assert all(isinstance(number, int) and number >= 0 for number in one.values())
    sizes = {one["batch_size"]: one["compute_infer"]["count"] for one in row["batch_stats"]}
    succeeded = stats["success"]["count"]
    assert row["inference_count"] == sum(size * count for size, count in sizes.items())
    assert row["execution_count"] == sum(sizes.values())
    assert stats["cache_hit"] == {"count": 0, "ns": 0}
    assert {stats[part]["count"] for part in PARTS} == {succeeded}
    assert stats["success"]["ns"] >= sum(stats[part]["ns"] for part in PARTS)
    assert (row["last_inference"] > 0) == (succeeded > 0)
    for one in row["batch_stats"]:
        assert {one[part]["count"] for part in PARTS[1:]} == {sizes[one["batch_size"]]}


def test_every_loaded_version_has_a_row_of_zeros_before_its_first_request(
    tmp_path: Path,
) -> None:
    with serving(write_few(tmp_path / "models"), tmp_path, replicas=2) as server:
        rows = statistics(server)
        assert set(rows) == {"echo", "patient"}
        for row in rows.values():
            check_identities(row)
            assert tried(row) == row["inference_count"] == row["execution_count"] == 0
            assert (row["last_inference"], row["batch_stats"]) == (0, [])
        found = metrics(server)
        one = 'gateway_inference_requests_total{model="echo",outcome="success",variant='
        counted = {series.removeprefix(one): value for series, value in found.items()}
        assert counted['"direct",version="1"}'] == counted['"stable",version="1"}'] == 0.0


def test_what_callers_saw_is_what_was_counted(server: Server) -> None:
    before = statistics(server)
    sent = call_everybody(server)
    after = settle(server, before, sent)
    for model, seen in sent.items():
        row, was = after[model]["inference_stats"], before[model]["inference_stats"]
        check_identities(after[model])
        succeeded = row["success"]["count"] - was["success"]["count"]
        failed = row["fail"]["count"] - was["fail"]["count"]
        expected = {
            "echo": (seen.answers[200], 0),  # what is refused is counted nowhere
            "shelf": (seen.answers[200], seen.answers[500]),
            "patient": (seen.answers[200], seen.answers[504] + seen.leavers),
        }
        assert (succeeded, failed) == expected[model], seen
        rows = after[model]["inference_count"] - before[model]["inference_count"]
        assert rows == seen.rows
    assert sent["echo"].answers == {200: 3 * ROUNDS, 400: ROUNDS}
    assert sent["shelf"].answers == {200: 3 * ROUNDS, 500: ROUNDS}
    assert sent["patient"].answers == {200: ROUNDS // 4, 504: ROUNDS // 4}


def test_an_answer_is_counted_before_its_caller_has_it(server: Server) -> None:
    """Whichever replica it was, and whichever is asked."""
    before = statistics(server)["echo"]["inference_stats"]["success"]["count"]
    for turn in range(1, 17):
        assert server.ask(echo(1)).status == 200
        after = statistics(server)["echo"]["inference_stats"]["success"]["count"]
        assert after == before + turn
    before = statistics(server)["shelf"]["inference_stats"]["fail"]["count"]
    for turn in range(1, 9):
        assert server.ask(shelf(POISON)).status == 500
        after = statistics(server)["shelf"]["inference_stats"]["fail"]["count"]
        assert after == before + turn


def keys_of(document: dict[str, Any], model: str) -> list[dict[str, Any]]:
    return [key for key in document["keys"] if key["model"] == model]


def check_agreement(server: Server) -> None:
    """Three documents, at rest, tell one story."""
    rows, scrape, document = statistics(server), metrics(server), telemetry(server)
    for model in MODELS:
        keys, row = keys_of(document, model), rows[model]["inference_stats"]
        outcomes: Counter[str] = Counter()
        for key in keys:
            outcomes.update(key["outcomes"])
            assert key["executing"] == 0
        labels = f'model="{model}",'
        for outcome, count in outcomes.items():
            names = f'{labels}outcome="{outcome}",variant="stable",version="1"'
            assert scrape[f"gateway_inference_requests_total{{{names}}}"] == count
        assert row["success"]["count"] == outcomes["success"]
        assert row["fail"]["count"] == sum(outcomes[one] for one in FAILED)
        names = f'{labels}variant="stable",version="1"'
        inferences = sum(key["counters"]["inferences"] for key in keys)
        assert rows[model]["inference_count"] == inferences
        assert scrape[f"gateway_inferences_total{{{names}}}"] == inferences
        executions = sum(key["counters"]["executions"] for key in keys)
        assert scrape[f"gateway_executions_total{{{names}}}"] == executions
        timed = scrape[f"gateway_request_duration_seconds_count{{{names}}}"]
        assert timed == row["success"]["count"] + row["fail"]["count"]
        assert scrape[f"gateway_queue_duration_seconds_count{{{names}}}"] == outcomes["success"]
        assert scrape[f"gateway_execution_duration_seconds_count{{{names}}}"] == executions
        for unit in ("queue", "success"):
            assert row[unit]["ns"] == sum(key["counters"][f"{unit}_ns"] for key in keys)
        sizes: Counter[int] = Counter()
        for key in keys:
            sizes.update({one["rows"]: one["executions"] for one in key["sizes"]})
        assert sizes == {
            one["batch_size"]: one["compute_infer"]["count"] for one in rows[model]["batch_stats"]
        }


def test_statistics_metrics_and_telemetry_say_the_same(server: Server) -> None:
    before = statistics(server)
    settle(server, before, call_everybody(server))
    check_agreement(server)


def test_nothing_is_lost_with_a_replica_that_is_killed(server: Server) -> None:
    before = statistics(server)
    settle(server, before, call_everybody(server))
    before, epoch = statistics(server), telemetry(server)["epoch"]
    for _ in range(2):
        victims = {one["pid"] for one in server.replicas()}
        os.kill(min(victims), signal.SIGKILL)
        server.wait_for_replicas(2, without={min(victims)})
        after = statistics(server)
        assert {model: counts(row) for model, row in after.items()} == {
            model: counts(row) for model, row in before.items()
        }
        check_agreement(server)
    assert telemetry(server)["epoch"] == epoch
    sent = call_everybody(server)
    after = settle(server, before, sent)
    succeeded = after["echo"]["inference_stats"]["success"]["count"]
    assert succeeded == before["echo"]["inference_stats"]["success"]["count"] + 3 * ROUNDS
    check_agreement(server)


def test_no_number_goes_back_while_replicas_are_killed_under_load(server: Server) -> None:
    """Whatever callers saw answered is counted, whoever counted it, and stays so."""
    first = before = counts(statistics(server)["echo"])
    with traffic(server.port, echo(1), callers=8) as tally:
        for _ in range(2):
            victim = min(one["pid"] for one in server.replicas())
            os.kill(victim, signal.SIGKILL)
            server.wait_for_replicas(2, without={victim})
            tally.wait_for_more(80)
            after = counts(statistics(server)["echo"])
            assert {name: value for name, value in before.items() if after[name] < value} == {}
            before = after
    row = statistics(server)["echo"]
    check_identities(row)
    succeeded = counts(row)["success.count"] - first["success.count"]
    answered = tally.answers[200]
    assert set(tally.answers) == {200}
    # One that was cut off may have been counted: its answer was on its way.
    assert answered <= succeeded <= answered + len(tally.failures)
    check_agreement(server)
