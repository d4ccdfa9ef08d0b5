"""Documents: how the calls of one model are shared among its versions, as an operator says it.

Job    the nouns of a routing document, and its JSON.
Life   values; pure functions.
Never  judges: core/proposals.py reads what somebody proposes.

Weights are whole hundredths of a per cent, so that they add up exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

WHOLE_BP = 10_000  # all of the calls, in hundredths of a per cent

Json = dict[str, Any]
Where = Literal["header", "parameter"]
CompareKind = Literal["label", "numeric", "top_k", "distribution"]
# What a comparison of each kind says beside it.
TERMS: Mapping[CompareKind, tuple[str, ...]] = {
    "label": (),
    "numeric": ("atol", "rtol"),
    "top_k": ("k",),
    "distribution": ("atol",),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """One arm of the split. Units: `weight_bp` of WHOLE_BP; 0 stays warm."""

    name: str
    version: str
    weight_bp: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """When two outputs count as equal.

    label: the same elements. numeric: |a - b| <= atol + rtol * |a|, NaN equal to NaN.
    top_k: the same k best classes of each row, in any order. distribution: half the sum of
    |a - b| over each row is at most `atol` (the total variation distance).
    """

    kind: CompareKind
    atol: float = 1e-5
    rtol: float = 1e-3
    k: int = 1


@dataclass(frozen=True, slots=True)
class Shadow:
    """A version that is asked as well, and whose answers nobody waits for.

    `compare` are comparisons by output; an output that is not in it is compared by its type.
    """

    name: str
    version: str
    sample_ratio: float
    compare: Mapping[str, Comparison] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Matches:
    """Holds where a header or a V2 parameter says exactly this."""

    where: Where
    name: str  # of a header: in lower case
    equals: str


@dataclass(frozen=True, slots=True)
class Share:
    """Holds for so many of the calls, or of the units where the document is sticky."""

    share_bp: int


Condition = Matches | Share


@dataclass(frozen=True, slots=True)
class Rule:
    """Gives a call to a variant, whatever the weights say."""

    variant: str
    conditions: tuple[Condition, ...]
    needs_all: bool  # else any of them


@dataclass(frozen=True, slots=True)
class Sticky:
    """By what a unit is known that is always given to the same variant."""

    where: Where
    name: str  # of a header: in lower case
    salt: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Buckets `start` to `stop`, without `stop`, that belong to a variant."""

    start: int
    stop: int
    variant: str


@dataclass(frozen=True, slots=True)
class Document:
    """One revision of one model's routing document.

    `pieces` are who has which buckets (core/ranges.py), worked out when it is accepted; `newest`
    is the newest version that it or any revision before has named (core/pinning.py).
    """

    model: str
    revision: int
    variants: tuple[Variant, ...]
    shadows: tuple[Shadow, ...] = ()
    rules: tuple[Rule, ...] = ()
    sticky: Sticky | None = None
    fallback: str | None = None
    reason: str = ""
    changed_by: str = ""
    changed_at: str = ""  # ISO 8601, UTC
    pieces: tuple[Piece, ...] = ()
    newest: str = ""

    def versions(self) -> tuple[str, ...]:
        """Return all versions that it names, each once."""
        named: tuple[Variant | Shadow, ...] = (*self.variants, *self.shadows)
        return tuple(dict.fromkeys(one.version for one in named))


def usual(document: Document) -> Variant:
    """Return the variant that stands for the model: its fallback, else the heaviest.

    A fallback without weight answers nobody by the split: it stands for nothing.
    """
    heaviest = max(document.variants, key=lambda one: one.weight_bp)
    weighty = (one for one in document.variants if one.weight_bp)
    return next((one for one in weighty if one.name == document.fallback), heaviest)


def shown(document: Document) -> Json:
    """Return the JSON of a document, as core/proposals.py reads it again."""
    sticky = document.sticky
    return {
        "model": document.model,
        "revision": document.revision,
        "variants": [
            {"name": one.name, "version": one.version, "weight": percent(one.weight_bp)}
            for one in document.variants
        ],
        "shadows": [_shadow(one) for one in document.shadows],
        "rules": [_rule(one) for one in document.rules],
        "sticky": sticky and {"by": f"{sticky.where}:{sticky.name}", "salt": sticky.salt},
        "fallback": document.fallback,
        "reason": document.reason,
        "changed_by": document.changed_by,
        "changed_at": document.changed_at,
    }


def stored(document: Document) -> Json:
    """Return the JSON of a document with what nobody is shown, as it is kept."""
    pieces = [[one.start, one.stop, one.variant] for one in document.pieces]
    return {**shown(document), "pieces": pieces, "newest": document.newest}


def percent(share_bp: int) -> int | float:
    """Return a share in per cent: 10 and not 10.0, 0.01 and not 0.0100001."""
    whole, rest = divmod(share_bp, 100)
    return share_bp / 100 if rest else whole


def _shadow(shadow: Shadow) -> Json:
    shown_of: Json = {
        "name": shadow.name,
        "version": shadow.version,
        "sample_ratio": shadow.sample_ratio,
    }
    if shadow.compare:
        shown_of["compare"] = {name: _comparison(one) for name, one in shadow.compare.items()}
    return shown_of


def _comparison(one: Comparison) -> Json:
    return {"kind": one.kind, **{term: getattr(one, term) for term in TERMS[one.kind]}}


def _rule(rule: Rule) -> Json:
    conditions = [_condition(one) for one in rule.conditions]
    return {"if": {"all" if rule.needs_all else "any": conditions}, "variant": rule.variant}


def _condition(condition: Condition) -> Json:
    if isinstance(condition, Share):
        return {"percentage": percent(condition.share_bp)}
    return {condition.where: condition.name, "equals": condition.equals}
