"""Proposals: is this what a routing document may say, and what does it say?

Job    read what an operator proposes, and what was stored; name all faults at once.
Life   pure functions.
Never  stops at the first fault; compares parts that could not be read, so that one fault is
       not told twice; takes who, when or which revision from a proposal.

A part is read alone by core/arms.py and core/clauses.py. Here they meet: names are unique,
weights add up, whoever is named is there, and whoever answers for another can.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.core.arms import Arm, read_reference, read_shadows, read_variants
from gateway.core.clauses import Clause, read_rules, read_sticky
from gateway.core.documents import WHOLE_BP, Document, Piece, Shadow, Sticky, Variant, percent
from gateway.core.fitting import fallback_faults, shadow_faults
from gateway.core.ranges import BUCKETS
from gateway.core.reading import MISSING, Fault, Place, got, quoted, some
from gateway.core.versions import is_model_name
from gateway.types import Signature

MAX_REASON_CHARS = 1000
MAX_FAULTS = 1000  # that are told
STABLE = "stable"  # the variant that answers for others where nobody says which one
# So that GET, edit, PUT works.
IGNORED = ("revision", "changed_by", "changed_at", "pieces", "newest")

_MEMBERS = ("model", "variants", "shadows", "rules", "sticky", "fallback", "reason")
_DOCUMENT_IS = "an object with variants and reason"
_MAX_STAMP_CHARS = 1000
_MAX_PIECES = 1 << 16


class Corrupt(ValueError):
    """What was stored is no document."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{path}: {what}" for path, what in self.faults))


@dataclass(frozen=True, slots=True)
class _Parts:
    """A document's parts, as far as they could be read."""

    places: Mapping[str, Place]
    variants: Sequence[Arm] | None
    shadows: Sequence[Arm]
    rules: Sequence[Clause]
    sticky: Sticky | None
    fallback: str | None
    reason: str | None


def read_proposal(
    raw: object, model: str, versions: Mapping[str, Signature | None]
) -> Document | tuple[Fault, ...]:
    """Return the document that `raw`, parsed JSON, proposes for a model, or every fault in it.

    `versions` are those that there are, by canonical name; one that was not loaded yet has no
    signature, and is not compared. What comes back has revision 0, no pieces, no newest
    version, and nobody who changed it.
    """
    faults: list[Fault] = []
    said = Place(raw, "$", faults).members(_DOCUMENT_IS, _MEMBERS, IGNORED)
    if said is None:
        return tuple(faults)
    if said["model"].value not in (MISSING, model):
        said["model"].expected(f"{quoted(model)}, as in the path")
    parts = _read(said, versions)
    if parts.reason is not None and not parts.reason.strip():
        said["reason"].expected("a text that says why")
    _compare(parts)
    faults += shadow_faults(parts.shadows, parts.variants or (), versions)
    faults += _fallback_faults(parts, versions)
    return _worth_saying(faults) if faults else _document(parts, model)


def read_stored(raw: object) -> Document:
    """Return the document that documents.stored wrote; versions may be gone meanwhile.

    Raises: Corrupt.
    """
    faults: list[Fault] = []
    said = Place(raw, "$", faults).members("an object", (*_MEMBERS, *IGNORED))
    if said is None:
        raise Corrupt(faults)
    model = said["model"].text("the name of a model", 1, 256)
    if model is not None and not is_model_name(model):
        said["model"].expected("the name of a model")
    parts = _read(said, None)
    _compare(parts)
    revision = said["revision"].whole("a revision", 0, 1 << 63)
    changed_by, changed_at = (
        said[name].text("a text", 0, _MAX_STAMP_CHARS) for name in ("changed_by", "changed_at")
    )
    pieces = _pieces(said["pieces"], {one.name for one in parts.variants or ()})
    newest = "" if said["newest"].value is MISSING else said["newest"].text("a version", 0, 64)
    if faults or model is None or revision is None or changed_by is None or changed_at is None:
        raise Corrupt(faults)
    return replace(
        _document(parts, model),
        revision=revision,
        changed_by=changed_by,
        changed_at=changed_at,
        pieces=pieces,
        newest=newest or "",
    )


