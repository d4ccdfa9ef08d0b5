"""Routing: which variant of a model answers a call.

Job    one decision a call: rules, then the unit's bucket, then the weights.
Life   a split is made of a document once; `choose` is a pure function of it.
Never  rolls dice: whoever has no unit brings a draw. Never depends on how many models or
       variants there are: a decision is one hash and one bisection. Never looks through the
       headers twice, however many rules ask for some.

    explicit version, operator's pin      bypass all of this; see flow.py
    rules, in order                       the first whose conditions hold
    a unit (sticky)                       the bucket of its salted hash
    no unit                               a bucket drawn anew for each call

Theory of operation. A unit's bucket is the upper half of a 64-bit BLAKE2b, keyed by the
salt: whoever has the same salt has the same bucket, on every replica and after every
restart; another salt has nothing to do with it. A rule's percentage has a key of its own:
else the 5 % of a rule would be the 5 % of the canary. The key is what else the rule asks
for, and not its place or its percentage: so whom a rule took it keeps when it is raised, and
when rules come, go or change places around it. Of rules that ask for the same each has its
number. The buckets belong to variants by core/ranges.py.
"""

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.core.documents import WHOLE_BP, Condition, Document, Matches, Rule, Share
from gateway.core.ranges import BUCKETS, apportion

Reason = Literal["rule", "sticky", "weight"]
Pairs = Sequence[tuple[bytes, bytes]]  # headers, names in lower case
Asked = Mapping[bytes, bytes]  # of the headers, those that rules ask for
Parameters = Mapping[str, object]  # V2's, of the whole request
Draw = Callable[[], int]  # 32 random bits
Keyed = hashlib.blake2b  # what has heard its key, and nothing else yet
_HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class _Said:
    """A header or a parameter, as bytes: calls bring bytes."""

    header: bytes  # empty: a parameter
    parameter: str
    equals: bytes


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A percentage: so many buckets from 0 on, of a ring of its own."""

    keyed: Keyed
    stop: int


@dataclass(frozen=True, slots=True)
class _Rule:
    variant: int
    conditions: tuple[_Said | _Drawn, ...]
    needs_all: bool


@dataclass(frozen=True, slots=True)
class Split:
    """A document made ready to decide. Variants are numbers: places in the document.

    `only` is the variant that gets everything, where no call can get another one; None:
    it has to be decided. `reads_parameters`: the decision needs the body. `_asked` are the
    headers that rules ask for and, where there are any, the unit's.
    """

    variants: tuple[str, ...]
    only: int | None
    reads_parameters: bool
    _rules: tuple[_Rule, ...]
    _asked: frozenset[bytes]
    _where: str
    _name: bytes
    _keyed: Keyed | None  # None: not sticky
    _stops: tuple[int, ...]  # ascending; where the pieces end
    _owners: tuple[int, ...]  # of the pieces

    def choose(
        self, headers: Pairs, parameters: Parameters | None, draw: Draw
    ) -> tuple[int, Reason]:
        """Return the variant that answers, and why it does."""
        keyed = self._keyed
        if self._rules:
            asked, unit = self._read(headers, parameters)
            for rule in self._rules:
                if _holds(rule, asked, parameters, unit, draw):
                    return rule.variant, "rule"
        else:
            unit = None if keyed is None else self.unit(headers, parameters)
        if unit is None or keyed is None:
            return self._owners[bisect_right(self._stops, draw())], "weight"
        return self._owners[bisect_right(self._stops, bucket(keyed, unit))], "sticky"

    def drawn(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Return where the pieces end and whose they are, where a draw alone decides.

        None: rules or units come first, or nothing is to be decided.
        """
        if self.only is not None or self._rules or self._keyed is not None:
            return None
        return self._stops, self._owners

    def unit(self, headers: Pairs, parameters: Parameters | None) -> bytes | None:
        """Return by what the caller is known; None where it does not say."""
        if self._where == "header":
            return header(headers, self._name)
        value = None if parameters is None else parameters.get(self._name.decode())
        return None if value is None else _bytes(value) or None

    def _read(self, headers: Pairs, parameters: Parameters | None) -> tuple[Asked, bytes | None]:
        """Return what rules ask for, and the unit."""
        asked = _joined(headers, self._asked) if self._asked else {}
        if self._keyed is None:
            return asked, None
        if self._where == "header" and self._asked:
            return asked, asked.get(self._name)
        return asked, self.unit(headers, parameters)

    def hashed(self, headers: Pairs, parameters: Parameters | None) -> int | None:
        """Return the hash of a unit, which tells nobody who it is; None where there is none."""
        unit = None if self._keyed is None else self.unit(headers, parameters)
        return None if unit is None or self._keyed is None else hash_of(self._keyed, unit)


