"""Shadowing: what is counted of a document's shadows, as operators read it.

Job    put counts, names of outputs and the worst rows together, shadow by shadow.
Life   a pure function.
"""

from collections.abc import Mapping

from gateway.core.documents import Document, Shadow, usual
from gateway.observe.counts import ZERO, Counts, plus
from gateway.observe.layout import SHADOW_NAMES
from gateway.supervise.disagreements import Disagreements
from gateway.supervise.ledger import RowKey
from gateway.supervise.management.office import ShadowView
from gateway.supervise.register import Known
from gateway.supervise.routed import by_output
from gateway.types import Signature


def shadow_views(
    document: Document,
    counts: Mapping[RowKey, Counts],
    known: Mapping[str, Known],
    disagreements: Disagreements,
) -> tuple[ShadowView, ...]:
    """Return what each shadow of `document` has shown under its revision."""
    stands = usual(document).version
    return tuple(
        ShadowView(
            shadow.name,
            shadow.version,
            shadow.sample_ratio,
            shadow.version == stands,
            dict(zip(SHADOW_NAMES, counted.shadowed, strict=True)),
            by_output(_signature(known.get(shadow.version)), counted.disagreements),
            disagreements.worst(document.model, document.revision, shadow.name),
        )
        for shadow in document.shadows
        for counted in (_counted(document, shadow, counts),)
    )


def _counted(document: Document, shadow: Shadow, counts: Mapping[RowKey, Counts]) -> Counts:
    found = ZERO
    for key, one in counts.items():
        if (key.arm, key.revision) == (shadow.name, document.revision):
            found = plus(found, one)
    return found


def _signature(known: Known | None) -> Signature | None:
    return None if known is None or known.proof is None else known.proof.signature
