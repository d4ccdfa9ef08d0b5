"""Exporter: what the host has counted, in Prometheus' words.

Job    turn one snapshot into one exposition, as text or as OpenMetrics.
Life   `async with`, as long as the supervisor; a registry of its own for each exposition.
Never  counts a call; makes a series of what a caller merely named; works at two
       expositions at once, or where others wait for threads.

A snapshot is taken on the loop, where nothing can be folded meanwhile; `render` is a pure
function of it and runs in a thread of the exporter's own: a thousand versions are a hundred
thousand lines. Series are by model, version and variant, so they neither end nor go back
when a version is replaced by another of its name. A series begins with its version, at
zero, whatever has happened to it: a rate over its first event is then right. What
was refused before a version was known has no model, version or variant.
"""

import asyncio
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol, Self

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.core.documents import Document
from gateway.execute.executors import switch_soon
from gateway.observe.counts import Counts, plus
from gateway.observe.layout import BUCKETS_S
from gateway.supervise.ledger import Image, Ledger, RowKey
from gateway.supervise.outcomes import Quotas, breakers, quotas, requests, retries, shed
from gateway.supervise.overseer import ReplicaView
from gateway.supervise.routed import Versioned, routed
from gateway.supervise.sharing import Sharing

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_LABELS = ("model", "version", "variant")
_LE_S = (*map(str, BUCKETS_S), "+Inf")
_ROWS = tuple(1 << power for power in range(13))  # 1 to 4096
_LE_ROWS = (*(str(float(rows)) for rows in _ROWS), "+Inf")
_REPLICA_STATES = ("starting", "serving", "retiring")

Labels = tuple[str, str, str]
Totals = Mapping[Labels, Counts]


class VersionView(Versioned, Protocol):
    """What is asked of a version that the inventory knows."""

    @property
    def state(self) -> str: ...
    @property
    def digest(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that one exposition says, at one instant."""

    image: Image
    replicas: tuple[ReplicaView, ...]
    ends: Mapping[str, int]  # of replicas, by reason
    versions: tuple[VersionView, ...]
    documents: Mapping[str, Document] = field(default_factory=dict)  # in force, by model
    quotas: Quotas = field(default_factory=dict)


class Exporter:
    """Every exposition holds all that was counted before it was asked for."""

    def __init__(
        self,
        ledger: Ledger,
        replicas: Callable[[], Sequence[ReplicaView]],
        ends: Callable[[], Mapping[str, int]],
        versions: Callable[[], Sequence[VersionView]],
        documents: Callable[[], Mapping[str, Document]] = dict,
        quotas: Callable[[], Quotas] = dict,
    ) -> None:
        """`ends` says how many replicas have ended, by a reason of few words."""
        self._ledger = ledger
        self._replicas = replicas
        self._ends = ends
        self._versions = versions
        self._documents = documents
        self._quotas = quotas
        self._thread = ThreadPoolExecutor(1, "metrics", switch_soon)
        self._sharing = Sharing(self._work_out)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let the thread end its work for nobody, and do no other."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def snapshot(self) -> Snapshot:
        """Return what is so now. Only for the supervisor's loop."""
        return Snapshot(
            image=self._ledger.image(),
            replicas=tuple(self._replicas()),
            ends=dict(self._ends()),
            versions=tuple(self._versions()),
            documents=self._documents(),
            quotas=self._quotas(),
        )

    async def expose(self, accept: str = "") -> tuple[bytes, str]:
        """Return an exposition and its content type, as an Accept header wishes.

        Cancel: safe; the thread ends its work for nobody.
        """
        return await self._sharing.ask(prefers_openmetrics(accept))

    async def _work_out(self, is_openmetrics: bool) -> tuple[bytes, str]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, render, self.snapshot(), is_openmetrics)


def render(snapshot: Snapshot, is_openmetrics: bool = False) -> tuple[bytes, str]:
    """Return the exposition of `snapshot` and its content type. For any thread."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(snapshot))
    if is_openmetrics:
        body: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]  # theirs
        return body, _OPENMETRICS
    return generate_latest(registry), _TEXT


def prefers_openmetrics(accept: str) -> bool:
    """Say whether OpenMetrics is asked for, and text not more so."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for choice in accept.split(","):
        name, *parameters = (part.strip().lower() for part in choice.split(";"))
        if name in weights:
            weights[name] = max(weights[name], _quality(parameters))
    openmetrics, text = weights.values()
    return openmetrics > 0 and openmetrics >= text


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


