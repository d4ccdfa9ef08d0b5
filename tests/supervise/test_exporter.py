"""What Prometheus reads, as its own parsers read it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from gateway import __version__
from gateway.core.breaker import State
from gateway.observe import layout
from gateway.observe.counts import ZERO, Counts
from gateway.observe.memory import Memory
from gateway.observe.record import Record
from gateway.supervise.exporter import Exporter, Snapshot, prefers_openmetrics, render
from gateway.supervise.ledger import Ledger, RowKey
from gateway.supervise.overseer import ReplicaView
from gateway.types import Signature
from tests.supervise.cells import execute, refuse

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_3 = (  # what it sends
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
HISTOGRAMS = (
    "gateway_request_duration_seconds",
    "gateway_queue_duration_seconds",
    "gateway_execution_duration_seconds",
    "gateway_batch_rows",
)
MANY = 1000
WATCHDOG_S = 30.0
IDLE = Ledger().image()
EMPTY = Snapshot(IDLE, replicas=(), ends={}, versions=())

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True)
class View:
    model: str
    version: str
    state: str
    digest: str | None
    signature: Signature | None = None


@pytest.fixture
def memories() -> Iterator[list[Memory]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Memory.create()) for _ in range(2)]


def samples(text: str) -> list[Sample]:
    return [sample for family in parse_text(text) for sample in family.samples]


def series(snapshot: Snapshot) -> Series:
    """Return the value of every series; no two are the same."""
    found = samples(render(snapshot)[0].decode())
    values: Series = {
        (sample.name, frozenset(sample.labels.items())): sample.value for sample in found
    }
    assert len(values) == len(found)
    return values


def value(snapshot: Snapshot, name: str, **labels: str) -> float:
    return series(snapshot)[name, frozenset(labels.items())]


def counting(counts: Mapping[RowKey, Counts]) -> Snapshot:
    return replace(EMPTY, image=replace(IDLE, settled=counts))


def of(ledger: Ledger) -> Snapshot:
    return Exporter(ledger, tuple, dict, tuple).snapshot()


def a_ledger(memory: Memory) -> tuple[Ledger, memoryview]:
    """Return a ledger with one version, and its row."""
    ledger = Ledger()
    ledger.attach(memory)
    return ledger, memory.row(ledger.assign("m", "1", "a"))


M1 = {"model": "m", "version": "1", "variant": "direct"}


# What is said


def test_a_host_that_serves_nothing_says_what_it_is() -> None:
    values = series(EMPTY)
    assert values["gateway_connections", frozenset()] == 0
    builds = [dict(labels) for name, labels in values if name == "gateway_build_info"]
    assert [build["version"] for build in builds] == [__version__]


def test_every_metric_of_a_version_stands_from_its_first_sight_at_zero(
    memories: list[Memory],
) -> None:
    ledger, _ = a_ledger(memories[0])
    values = {
        name: number
        for (name, labels), number in series(of(ledger)).items()
        if ("model", "m") in labels
    }
    assert set(values) == {
        "gateway_inference_requests_total",
        *(f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "count", "sum")),
        "gateway_inferences_total",
        "gateway_executions_total",
        "gateway_breaker_openings_total",
        "gateway_retries_total",
    }
    assert set(values.values()) == {0}


def test_requests_are_told_by_outcome(memories: list[Memory]) -> None:
    ledger, row = a_ledger(memories[0])
    execute(row, 3)
    refuse(row, "overloaded", 2)
    told = of(ledger)
    for outcome in layout.OUTCOME_NAMES:
        expected = {"success": 3, "overloaded": 2}.get(outcome, 0)
        assert value(told, "gateway_inference_requests_total", **M1, outcome=outcome) == expected


def test_what_was_shed_is_told_by_reason_whoever_shed_it(memories: list[Memory]) -> None:
    ledger, row = a_ledger(memories[0])
    row[layout.SHED + layout.SHED_NAMES.index("rows")] = 2
    refuse(row, "overloaded", 2)
    own = memories[0].row(0)
    own[layout.SHED + layout.SHED_NAMES.index("rows")] = 3
    own[layout.SHED + layout.SHED_NAMES.index("connections")] = 4
    told = of(ledger)
    for reason in layout.SHED_NAMES:
        expected = {"rows": 5, "connections": 4}.get(reason, 0)
        assert value(told, "gateway_shed_total", reason=reason) == expected


def test_breakers_are_told_as_the_worst_of_all_replicas(memories: list[Memory]) -> None:
    ledger = Ledger()
    row = ledger.assign("m", "1", "a")
    for memory, states in zip(
        memories, ([State.CLOSED], [State.OPEN, State.HALF_OPEN]), strict=True
    ):
        ledger.attach(memory)
        for state in states:
            Record(memory.row(row)).breaker("thread", state)
    version = {"model": "m", "version": "1"}
    told = of(ledger)
    assert value(told, "gateway_breaker_state", **version, executor="thread") == 1
    assert value(told, "gateway_breaker_openings_total", **version) == 1
    ledger.detach(memories[1])
    told = of(ledger)
    assert value(told, "gateway_breaker_state", **version, executor="thread") == 0
    assert value(told, "gateway_breaker_openings_total", **version) == 1


def test_what_has_no_version_has_no_model_either(memories: list[Memory]) -> None:
    ledger, _ = a_ledger(memories[0])
    refuse(memories[0].row(0), "unknown_model", 4)
    nobody = {"model": "", "version": "", "variant": ""}
    told = of(ledger)
    name = "gateway_inference_requests_total"
    assert value(told, name, **nobody, outcome="unknown_model") == 4
    assert value(told, name, **M1, outcome="unknown_model") == 0


def test_rows_and_executions_are_told(memories: list[Memory]) -> None:
    ledger, row = a_ledger(memories[0])
    execute(row, 3)
    execute(row, 5)
    assert value(of(ledger), "gateway_inferences_total", **M1) == 8
    assert value(of(ledger), "gateway_executions_total", **M1) == 2


def test_replicas_digests_and_revisions_of_a_variant_are_one_series(
    memories: list[Memory],
) -> None:
    ledger = Ledger()
    for memory in memories:
        ledger.attach(memory)
    for digest, revision in (("a", 0), ("b", 0), ("b", 1)):
        row = ledger.assign("m", "1", digest, revision=revision)
        for memory in memories:
            execute(memory.row(row), 2)
    assert value(of(ledger), "gateway_inferences_total", **M1) == 12


def test_arms_are_variants(memories: list[Memory]) -> None:
    ledger = Ledger()
    ledger.attach(memories[0])
    for arm in ("direct", "canary"):
        execute(memories[0].row(ledger.assign("m", "1", "a", arm)), len(arm))
    told = of(ledger)
    assert value(told, "gateway_inferences_total", **M1) == 6
    assert value(told, "gateway_inferences_total", **(M1 | {"variant": "canary"})) == 6
    assert value(told, "gateway_executions_total", **(M1 | {"variant": "canary"})) == 1


def test_what_was_retired_so_long_ago_that_it_has_no_name_is_not_told() -> None:
    old = replace(ZERO, executions=7)
    assert series(counting({RowKey("", "", "", ""): old})) == series(EMPTY)


def test_durations_are_seconds(memories: list[Memory]) -> None:
    ledger, row = a_ledger(memories[0])
    execute(row, 2, each_ns=500_000_000)
    told = of(ledger)
    assert value(told, "gateway_request_duration_seconds_sum", **M1) == 5.0
    assert value(told, "gateway_queue_duration_seconds_sum", **M1) == 1.0
    assert value(told, "gateway_execution_duration_seconds_sum", **M1) == 1.5


def test_a_batch_is_counted_in_the_least_bucket_that_holds_it(memories: list[Memory]) -> None:
    ledger, row = a_ledger(memories[0])
    for rows in (1, 2, 3, 4, 5, 4096, 4097):
        execute(row, rows)
    told = of(ledger)
    expected = {"1.0": 1, "2.0": 2, "4.0": 4, "8.0": 5, "2048.0": 5, "4096.0": 6, "+Inf": 7}
    found = {bound: value(told, "gateway_batch_rows_bucket", **M1, le=bound) for bound in expected}
    assert found == expected
    assert value(told, "gateway_batch_rows_sum", **M1) == 1 + 2 + 3 + 4 + 5 + 4096 + 4097
    assert value(told, "gateway_batch_rows_count", **M1) == 7


def test_versions_that_are_served_are_told_with_their_digest() -> None:
    views = (
        View("m", "1", "READY", "a" * 64),
        View("m", "2", "LOADING", None),
        View("n", "1", "UNAVAILABLE", "b" * 64),
        View("n", "2", "READY", "c" * 64),
    )
    told = replace(EMPTY, versions=views)
    names = {dict(labels)["digest"] for name, labels in series(told) if name.endswith("model_info")}
    assert names == {"a" * 64, "c" * 64}
    assert value(told, "gateway_model_info", model="m", version="1", digest="a" * 64) == 1
    assert value(told, "gateway_versions", state="READY") == 2
    assert value(told, "gateway_versions", state="LOADING") == 1


def test_replicas_are_told_by_state_and_their_ends_by_reason() -> None:
    views = tuple(
        ReplicaView(slot, 100 + slot, state, 0, 0.0)
        for slot, state in enumerate(("serving", "serving", "starting"))
    )
    told = replace(EMPTY, replicas=views, ends={"killed": 2})
    for state, count in (("serving", 2), ("starting", 1), ("retiring", 0)):
        assert value(told, "gateway_replicas", state=state) == count
    assert value(told, "gateway_replica_restarts_total", reason="killed") == 2


def test_connections_and_moves_are_told() -> None:
    told = replace(EMPTY, image=replace(IDLE, connections=12, moved=3))
    assert value(told, "gateway_connections") == 12
    assert value(told, "gateway_moved_versions_total") == 3


# How it is said

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
COUNTS = st.integers(0, 1 << 50)
BUCKETS = st.lists(COUNTS, min_size=layout.HISTOGRAM_CELLS, max_size=layout.HISTOGRAM_CELLS).map(
    tuple
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    keys = st.builds(RowKey, NAMES, NAMES, NAMES, st.sampled_from(["stable", "canary"]))
    counts = st.builds(
        Counts,
        success_ns=COUNTS,
        execution_ns=COUNTS,
        executions=COUNTS,
        request=BUCKETS,
        queue=BUCKETS,
        execution=BUCKETS,
        sizes=st.dictionaries(st.integers(1, 9000), st.tuples(COUNTS, COUNTS, COUNTS, COUNTS)),
    )
    views = st.builds(View, NAMES, NAMES, st.just("READY"), NAMES)
    return replace(
        counting(draw(st.dictionaries(keys, counts, max_size=4))),
        ends=draw(st.dictionaries(NAMES, COUNTS, max_size=2)),
        versions=tuple(draw(st.lists(views, max_size=3, unique=True))),
    )


@pytest.mark.slow
@given(snapshots())
@settings(max_examples=30)
def test_both_formats_parse_and_say_the_same(snapshot: Snapshot) -> None:
    text, openmetrics = (render(snapshot, one)[0].decode() for one in (False, True))
    families: list[Metric] = list(
        parse_openmetrics(openmetrics)  # type: ignore[no-untyped-call]  # theirs
    )
    said = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    assert said == series(snapshot)
    assert text.count("# TYPE ") == len(families)
    assert openmetrics.endswith("# EOF\n")


@pytest.mark.slow
@given(snapshots())
@settings(max_examples=30)
def test_histograms_are_cumulative_and_end_at_their_count(snapshot: Snapshot) -> None:
    values = series(snapshot)
    buckets: dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[float, float]]] = {}
    for (name, labels), number in values.items():
        if name.endswith("_bucket"):
            rest = frozenset(pair for pair in labels if pair[0] != "le")
            bound = float(dict(labels)["le"])
            buckets.setdefault((name.removesuffix("_bucket"), rest), []).append((bound, number))
    variants = {(key.model, key.version, key.arm) for key in snapshot.image.settled}
    assert len(buckets) == len(HISTOGRAMS) * len(variants)
    for (name, labels), found in buckets.items():
        numbers = [number for _, number in sorted(found)]
        assert numbers == sorted(numbers)
        assert max(found)[0] == float("inf")
        assert numbers[-1] == values[f"{name}_count", labels]
        assert values[f"{name}_sum", labels] >= 0


@pytest.mark.slow
@given(snapshots())
@settings(max_examples=30)
def test_names_come_back_as_they_are_whatever_is_in_them(snapshot: Snapshot) -> None:
    found = {
        (labels["model"], labels["version"], labels["variant"])
        for name, pairs in series(snapshot)
        if name == "gateway_executions_total"
        for labels in [dict(pairs)]
    }
    assert found == {(key.model, key.version, key.arm) for key in snapshot.image.settled}


@pytest.mark.parametrize("name", ['"', "\\", 'a"} 1\nevil 2', "{}", "ü – 模型", " "])
def test_a_name_cannot_break_out_of_its_label(name: str) -> None:
    told = counting({RowKey(name, "1", "a"): ZERO})
    labels = {"model": name, "version": "1", "variant": "direct"}
    assert value(told, "gateway_executions_total", **labels) == 0


def test_every_family_has_a_help_and_a_type_and_counters_end_in_total() -> None:
    families = list(parse_text(render(EMPTY)[0].decode()))
    assert all(family.documentation for family in families)
    assert {family.type for family in families} == {"counter", "gauge", "histogram"}
    counters = [
        sample.name for family in families if family.type == "counter" for sample in family.samples
    ]
    assert counters
    assert all(name.endswith("_total") for name in counters)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("application/json", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", OPENMETRICS),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.5", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=none", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
        (PROMETHEUS_3, OPENMETRICS),
    ],
)
def test_the_format_is_what_the_reader_prefers(accept: str, expected: str) -> None:
    body, content_type = render(EMPTY, prefers_openmetrics(accept))
    assert content_type == expected
    assert body.endswith(b"# EOF\n") == (expected == OPENMETRICS)


@given(st.text(max_size=60))
def test_no_accept_header_breaks_the_exposition(accept: str) -> None:
    assert prefers_openmetrics(accept) in (False, True)


def test_requests_under_a_quota_are_told_by_the_name_of_the_keys_holder() -> None:
    snapshot = replace(EMPTY, quotas={"shop": (10, 4), "lab": (0, 0)})
    name = "gateway_quota_requests_total"
    assert value(snapshot, name, holder="shop", result="passed") == 6
    assert value(snapshot, name, holder="shop", result="refused") == 4
    assert value(snapshot, name, holder="lab", result="passed") == 0


# How it is made


def an_exporter(ledger: Ledger) -> Exporter:
    views: Callable[[], Sequence[View]] = lambda: [View("m", "1", "READY", "a")]
    replicas = [ReplicaView(0, 100, "serving", 0, 0.0)]
    return Exporter(ledger, lambda: replicas, lambda: {"killed": 1}, views)


def test_an_exposition_holds_what_was_counted_before_it_was_asked_for(
    memories: list[Memory],
) -> None:
    ledger, row = a_ledger(memories[0])
    exporter = an_exporter(ledger)

    async def scene() -> tuple[bytes, str]:
        execute(row, 2)
        return await exporter.expose("")

    body, content_type = asyncio.run(scene())
    assert content_type == TEXT
    found = {sample.name: sample.value for sample in samples(body.decode())}
    assert found["gateway_inferences_total"] == 2
    assert found["gateway_replica_restarts_total"] == 1
    assert found["gateway_model_info"] == 1


def test_a_snapshot_changes_no_more(memories: list[Memory]) -> None:
    ledger, row = a_ledger(memories[0])
    execute(row, 2)
    snapshot = an_exporter(ledger).snapshot()
    before = render(snapshot)
    execute(row, 2)
    ledger.detach(memories[0])
    assert render(snapshot) == before


class Watched:
    """A version that says who reads it, and is read no further than its gate lets pass."""

    version, state, digest = "1", "READY", "a"
    signature: Signature | None = None

    def __init__(self) -> None:
        self.read_by: list[str] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(MANY)

    @property
    def model(self) -> str:
        self.read_by.append(threading.current_thread().name)
        self.begun.release()
        assert self.gate.acquire(timeout=WATCHDOG_S)
        return "m"


class Scraped:
    """An exporter of one row and one watched version, and where its views were asked."""

    def __init__(self, memory: Memory) -> None:
        self.ledger, self.row = a_ledger(memory)
        self.watched = Watched()
        self.viewed_on: list[int] = []
        self.exporter = Exporter(self.ledger, self.replicas, dict, lambda: [self.watched])

    def replicas(self) -> Sequence[ReplicaView]:
        self.viewed_on.append(threading.get_ident())
        return []

    async def rows(self) -> float:
        """Scrape; return the rows that were run."""
        body, _ = await self.exporter.expose()
        found = samples(body.decode())
        return next(one.value for one in found if one.name == "gateway_inferences_total")

    async def scraped(self) -> "asyncio.Task[float]":
        """Scrape; return when the question has come."""
        task = asyncio.create_task(self.rows())
        await asyncio.sleep(0)
        return task


def played(memory: Memory, scene: Callable[[Scraped], Awaitable[None]]) -> None:
    """Run a scene on an ordinary loop: threads wake it."""

    async def watched() -> None:
        made = Scraped(memory)
        async with made.exporter, asyncio.timeout(WATCHDOG_S):
            await scene(made)

    asyncio.run(watched())


def test_the_views_are_asked_on_the_loop_and_the_text_is_made_in_a_thread_of_its_own(
    memories: list[Memory],
) -> None:
    async def scene(made: Scraped) -> None:
        for _ in range(3):
            await made.rows()
        assert made.viewed_on == [threading.get_ident()] * 3
        assert set(made.watched.read_by) == {"metrics_0"}

    played(memories[0], scene)


def test_many_who_scrape_at_once_share_one_text_made_after_the_last_had_come(
    memories: list[Memory],
) -> None:
    async def scene(made: Scraped) -> None:
        made.watched.gate = threading.Semaphore(0)
        first = await made.scraped()
        assert await asyncio.to_thread(made.watched.begun.acquire, timeout=WATCHDOG_S)
        execute(made.row, 4)
        others = [await made.scraped() for _ in range(32)]
        assert len(made.viewed_on) == 1  # no image is taken before its turn
        made.watched.gate.release(MANY)
        assert await first == 0
        assert await asyncio.gather(*others) == [4] * 32
        assert len(made.viewed_on) == 2

    played(memories[0], scene)


def test_each_reader_gets_its_own_format_and_one_text_is_made_at_a_time(
    memories: list[Memory],
) -> None:
    async def scene(made: Scraped) -> None:
        accepts = ("", PROMETHEUS_3, "text/plain", "application/openmetrics-text") * 4
        asked = [made.exporter.expose(accept) for accept in accepts]
        types = [content_type for _, content_type in await asyncio.gather(*asked)]
        assert types == [TEXT, OPENMETRICS] * 8
        assert set(made.watched.read_by) == {"metrics_0"}
        assert len(made.viewed_on) == 3  # the first came before the others

    played(memories[0], scene)


def test_who_leaves_while_its_text_is_made_takes_it_from_nobody(memories: list[Memory]) -> None:
    async def scene(made: Scraped) -> None:
        made.watched.gate = threading.Semaphore(0)
        leaves = await made.scraped()
        assert await asyncio.to_thread(made.watched.begun.acquire, timeout=WATCHDOG_S)
        stays = await made.scraped()
        leaves.cancel()
        made.watched.gate.release(MANY)
        assert await stays == 0
        assert leaves.cancelled()

    played(memories[0], scene)


def test_the_thread_ends_with_the_exporter(memories: list[Memory]) -> None:
    async def scene() -> None:
        made = Scraped(memories[0])
        before = set(threading.enumerate())
        async with made.exporter:
            await made.rows()
            (thread,) = set(threading.enumerate()) - before
        await asyncio.to_thread(thread.join, WATCHDOG_S)
        assert not thread.is_alive()

    asyncio.run(scene())


def test_nothing_goes_back_when_a_replica_dies_or_a_version_is_replaced(
    memories: list[Memory],
) -> None:
    ledger, row = a_ledger(memories[0])
    ledger.attach(memories[1])
    seen = [series(of(ledger))]
    execute(row, 4)
    execute(memories[1].row(1), 8)
    seen.append(series(of(ledger)))
    ledger.detach(memories[0])
    seen.append(series(of(ledger)))
    successor = ledger.assign("m", "1", "another digest")
    ledger.retire(1)
    seen.append(series(of(ledger)))
    ledger.fold(memories[1], (1,))
    seen.append(series(of(ledger)))
    execute(memories[1].row(successor))
    seen.append(series(of(ledger)))
    for before, after in pairwise(seen):
        assert all(after[name] >= number for name, number in before.items())


@pytest.mark.slow
def test_a_thousand_versions_are_all_told() -> None:
    counts = {RowKey(f"model {n}", "1", "a"): ZERO for n in range(1000)}
    lines = render(counting(counts))[0].splitlines()
    assert sum(line.startswith(b"gateway_executions_total{") for line in lines) == 1000