def _read(said: Mapping[str, Place], known: Collection[str] | None) -> _Parts:
    """Return the parts; `known` is None for a document that was accepted long ago."""
    fallback = said["fallback"]
    is_new = known is not None
    return _Parts(
        places=said,
        variants=read_variants(said["variants"], known),
        shadows=read_shadows(said["shadows"], known),
        rules=read_rules(said["rules"]),
        sticky=read_sticky(said["sticky"]),
        fallback=None if fallback.value in (None, MISSING) else read_reference(fallback),
        reason=said["reason"].text(
            f"a text of {int(is_new)} to {MAX_REASON_CHARS} characters",
            int(is_new),
            MAX_REASON_CHARS,
            allowed="\t\n\r",
        ),
    )


def _compare(parts: _Parts) -> None:
    """Name what parts say of one another that is not so, as far as they could be read."""
    named: dict[str, str] = {}
    for arm in (*(parts.variants or ()), *parts.shadows):
        if arm.name in named:
            path = f"{arm.place.path}.name"
            what = f"expected a name of its own, got {got(arm.name)}, as {named[arm.name]} has"
            arm.place.faults.append((path, what))
        elif arm.name is not None:
            named[arm.name] = arm.place.path
    if parts.variants is None:
        return
    weights = [one.weight_bp for one in parts.variants]
    whole = sum(weight for weight in weights if weight is not None)
    if None not in weights and whole != WHOLE_BP:
        what = f"expected weights that add up to 100, got {percent(whole)}"
        parts.places["variants"].say(what)
    for place in _strangers(parts, [one.name for one in parts.variants]):
        place.expected(f"a variant: {some([one.name for one in parts.variants if one.name])}")


def _strangers(parts: _Parts, names: Sequence[str | None]) -> Iterator[Place]:
    """Yield the places that name a variant that is not there."""
    if None in names:
        return  # the one that could not be read may be the one that is meant
    for clause in parts.rules:
        if clause.variant is not None and clause.variant not in names:
            yield clause.place
    if parts.fallback is not None and parts.fallback not in names:
        yield parts.places["fallback"]


def _worth_saying(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Return the faults; of a flood the first ones, and how many more there are."""
    if len(faults) <= MAX_FAULTS:
        return tuple(faults)
    return (*faults[:MAX_FAULTS], ("$", f"{len(faults) - MAX_FAULTS} more faults"))


def _fallback(parts: _Parts) -> str | None:
    """Return the name of the fallback: the stable variant where nobody says anything else."""
    if parts.places["fallback"].value is not MISSING:
        return parts.fallback
    return STABLE if any(one.name == STABLE for one in parts.variants or ()) else None


def _fallback_faults(parts: _Parts, versions: Mapping[str, Signature | None]) -> list[Fault]:
    """Hold the fallback against all that can get a call: by weight, or by a rule."""
    name = _fallback(parts)
    ruled = {one.variant for one in parts.rules}
    variants = parts.variants or ()
    asked = [one for one in variants if one.weight_bp or (one.name and one.name in ruled)]
    found = [one for one in variants if name is not None and one.name == name]
    place = parts.places["fallback"]
    return [fault for one in found for fault in fallback_faults(place, one, asked, versions)]


def _document(parts: _Parts, model: str) -> Document:
    """Return the document that parts without a fault make."""
    return Document(
        model,
        0,
        tuple(
            Variant(one.name, one.version, one.weight_bp)
            for one in parts.variants or ()
            if one.name is not None and one.version is not None and one.weight_bp is not None
        ),
        tuple(
            Shadow(one.name, one.version, one.sample_ratio, one.compare)
            for one in parts.shadows
            if one.name is not None and one.version is not None and one.sample_ratio is not None
        ),
        tuple(one.rule for one in parts.rules if one.rule is not None),
        parts.sticky,
        _fallback(parts),
        parts.reason or "",
    )


def _pieces(place: Place, names: Collection[str | None]) -> tuple[Piece, ...]:
    """Return who has which buckets; there may be none, or all of them, each once."""
    if place.value is MISSING:
        return ()
    places = place.items("a list of pieces", 0, _MAX_PIECES) or []
    read = [_piece(one, names) for one in places]
    found = tuple(one for one in read if one is not None)
    at = 0
    for piece in sorted(found, key=lambda one: one.start):
        if piece.start != at:
            break
        at = piece.stop
    if found and len(found) == len(read) and at != BUCKETS:
        place.say(f"expected pieces that hold every bucket once, got others after {at}")
    return found


def _piece(place: Place, names: Collection[str | None]) -> Piece | None:
    match place.value:
        case [int() as start, int() as stop, str() as name] if (
            0 <= start < stop <= BUCKETS and name in names
        ):
            return Piece(start, stop, name)
    place.expected("[start, stop, variant]")
    return None