class _Families(Collector):
    """A snapshot as the library asks for it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        totals = _by_variant(self._snapshot.image.counts())
        yield requests(totals, self._snapshot.image.refusals)
        yield shed(totals, self._snapshot.image.refusals)
        yield quotas(self._snapshot.quotas)
        yield from breakers(totals)
        yield retries(totals)
        yield _request_durations(totals)
        yield _queue_durations(totals)
        yield _execution_durations(totals)
        yield _batch_rows(totals)
        yield from _work(totals)
        yield from routed(totals, self._snapshot.documents, self._snapshot.versions)
        yield from _versions(self._snapshot.versions)
        yield from _processes(self._snapshot)


def _by_variant(counts: Mapping[RowKey, Counts]) -> Totals:
    totals: dict[Labels, Counts] = {}
    for key, one in counts.items():
        if key.model:  # else it is what was retired so long ago that its name is given up
            labels = key.model, key.version, key.arm
            was = totals.get(labels)
            totals[labels] = one if was is None else plus(was, one)
    return totals


def _request_durations(totals: Totals) -> Metric:
    family = _histogram("gateway_request_duration_seconds", "From the last byte to the answer.")
    for labels, counts in totals.items():
        _add(family, labels, _LE_S, counts.request, (counts.success_ns + counts.fail_ns) / 1e9)
    return family


def _queue_durations(totals: Totals) -> Metric:
    family = _histogram("gateway_queue_duration_seconds", "From the last byte to the model.")
    for labels, counts in totals.items():
        _add(family, labels, _LE_S, counts.queue, counts.queue_ns / 1e9)
    return family


def _execution_durations(totals: Totals) -> Metric:
    family = _histogram("gateway_execution_duration_seconds", "Executions, failed ones too.")
    for labels, counts in totals.items():
        _add(family, labels, _LE_S, counts.execution, counts.execution_ns / 1e9)
    return family


def _batch_rows(totals: Totals) -> Metric:
    family = _histogram("gateway_batch_rows", "Rows of an execution; padding is none.")
    for labels, counts in totals.items():
        buckets = [0] * len(_LE_ROWS)
        for rows, (executions, *_) in counts.sizes.items():
            buckets[_bucket(rows)] += executions
        rows_run = sum(rows * size[0] for rows, size in counts.sizes.items())
        _add(family, labels, _LE_ROWS, buckets, rows_run)
    return family


def _bucket(rows: int) -> int:
    return min(max(rows - 1, 0).bit_length(), len(_ROWS))


def _histogram(name: str, documentation: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, documentation, labels=_LABELS)


def _add(
    family: HistogramMetricFamily,
    labels: Labels,
    bounds: Sequence[str],
    counts: Sequence[int],
    total: float,
) -> None:
    """Add a histogram whose `counts` are not cumulative."""
    family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)


def _work(totals: Totals) -> Iterator[Metric]:
    inferences = CounterMetricFamily(
        "gateway_inferences", "Rows run for requests that succeeded.", labels=_LABELS
    )
    executions = CounterMetricFamily(
        "gateway_executions", "Executions, failed ones too.", labels=_LABELS
    )
    for labels, counts in totals.items():
        inferences.add_metric(labels, counts.inferences)
        executions.add_metric(labels, counts.executions)
    yield inferences
    yield executions


def _versions(versions: Sequence[VersionView]) -> Iterator[Metric]:
    served = InfoMetricFamily("gateway_model", "The versions that are served.")
    states = GaugeMetricFamily("gateway_versions", "Known versions by state.", labels=("state",))
    for version in versions:
        if version.state == "READY" and version.digest:
            name = {"model": version.model, "version": version.version}
            served.add_metric((), {**name, "digest": version.digest})
    for state, count in sorted(Counter(version.state for version in versions).items()):
        states.add_metric((state,), count)
    yield served
    yield states


def _processes(snapshot: Snapshot) -> Iterator[Metric]:
    replicas = GaugeMetricFamily("gateway_replicas", "Replicas by state.", labels=("state",))
    found = Counter(replica.state for replica in snapshot.replicas)
    for state in sorted({*_REPLICA_STATES, *found}):
        replicas.add_metric((state,), found[state])
    yield replicas
    restarts = CounterMetricFamily(
        "gateway_replica_restarts", "Replicas that ended, by reason.", labels=("reason",)
    )
    for reason, count in sorted(snapshot.ends.items()):
        restarts.add_metric((reason,), count)
    yield restarts
    yield GaugeMetricFamily(
        "gateway_connections", "Connections open on the data port.", snapshot.image.connections
    )
    yield CounterMetricFamily(
        "gateway_moved_versions",
        "Versions that left an event loop for a thread.",
        snapshot.image.moved,
    )
    build = {"version": __version__, "python": platform.python_version()}
    yield InfoMetricFamily("gateway_build", "What runs here.", build)
