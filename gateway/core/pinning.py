"""Pinning: what a model's calls go to where nobody has said so.

Job    the document of a model that is seen for the first time, and its like afterwards.
Life   pure functions.
Never  promotes a version because it appeared, unless the configuration says so; touches what
       an operator wrote.

A model is pinned to the version that is highest when it is first seen: a restart with more
versions on disk changes nothing. Such an automatic document follows only the operator who
takes its version out: then the highest of what is left answers. One that a person wrote
stays as it is whatever becomes of its versions.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from gateway.core.documents import WHOLE_BP, Document, Variant, usual
from gateway.core.versions import version_key

AUTOMATIC = "the gateway"  # no caller can be called so
STABLE = "stable"


@dataclass(frozen=True, slots=True)
class Stock:
    """A model's versions. `out` are known, and an operator took them out."""

    ready: Sequence[str]
    known: Collection[str]
    out: Collection[str]


def first(model: str, version: str, reason: str) -> Document:
    """Return a document that gives everything to one version; its revision is the caller's."""
    variants = (Variant(STABLE, version, WHOLE_BP),)
    return Document(model, 0, variants, fallback=STABLE, reason=reason)


def pinned(model: str, document: Document | None, stock: Stock) -> Document | None:
    """Return the document that is to be written unasked, if there is one."""
    if not stock.ready:
        return None
    highest = max(stock.ready, key=version_key)
    if document is None:
        return first(model, highest, f"first sight: version {highest} is the highest")
    if document.changed_by != AUTOMATIC:
        return None
    version = usual(document).version
    if version in stock.ready or (version in stock.known and version not in stock.out):
        return None
    return first(model, highest, f"version {version} was taken out")


def newest_of(document: Document, before: Document | None) -> str:
    """Return the newest version that a document, or any revision before it, has named."""
    named = [*document.versions(), document.newest]
    named += () if before is None else (*before.versions(), before.newest)
    return max(filter(None, named), key=version_key)


def promoted(document: Document, ready: Sequence[str]) -> Document | None:
    """Return the document that gives all of a model's calls to a version that is newer than
    all that any revision has named.

    Rules, shadows and the sticky key stay as an operator wrote them.
    """
    if not ready:
        return None
    highest = max(ready, key=version_key)
    if version_key(highest) <= version_key(newest_of(document, None)):
        return None
    name = usual(document).name
    variants = tuple(
        replace(one, version=highest, weight_bp=WHOLE_BP)
        if one.name == name
        else replace(one, weight_bp=0)
        for one in document.variants
    )
    reason = f"version {highest} appeared, and routes.new_versions is 'serve'"
    return replace(document, variants=variants, reason=reason)
