"""Outcomes: what became of requests, of what there was no room for them, and how those are who
should answer them, in metrics.

Life   pure functions over the counts of one snapshot.
Never  makes a series of a caller's words.
"""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.observe.counts import Counts
from gateway.observe.layout import OUTCOME_NAMES, SHED_NAMES
from gateway.supervise.ledger import DIRECT

Quotas = Mapping[str, tuple[int, int]]  # by name: requests of its holder, and those over it
Labels = tuple[str, str, str]  # model, version, variant
_NOBODY: Labels = ("", "", "")  # who was refused before a version was known


def requests(totals: Mapping[Labels, Counts], refusals: Counts) -> Metric:
    """Return the family of requests by variant and outcome."""
    family = CounterMetricFamily(
        "gateway_inference_requests",
        "Inference requests answered or given up, by what came of them.",
        labels=("model", "version", "variant", "outcome"),
    )
    for labels, counts in (*totals.items(), (_NOBODY, refusals)):
        for outcome, count in zip(OUTCOME_NAMES, counts.outcomes, strict=True):
            family.add_metric((*labels, outcome), count)
    return family


def shed(totals: Mapping[Labels, Counts], refusals: Counts) -> Metric:
    """Return the family of requests that were refused for want of room."""
    family = CounterMetricFamily(
        "gateway_shed",
        "Requests refused though their callers did nothing wrong, by what there was no room for.",
        labels=("reason",),
    )
    counted = [counts.shed for counts in (*totals.values(), refusals)]
    for reason, *counts in zip(SHED_NAMES, *counted, strict=True):
        family.add_metric((reason,), sum(counts))
    return family


def retries(totals: Mapping[Labels, Counts]) -> Metric:
    """Return the family of batches that another endpoint was asked for, by version."""
    family = CounterMetricFamily(
        "gateway_retries",
        "Batches of a remote version that another endpoint was asked for as well.",
        labels=("model", "version"),
    )
    counted: dict[tuple[str, str], int] = {}
    for (model, version, _), counts in totals.items():
        counted[model, version] = counted.get((model, version), 0) + counts.retries
    for labels, count in counted.items():
        family.add_metric(labels, count)
    return family


def quotas(asked: Quotas) -> Metric:
    """Return the family of requests whose callers have a quota."""
    family = CounterMetricFamily(
        "gateway_quota_requests",
        "Requests of those who have a quota, by the name of the key's holder.",
        labels=("holder", "result"),
    )
    for name, (count, over) in asked.items():
        family.add_metric((name, "passed"), count - over)
        family.add_metric((name, "refused"), over)
    return family


def breakers(totals: Mapping[Labels, Counts]) -> Iterator[Metric]:
    """Yield how executors are, the worst of all replicas, and how often they were opened."""
    states = GaugeMetricFamily(
        "gateway_breaker_state",
        "The worst of all replicas: 0 CLOSED, 1 HALF_OPEN, 2 OPEN, 3 FORCED_OPEN, "
        "-1 METRICS_ONLY, -2 DISABLED.",
        labels=("model", "version", "executor"),
    )
    opened = CounterMetricFamily(
        "gateway_breaker_openings",
        "Times that a breaker of the version opened.",
        labels=("model", "version"),
    )
    for (model, version, variant), counts in totals.items():
        if variant == DIRECT:
            opened.add_metric((model, version), counts.openings)
        for executor, state in counts.breakers.items():
            states.add_metric((model, version, executor), state)
    yield states
    yield opened
