"""Arms: what a routing document says of each variant and each shadow, taken alone.

Job    read them, and name what is wrong in each.
Life   pure functions over core/reading.py. An arm lacks what could not be read of it, so that
       core/proposals.py can still judge it against the others.
Never  compares one arm with another.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from gateway.core.documents import TERMS, Comparison
from gateway.core.reading import MISSING, Place, listed, some
from gateway.core.versions import canonical_version, is_version, version_key

MAX_VARIANTS = 64
MAX_SHADOWS = 16
MAX_COMPARISONS = 64  # as many as a request may have tensors
MAX_TOLERANCE = 1e300
MAX_K = 1000
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
RESERVED = "direct"  # the arm of calls that name a version themselves

_NAME_IS = "a name of 1 to 64 of A-Z a-z 0-9 . _ -"
_SHARE_IS = "a number from 0 to 100 in steps of 0.01"


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant or a shadow, as far as it could be read.

    `outputs` are the places of all its comparisons, `compare` those that could be read.
    """

    place: Place
    name: str | None = None
    version: str | None = None
    weight_bp: int | None = None
    sample_ratio: float | None = None
    outputs: tuple[tuple[str, Place], ...] = ()
    compare: dict[str, Comparison] = field(default_factory=dict)


def read_variants(place: Place, known: Collection[str] | None) -> list[Arm] | None:
    """Return the variants; None where there is no list of them.

    `known` are the versions that there are; None: any may be named.
    """
    places = place.items(f"a list of 1 to {MAX_VARIANTS} variants", 1, MAX_VARIANTS)
    return None if places is None else [_variant(one, known) for one in places]


def read_shadows(place: Place, known: Collection[str] | None) -> list[Arm]:
    """Return the shadows, as `read_variants` does; where there is no list there are none."""
    if place.value is MISSING:
        return []
    places = place.items(f"a list of at most {MAX_SHADOWS} shadows", 0, MAX_SHADOWS)
    return [_shadow(one, known) for one in places or ()]


def read_share(place: Place) -> int | None:
    """Return a share in hundredths of a per cent: exactly, or not at all."""
    value = place.number(_SHARE_IS, 0, 100)
    if value is None:
        return None
    share_bp = round(value * 100)
    # 0.29 * 100 is 28.999999999999996: what was written is what has to come back.
    if share_bp / 100 != value:
        place.expected(_SHARE_IS)
        return None
    return share_bp


def read_reference(place: Place) -> str | None:
    """Return what may be the name of a variant."""
    return place.matching("the name of a variant", NAME)


def _variant(place: Place, known: Collection[str] | None) -> Arm:
    members = ("name", "version", "weight")
    said = place.members("an object with name, version and weight", members)
    if said is None:
        return Arm(place)
    name, version = _name(said["name"]), _version(said["version"], known)
    return Arm(place, name, version, weight_bp=read_share(said["weight"]))


def _shadow(place: Place, known: Collection[str] | None) -> Arm:
    members = ("name", "version", "sample_ratio", "compare")
    said = place.members("an object with name, version and sample_ratio", members)
    if said is None:
        return Arm(place)
    ratio = said["sample_ratio"]
    outputs = _outputs(said["compare"])
    read = {name: _comparison(one) for name, one in outputs}
    return Arm(
        place,
        _name(said["name"]),
        _version(said["version"], known),
        sample_ratio=1.0 if ratio.value is MISSING else ratio.number("a number from 0 to 1", 0, 1),
        outputs=outputs,
        compare={name: one for name, one in read.items() if one is not None},
    )


def _name(place: Place) -> str | None:
    name = place.matching(_NAME_IS, NAME)
    if name == RESERVED:
        place.expected("another name: calls with a version of their own have this one")
        return None
    return name


def _version(place: Place, known: Collection[str] | None) -> str | None:
    if not isinstance(place.value, str) or not is_version(place.value):
        place.expected("a version, as text")
        return None
    version = canonical_version(place.value)
    if known is not None and version not in known:
        there = some(sorted(known, key=version_key, reverse=True))
        place.expected(f"a version that is there: {there or 'there is none'}")
        return None
    return version


def _outputs(place: Place) -> tuple[tuple[str, Place], ...]:
    if place.value is MISSING:
        return ()
    what = f"an object of at most {MAX_COMPARISONS} comparisons by output"
    return tuple(place.entries(what, MAX_COMPARISONS))


def _comparison(place: Place) -> Comparison | None:
    asked = place.value.get("kind", MISSING) if isinstance(place.value, dict) else MISSING
    kind = next((one for one in TERMS if one == asked), None)
    terms = ("atol", "rtol", "k") if kind is None else TERMS[kind]
    said = place.members("an object with kind", ("kind", *terms))
    if said is None:
        return None
    if kind is None:
        said["kind"].expected(listed(list(TERMS)))
    read: dict[str, Any] = {
        term: _term(term, said[term]) for term in terms if said[term].value is not MISSING
    }
    return None if kind is None or None in read.values() else Comparison(kind, **read)


def _term(name: str, place: Place) -> float | None:
    if name == "k":
        return place.whole(f"a whole number from 1 to {MAX_K}", 1, MAX_K)
    return place.number(f"a number from 0 to {MAX_TOLERANCE}", 0, MAX_TOLERANCE)
