"""Clauses: what a routing document says of callers, in rules and in its sticky key.

Job    read them, and name what is wrong in each.
Life   pure functions over core/reading.py.
Never  lets a secret decide: what decides is shown, logged and kept.
"""

import re
from dataclasses import dataclass

from gateway.core.arms import read_reference, read_share
from gateway.core.documents import Condition, Matches, Rule, Share, Sticky, Where
from gateway.core.reading import MISSING, Place, listed

MAX_RULES = 100
MAX_CONDITIONS = 16
MAX_NAME_CHARS = 256  # of a header, a parameter, a salt
MAX_TEXT_CHARS = 1024
# Source: RFC 9110, 5.6.2.
TOKEN = re.compile(rf"[!#$%&'*+.^_`|~0-9A-Za-z-]{{1,{MAX_NAME_CHARS}}}")
SECRET_HEADERS = ("authorization", "x-api-key", "cookie", "proxy-authorization", "set-cookie")

_SOURCES: tuple[Where, ...] = ("header", "parameter")
_ASKS = (*_SOURCES, "percentage")
_PARAMETER_IS = f"a parameter's name of 1 to {MAX_NAME_CHARS} characters"
_HEADER_IS = f"a header's name of 1 to {MAX_NAME_CHARS} characters (RFC 9110's tokens)"


@dataclass(frozen=True, slots=True)
class Clause:
    """A rule as far as it could be read; `place` is that of its variant's name."""

    place: Place
    variant: str | None = None
    rule: Rule | None = None


def read_rules(place: Place) -> list[Clause]:
    """Return the rules; where there is no list there are none."""
    if place.value is MISSING:
        return []
    places = place.items(f"a list of at most {MAX_RULES} rules", 0, MAX_RULES)
    return [_clause(one) for one in places or ()]


def read_sticky(place: Place) -> Sticky | None:
    """Return by what a unit is known; None where there is nothing, or a fault."""
    if place.value is None or place.value is MISSING:
        return None
    said = place.members("null or an object with by and salt", ("by", "salt"))
    if said is None:
        return None
    source = _source(said["by"])
    salt = said["salt"].text(f"a text of 1 to {MAX_NAME_CHARS} characters", 1, MAX_NAME_CHARS)
    return None if source is None or salt is None else Sticky(*source, salt)


def _source(place: Place) -> tuple[Where, str] | None:
    said, _, text = place.value.partition(":") if isinstance(place.value, str) else ("", "", "")
    where: Where | None = next((one for one in _SOURCES if one == said), None)
    if where is None:
        place.expected("header:NAME or parameter:NAME")
        return None
    name = _named(where, Place(text, place.path, place.faults))
    return None if name is None else (where, name)


def _named(where: Where, place: Place) -> str | None:
    if where == "header":
        return _header(place)
    return place.text(_PARAMETER_IS, 1, MAX_NAME_CHARS)


def _header(place: Place) -> str | None:
    """Return a header's name as the wire has it: in lower case."""
    name = place.matching(_HEADER_IS, TOKEN)
    if name is not None and name.lower() in SECRET_HEADERS:
        place.expected("a header that holds no secret")
        return None
    return None if name is None else name.lower()


def _clause(place: Place) -> Clause:
    said = place.members("an object with if and variant", ("if", "variant"))
    if said is None:
        return Clause(place)
    variant = read_reference(said["variant"])
    found = _conditions(said["if"])
    if variant is None or found is None:
        return Clause(said["variant"], variant)
    conditions, needs_all = found
    return Clause(said["variant"], variant, Rule(variant, conditions, needs_all))


def _conditions(place: Place) -> tuple[tuple[Condition, ...], bool] | None:
    said = place.members("an object with all or any", ("all", "any"))
    if said is None:
        return None
    given = [name for name, one in said.items() if one.value is not MISSING]
    if len(given) != 1:
        place.say(f"expected one of all and any, got {'both' if given else 'neither'}")
        return None
    what = f"a list of 1 to {MAX_CONDITIONS} conditions"
    places = said[given[0]].items(what, 1, MAX_CONDITIONS)
    read = [_condition(one) for one in places or (None,)]
    found = tuple(one for one in read if one is not None)
    return (found, given[0] == "all") if len(found) == len(read) else None


def _condition(place: Place | None) -> Condition | None:
    if place is None:
        return None
    owner = place.value if isinstance(place.value, dict) else {}
    asked = [name for name in _ASKS if name in owner]
    is_share = asked == ["percentage"]
    known = ("percentage",) if is_share else (*asked, "equals") if asked else (*_ASKS, "equals")
    said = place.members(f"an object with {listed(_ASKS)}", known)
    if said is None:
        return None
    if len(asked) != 1:
        place.say(f"expected one of {listed(_ASKS)}, got {' and '.join(asked) or 'none of them'}")
        return None
    if is_share:
        share_bp = read_share(said["percentage"])
        return None if share_bp is None else Share(share_bp)
    where: Where = "header" if asked == ["header"] else "parameter"
    name = _named(where, said[where])
    # An empty text would never be met: to routing, an empty header is none.
    what = f"a text of 1 to {MAX_TEXT_CHARS} characters, none a control character"
    text = said["equals"].text(what, 1, MAX_TEXT_CHARS)
    return None if name is None or text is None else Matches(where, name, text)