def split_of(document: Document) -> Split:
    """Return what decides by `document`."""
    places = {one.name: place for place, one in enumerate(document.variants)}
    pieces = document.pieces or apportion((), document.variants)
    ascending = sorted(pieces, key=lambda piece: piece.start)
    sticky = document.sticky
    owners = {places[piece.variant] for piece in pieces}
    only = owners.pop() if len(owners) == 1 and not document.rules else None
    return Split(
        tuple(places),
        only,
        only is None and _reads_parameters(document),
        _made(document, places),
        _asked(document),
        sticky.where if sticky else "",
        sticky.name.encode() if sticky else b"",
        None if sticky is None else keyed_by(sticky.salt.encode()),
        tuple(piece.stop for piece in ascending),
        tuple(places[piece.variant] for piece in ascending),
    )


def keyed_by(secret: bytes) -> Keyed:
    """Return what hashes under a secret of any length."""
    return Keyed(digest_size=_HASH_BYTES, key=hashlib.blake2b(secret, digest_size=32).digest())


def bucket(keyed: Keyed, unit: bytes) -> int:
    """Return a unit's bucket, below BUCKETS."""
    return hash_of(keyed, unit) >> 32


def hash_of(keyed: Keyed, unit: bytes) -> int:
    """Return a unit's 64-bit hash."""
    heard = keyed.copy()
    heard.update(unit)
    return int.from_bytes(heard.digest())


def header(pairs: Pairs, name: bytes) -> bytes | None:
    """Return a header's value, a repeated one's as one list; None where it is not there.

    An empty one says nothing. Source: RFC 9110, 5.3.
    """
    found = b""
    for one, value in pairs:
        if one == name and value:
            found = found + b", " + value if found else value
    return found or None


def _joined(pairs: Pairs, names: Collection[bytes]) -> Asked:
    """Return the values of these headers, each as `header` returns it."""
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in names and value:
            before = found.get(name)
            found[name] = value if before is None else before + b", " + value
    return found


def _made(document: Document, places: Mapping[str, int]) -> tuple[_Rule, ...]:
    salt = document.sticky.salt.encode() if document.sticky else b""
    asked: Counter[bytes] = Counter()
    made: list[_Rule] = []
    for rule in document.rules:
        kin = _kin(rule)
        number = asked[kin]
        asked[kin] += 1
        conditions = tuple(
            # No name and no text holds a control character, so that no two keys are alike.
            _prepared(one, b"%b\0%b\0%d\0%d" % (salt, kin, number, place))
            for place, one in enumerate(rule.conditions)
        )
        made.append(_Rule(places[rule.variant], conditions, rule.needs_all))
    return tuple(made)


def _prepared(condition: Condition, secret: bytes) -> _Said | _Drawn:
    if isinstance(condition, Share):
        # Rounded up, so that whoever asks for any gets some.
        return _Drawn(keyed_by(secret), -(-condition.share_bp * BUCKETS // WHOLE_BP))
    is_header = condition.where == "header"
    name = condition.name
    return _Said(name.encode() if is_header else b"", name, condition.equals.encode())


def _kin(rule: Rule) -> bytes:
    """Return what a rule asks for beside its percentages."""
    said = [one for one in rule.conditions if isinstance(one, Matches)]
    return "\0".join(f"{one.where}:{one.name}\0{one.equals}" for one in said).encode()


def _matches(document: Document) -> list[Matches]:
    conditions = [one for rule in document.rules for one in rule.conditions]
    return [one for one in conditions if isinstance(one, Matches)]


def _asked(document: Document) -> frozenset[bytes]:
    """Return the headers that rules ask for and, where there are any, the unit's."""
    asked = {one.name.encode() for one in _matches(document) if one.where == "header"}
    sticky = document.sticky
    if asked and sticky is not None and sticky.where == "header":
        asked.add(sticky.name.encode())
    return frozenset(asked)


def _reads_parameters(document: Document) -> bool:
    asked = [one.where for one in _matches(document)]
    if document.sticky is not None:
        asked.append(document.sticky.where)
    return "parameter" in asked


def _holds(
    rule: _Rule, asked: Asked, parameters: Parameters | None, unit: bytes | None, draw: Draw
) -> bool:
    for one in rule.conditions:
        if isinstance(one, _Drawn):
            holds = (draw() if unit is None else bucket(one.keyed, unit)) < one.stop
        else:
            holds = _is_said(one, asked, parameters)
        if holds is not rule.needs_all:
            return holds  # of all, one that does not hold; of any, one that does
    return rule.needs_all


def _is_said(said: _Said, asked: Asked, parameters: Parameters | None) -> bool:
    if said.header:
        return asked.get(said.header) == said.equals
    value = None if parameters is None else parameters.get(said.parameter)
    return value is not None and _bytes(value) == said.equals


def _bytes(value: object) -> bytes:
    """Return a parameter as JSON writes it, a text without its quotes."""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(value).encode(errors="surrogatepass")  # whatever came: routing cannot refuse
