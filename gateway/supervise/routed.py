"""Routed: what routing documents bring to an exposition.

Job    the metrics of revisions, fallbacks and shadows.
Life   pure functions over a snapshot.
Never  makes a series of a variant before its row is given out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.core.documents import Document
from gateway.observe.counts import Counts
from gateway.observe.layout import MOST_OUTPUTS, SHADOW_NAMES
from gateway.supervise.ledger import DIRECT
from gateway.types import Signature

Labels = tuple[str, str, str]  # model, version, variant
_OTHERS = "others"
_LABELS = ("model", "version", "variant")


class Versioned(Protocol):
    """What is asked of a version: its outputs' names."""

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def signature(self) -> Signature | None: ...


def routed(
    totals: Mapping[Labels, Counts],
    documents: Mapping[str, Document],
    versions: tuple[Versioned, ...],
) -> Iterator[Metric]:
    """Yield the families of `documents`, the ones in force by model."""
    revisions = GaugeMetricFamily(
        "gateway_route_revision", "The routing document in force.", labels=("model",)
    )
    for model, document in documents.items():
        revisions.add_metric((model,), document.revision)
    yield revisions
    yield _fallbacks(totals)
    shadows = {
        (model, shadow.version, shadow.name)
        for model, document in documents.items()
        for shadow in document.shadows
    }
    known = {
        labels: counts
        for labels, counts in totals.items()
        if labels in shadows or any(counts.shadowed)
    }
    yield _shadowed(known)
    signatures = {(one.model, one.version): one.signature for one in versions}
    yield _disagreements(known, signatures)


def by_output(signature: Signature | None, rows: Sequence[int]) -> Mapping[str, int]:
    """Return rows by output, in the order of outputs; the last one counted stands for the rest.

    Each name stands there once, also where an output is called as the rest is.
    """
    if signature is None:
        return {}
    names = [spec.name for spec in signature.outputs]
    if len(names) > MOST_OUTPUTS:
        names = [*names[: MOST_OUTPUTS - 1], _OTHERS]
    found: dict[str, int] = {}
    for name, count in zip(names, rows, strict=False):
        found[name] = found.get(name, 0) + count
    return found


def _fallbacks(totals: Mapping[Labels, Counts]) -> Metric:
    family = CounterMetricFamily(
        "gateway_fallbacks", "Requests that another variant was asked instead.", labels=_LABELS
    )
    for labels, counts in totals.items():
        if labels[2] != DIRECT:
            family.add_metric(labels, counts.fallbacks)
    return family


def _shadowed(shadows: Mapping[Labels, Counts]) -> Metric:
    family = CounterMetricFamily(
        "gateway_shadow_requests",
        "Requests that a shadow was asked as well, by what came of them.",
        labels=(*_LABELS, "outcome"),
    )
    for labels, counts in shadows.items():
        for outcome, count in zip(SHADOW_NAMES, counts.shadowed, strict=True):
            family.add_metric((*labels, outcome), count)
    return family


def _disagreements(
    shadows: Mapping[Labels, Counts], signatures: Mapping[tuple[str, str], Signature | None]
) -> Metric:
    family = CounterMetricFamily(
        "gateway_shadow_disagreements",
        "Rows of which a shadow would have said something else, by output.",
        labels=(*_LABELS, "output"),
    )
    for labels, counts in shadows.items():
        signature = signatures.get(labels[:2])
        for name, count in by_output(signature, counts.disagreements).items():
            family.add_metric((*labels, name), count)
    return family
