"""Which variant answers: rules, then the unit's bucket, then the weights."""

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import overload

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.chances import binomial
from gateway.core.documents import (
    WHOLE_BP,
    Condition,
    Document,
    Matches,
    Piece,
    Rule,
    Share,
    Sticky,
    Variant,
)
from gateway.core.ranges import BUCKETS, apportion, sizes
from gateway.core.routing import Pairs, Parameters, bucket, header, keyed_by, split_of
from tests.core.chances import chi_square
from tests.core.drawn import arms, documents

USERS = [b"user-%d" % at for at in range(100_000)]
BY_USER = Sticky("header", "x-user", "spring")
NOBODY: Pairs = ()


def unasked() -> int:
    """A draw that nobody may ask for."""
    raise AssertionError("drawn without need")


def constant(draw: int) -> Callable[[], int]:
    return lambda: draw


def a_document(
    *weights_bp: int, sticky: Sticky | None = None, rules: Sequence[Rule] = (), salt: str = ""
) -> Document:
    """Return a document whose variants are a, b, c and so on."""
    if salt:
        sticky = Sticky("header", "x-user", salt)
    return Document("m", 1, arms(weights_bp), rules=tuple(rules), sticky=sticky)


def a_rule(variant: str, *conditions: Condition, needs_all: bool = True) -> Rule:
    return Rule(variant, conditions, needs_all)


def chosen(
    document: Document,
    headers: Pairs = NOBODY,
    parameters: Parameters | None = None,
    draw: Callable[[], int] = unasked,
) -> tuple[str, str]:
    split = split_of(document)
    variant, reason = split.choose(headers, parameters, draw)
    return split.variants[variant], reason


def of_users(document: Document, users: Sequence[bytes] = USERS) -> list[int]:
    """Return the variant of each user, as a number."""
    split = split_of(document)
    return [split.choose(((b"x-user", user),), None, unasked)[0] for user in users]


def is_chance(count: int, draws: int, share: float) -> bool:
    low, high = binomial(draws, share, 0.999)
    return low <= count <= high


# --- weights


@pytest.mark.slow
def test_a_million_draws_are_shared_by_weight() -> None:
    dice = random.Random(11)
    split = split_of(a_document(9000, 949, 50, 1, 0))
    counts = Counter(
        split.choose(NOBODY, None, lambda: dice.getrandbits(32))[0] for _ in range(10**6)
    )
    shares = (0.9, 0.0949, 0.005, 0.0001)
    assert [is_chance(counts[at], 10**6, share) for at, share in enumerate(shares)] == [True] * 4
    assert counts[4] == 0


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (0, "a"),
        (BUCKETS // 2 - 1, "a"),
        (BUCKETS // 2, "c"),
        (BUCKETS * 3 // 4 - 1, "c"),
        (BUCKETS * 3 // 4, "d"),
        (BUCKETS - 1, "d"),
    ],
)
def test_each_bucket_belongs_to_one_variant(draw: int, expected: str) -> None:
    document = a_document(5000, 0, 2500, 2500)
    assert chosen(document, draw=constant(draw)) == (expected, "weight")


@given(documents(), st.integers(0, BUCKETS - 1))
def test_any_document_decides_on_any_draw(document: Document, draw: int) -> None:
    variant, reason = chosen(document, draw=constant(draw))
    named = {rule.variant for rule in document.rules}
    weighted = {one.name for one in document.variants if one.weight_bp}
    assert variant in (named if reason == "rule" else weighted)


def test_pieces_decide_where_there_are_any() -> None:
    half = BUCKETS // 2
    pieces = (Piece(half, BUCKETS, "a"), Piece(0, half, "b"))
    document = replace(a_document(5000, 5000), pieces=pieces)
    assert [chosen(document, draw=constant(draw))[0] for draw in (0, half)] == ["b", "a"]


# --- who need not decide


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (a_document(10_000), 0),
        (a_document(0, 10_000), 1),
        (a_document(0, 10_000, sticky=Sticky("parameter", "user", "s")), 1),
        (a_document(9999, 1), None),
        (a_document(10_000, 0, rules=[a_rule("b", Share(0))]), None),
    ],
)
def test_where_one_gets_everything_nothing_is_decided(
    document: Document, expected: int | None
) -> None:
    assert split_of(document).only == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (a_document(5000, 5000), False),
        (a_document(5000, 5000, sticky=BY_USER), False),
        (a_document(5000, 5000, sticky=Sticky("parameter", "user", "s")), True),
        (a_document(10_000, sticky=Sticky("parameter", "user", "s")), False),
        (a_document(10_000, rules=[a_rule("a", Matches("header", "h", "x"))]), False),
        (a_document(10_000, rules=[a_rule("a", Matches("parameter", "p", "x"))]), True),
        (a_document(10_000, rules=[a_rule("a", Share(5))]), False),
    ],
)
def test_the_body_is_read_only_where_it_decides(document: Document, expected: bool) -> None:
    assert split_of(document).reads_parameters == expected


# --- units


@given(documents(), st.integers(0, BUCKETS - 1))
def test_where_a_draw_alone_decides_it_is_told_who_has_which(document: Document, draw: int) -> None:
    split = split_of(document)
    found = split.drawn()
    is_alone = split.only is None and not document.rules and document.sticky is None
    assert (found is not None) is is_alone
    if found is not None:
        stops, owners = found
        assert (owners[bisect_right(stops, draw)], "weight") == split.choose(
            NOBODY, None, constant(draw)
        )


def test_a_unit_stays_with_its_variant_and_nothing_is_drawn() -> None:
    document = a_document(5000, 5000, sticky=BY_USER)
    assert of_users(document, USERS[:1000]) == of_users(document, USERS[:1000])
    assert chosen(document, ((b"x-user", b"user-0"),))[1] == "sticky"


def test_a_bucket_is_the_same_on_every_machine_and_for_ever() -> None:
    """A change here moves every unit of every gateway."""
    keyed = keyed_by(b"spring")
    assert [bucket(keyed, unit) for unit in (b"", b"user-0", "Кот".encode())] == [
        753447060,
        1618493792,
        2595384406,
    ]


@pytest.mark.slow
def test_units_are_shared_by_weight() -> None:
    counts = Counter(of_users(a_document(9000, 900, 100, sticky=BY_USER)))
    shares = (0.9, 0.09, 0.01)
    assert [is_chance(counts[at], len(USERS), one) for at, one in enumerate(shares)] == [True] * 3


@pytest.mark.slow
@pytest.mark.parametrize("salt", ["spring", "autumn", "s" * 256])
def test_buckets_are_even(salt: str) -> None:
    keyed = keyed_by(salt.encode())
    counts = Counter(bucket(keyed, user) >> 22 for user in USERS)
    assert abs(chi_square([counts[at] for at in range(1024)])) < 3.3


@pytest.mark.slow
def test_two_salts_have_nothing_to_do_with_one_another() -> None:
    """A table of 16 by 16 cells is as even as chance makes it."""
    one, other = keyed_by(b"spring"), keyed_by(b"autumn")
    counts = Counter((bucket(one, user) >> 28, bucket(other, user) >> 28) for user in USERS)
    cells = [counts[row, column] for row in range(16) for column in range(16)]
    assert abs(chi_square(cells)) < 3.3


@pytest.mark.slow
def test_a_new_salt_deals_anew() -> None:
    before = of_users(a_document(9000, 1000, salt="spring"))
    after = of_users(a_document(9000, 1000, salt="autumn"))
    stayed = sum(1 for one, other in zip(before, after, strict=True) if one == other == 1)
    assert is_chance(stayed, len(USERS), 0.01)


RAMPED = replace(a_document(9500, 500, sticky=BY_USER), pieces=apportion((), arms([9500, 500])))
UNRELATED = [
    replace(RAMPED, revision=2, reason="Again.", fallback="a"),
    replace(RAMPED, rules=(a_rule("b", Matches("header", "x-tier", "beta")),)),
    replace(RAMPED, rules=(a_rule("b", Share(0)),)),
    replace(RAMPED, variants=(Variant("a", "9", 9500), Variant("b", "1", 500))),
    replace(RAMPED, variants=RAMPED.variants[::-1]),
    replace(RAMPED, variants=(*RAMPED.variants, Variant("c", "1", 0))),
]


@pytest.mark.slow
@pytest.mark.parametrize("changed", UNRELATED)
def test_no_unit_moves_when_something_else_changes(changed: Document) -> None:
    before = [RAMPED.variants[at].name for at in of_users(RAMPED)]
    after = [changed.variants[at].name for at in of_users(changed)]
    assert before == after


@pytest.mark.slow
def test_on_a_ramp_exactly_the_units_move_whose_buckets_do() -> None:
    raised = arms([9000, 1000])
    after = replace(RAMPED, variants=raised, pieces=apportion(RAMPED.pieces, raised))
    (gained,) = [one for one in after.pieces if one.variant == "b" and one not in RAMPED.pieces]
    keyed = keyed_by(b"spring")
    expected = [gained.start <= bucket(keyed, user) < gained.stop for user in USERS]
    before, now = of_users(RAMPED), of_users(after)
    assert [one != other for one, other in zip(before, now, strict=True)] == expected
    assert sizes(raised)["b"] - sizes(RAMPED.variants)["b"] == gained.stop - gained.start
    assert is_chance(sum(expected), len(USERS), 0.05)


@pytest.mark.slow
def test_a_unit_that_moved_moves_back_with_the_ramp() -> None:
    raised = arms([5000, 5000])
    there = apportion(RAMPED.pieces, raised)
    back = replace(RAMPED, pieces=apportion(there, RAMPED.variants))
    assert of_users(back) == of_users(RAMPED)


@pytest.mark.parametrize("headers", [NOBODY, ((b"x-user", b""),), ((b"x-other", b"user-0"),)])
def test_who_has_no_unit_draws(headers: Pairs) -> None:
    document = a_document(5000, 5000, sticky=BY_USER)
    assert chosen(document, headers, draw=constant(0)) == ("a", "weight")
    assert chosen(document, headers, draw=constant(BUCKETS - 1)) == ("b", "weight")


@pytest.mark.parametrize("parameters", [None, {}, {"other": "user-0"}, {"user": ""}])
def test_who_says_no_parameter_draws(parameters: Parameters | None) -> None:
    document = a_document(5000, 5000, sticky=Sticky("parameter", "user", "spring"))
    assert chosen(document, NOBODY, parameters, constant(0)) == ("a", "weight")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("user-0", b"user-0"),
        ("Кот", "Кот".encode()),
        ("\ud800", b"\xed\xa0\x80"),
        (7, b"7"),
        (0, b"0"),
        (-1.5, b"-1.5"),
        (True, b"true"),
        (False, b"false"),
    ],
)
def test_a_unit_is_the_parameter_as_json_writes_it(value: object, expected: bytes) -> None:
    split = split_of(a_document(5000, 5000, sticky=Sticky("parameter", "user", "spring")))
    assert split.unit(NOBODY, {"user": value}) == expected
    named = ((b"x-user", expected),)
    by_header = split_of(a_document(5000, 5000, salt="spring"))
    assert split.choose(NOBODY, {"user": value}, unasked) == by_header.choose(named, None, unasked)


# --- headers


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], None),
        ([(b"a", b"1")], b"1"),
        ([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], b"1, 3"),
        ([(b"a", b"")], None),
        ([(b"a", b""), (b"a", b"1"), (b"a", b"")], b"1"),
        ([(b"b", b"2")], None),
    ],
)
def test_a_repeated_header_is_one_list_and_an_empty_one_is_nothing(
    pairs: Pairs, expected: bytes | None
) -> None:
    assert header(pairs, b"a") == expected


# --- rules

BETA = Matches("header", "x-tier", "beta")
ADULT = Matches("parameter", "age", "18")


def test_the_first_rule_that_holds_decides_whatever_the_weights_say() -> None:
    rules = [a_rule("b", ADULT), a_rule("c", BETA), a_rule("b", BETA)]
    document = a_document(10_000, 0, 0, rules=rules)
    assert chosen(document, [(b"x-tier", b"beta")], {}) == ("c", "rule")
    assert chosen(document, [(b"x-tier", b"beta")], {"age": 18}) == ("b", "rule")
    assert chosen(document, [(b"x-tier", b"gold")], {}, constant(0)) == ("a", "weight")


@pytest.mark.parametrize(
    ("tier", "age", "needs_all", "expected"),
    [
        (b"beta", "18", True, "rule"),
        (b"beta", "17", True, "weight"),
        (b"gold", "18", True, "weight"),
        (b"beta", "17", False, "rule"),
        (b"gold", "18", False, "rule"),
        (b"gold", "17", False, "weight"),
    ],
)
def test_all_needs_every_condition_and_any_needs_one(
    tier: bytes, age: str, needs_all: bool, expected: str
) -> None:
    document = a_document(10_000, 0, rules=[a_rule("b", BETA, ADULT, needs_all=needs_all)])
    assert chosen(document, [(b"x-tier", tier)], {"age": age}, constant(0))[1] == expected


@pytest.mark.parametrize(
    ("value", "equals"),
    [("a", "a"), ("Кот", "Кот"), (18, "18"), (-1.5, "-1.5"), (True, "true"), (False, "false")],
)
def test_a_parameter_is_compared_as_json_writes_it(value: object, equals: str) -> None:
    document = a_document(10_000, 0, rules=[a_rule("b", Matches("parameter", "p", equals))])
    assert chosen(document, NOBODY, {"p": value}) == ("b", "rule")


@pytest.mark.parametrize("parameters", [None, {}, {"p": "True"}, {"p": 1}, {"p": "\ud800"}])
def test_what_is_not_said_or_said_otherwise_does_not_hold(parameters: Parameters | None) -> None:
    document = a_document(10_000, 0, rules=[a_rule("b", Matches("parameter", "p", "true"))])
    assert chosen(document, NOBODY, parameters, constant(0)) == ("a", "weight")


@pytest.mark.parametrize(
    "pairs", [[], [(b"x-tier", b"Beta")], [(b"x-tier", b"beta"), (b"x-tier", b"beta")]]
)
def test_a_header_is_compared_whole(pairs: Pairs) -> None:
    document = a_document(10_000, 0, rules=[a_rule("b", BETA)])
    assert chosen(document, pairs, None, constant(0)) == ("a", "weight")


def test_a_header_may_hold_any_text() -> None:
    document = a_document(10_000, 0, rules=[a_rule("b", Matches("header", "x-tier", "бета"))])
    assert chosen(document, [(b"x-tier", "бета".encode())]) == ("b", "rule")


# --- percentages


def test_a_percentage_without_a_unit_is_drawn_apart_from_the_split() -> None:
    """Two draws: the rule's, then the split's."""
    document = a_document(5000, 5000, 0, rules=[a_rule("c", Share(500))])
    edge = BUCKETS // 20 + 1  # the first that does not hold
    draws: Iterator[int] = iter([edge, 0, edge, BUCKETS - 1, edge - 1])
    found = [chosen(document, draw=lambda: next(draws)) for _ in range(3)]
    assert found == [("a", "weight"), ("b", "weight"), ("c", "rule")]


@pytest.mark.parametrize(("share_bp", "expected"), [(0, "a"), (WHOLE_BP, "b")])
@pytest.mark.parametrize("draw", [0, BUCKETS - 1])
def test_none_is_nobody_and_all_is_everybody(share_bp: int, expected: str, draw: int) -> None:
    document = a_document(10_000, 0, rules=[a_rule("b", Share(share_bp))])
    assert chosen(document, draw=constant(draw))[0] == expected


@pytest.mark.slow
def test_a_percentage_of_units_is_that_and_has_nothing_to_do_with_the_split() -> None:
    rules = [a_rule("c", Share(1000))]
    plain = of_users(a_document(9000, 1000, 0, sticky=BY_USER))
    ruled = of_users(a_document(9000, 1000, 0, sticky=BY_USER, rules=rules))
    counts = Counter(zip(plain, ruled, strict=True))
    assert set(counts) == {(0, 0), (0, 2), (1, 1), (1, 2)}
    assert is_chance(counts[0, 2], len(USERS), 0.09)
    assert is_chance(counts[1, 2], len(USERS), 0.01)


def holders(*rules: Rule, variant: int = 2) -> set[int]:
    """Return which of ten thousand users the rules give to a variant."""
    document = a_document(10_000, 0, 0, sticky=BY_USER, rules=rules)
    found = of_users(document, USERS[:10_000])
    return {at for at, one in enumerate(found) if one == variant}


def test_a_percentage_that_is_raised_keeps_whom_it_had() -> None:
    assert holders(a_rule("c", Share(500))) < holders(a_rule("c", Share(1000)))


@pytest.mark.parametrize(
    "others",
    [
        [a_rule("b", BETA)],
        [a_rule("b", BETA, Share(500))],
        [a_rule("b", BETA), a_rule("b", ADULT)],
    ],
)
def test_a_percentage_keeps_whom_it_had_when_rules_come_before_it(others: list[Rule]) -> None:
    tenth = a_rule("c", Share(1000))
    assert holders(*others, tenth) == holders(tenth)


def test_rules_that_ask_for_the_same_have_nothing_to_do_with_one_another() -> None:
    half = a_rule("c", Share(5000))
    assert is_chance(len(holders(half)), 10_000, 0.5)
    assert is_chance(len(holders(half, half)), 10_000, 0.75)


def test_percentages_of_one_rule_have_nothing_to_do_with_one_another() -> None:
    assert is_chance(len(holders(a_rule("c", Share(5000), Share(5000)))), 10_000, 0.25)


def test_percentages_of_different_rules_have_nothing_to_do_with_one_another() -> None:
    tier = a_rule("c", BETA, Share(5000), needs_all=False)
    assert is_chance(len(holders(tier, a_rule("c", Share(5000)))), 10_000, 0.75)


def test_another_salt_gives_a_percentage_to_others() -> None:
    rule = a_rule("b", Share(1000))
    found = [
        of_users(a_document(10_000, 0, salt=salt, rules=[rule]), USERS[:10_000])
        for salt in ("spring", "autumn")
    ]
    both = sum(one & other for one, other in zip(*found, strict=True))
    assert is_chance(both, 10_000, 0.01)


# --- the ring


@given(documents(), st.integers(0, BUCKETS - 1))
def test_a_bucket_belongs_to_whom_the_pieces_give_it(document: Document, at: int) -> None:
    document = replace(document, rules=(), sticky=None)
    pieces = sorted(
        document.pieces or apportion((), document.variants), key=lambda piece: piece.start
    )
    owner = pieces[bisect_right([piece.stop for piece in pieces], at)].variant
    assert chosen(document, draw=constant(at)) == (owner, "weight")


class Counted(Sequence[tuple[bytes, bytes]]):
    """Headers that know how often somebody looked at one of them."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.looks = 0

    def __len__(self) -> int:
        return len(self.pairs)

    @overload
    def __getitem__(self, at: int) -> tuple[bytes, bytes]: ...
    @overload
    def __getitem__(self, at: slice) -> Pairs: ...
    def __getitem__(self, at: int | slice) -> tuple[bytes, bytes] | Pairs:
        return self.pairs[at]

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for pair in self.pairs:
            self.looks += 1
            yield pair


@pytest.mark.parametrize("sticky", [None, BY_USER, Sticky("parameter", "user", "spring")])
@pytest.mark.parametrize("rules", [0, 1, 100])
def test_headers_are_looked_through_once_however_many_rules_ask_for_them(
    rules: int, sticky: Sticky | None
) -> None:
    asked = [a_rule("b", Matches("header", f"x-{at}", "1"), Share(1)) for at in range(rules)]
    split = split_of(a_document(9000, 1000, rules=tuple(asked), sticky=sticky))
    headers = Counted([(b"accept", b"*/*"), (b"x-0", b"2"), (b"x-user", b"u"), (b"x-99", b"2")])
    split.choose(headers, {"user": "u"}, constant(0))
    assert headers.looks <= len(headers)


def test_rules_and_the_unit_may_ask_for_the_same_header() -> None:
    rule = a_rule("b", Matches("header", "x-user", "ann, bob"))
    split = split_of(a_document(10_000, 0, rules=(rule,), sticky=BY_USER))
    twice = [(b"x-user", b"ann"), (b"x-user", b""), (b"x-user", b"bob")]
    assert split.choose(twice, None, unasked) == (1, "rule")
    assert split.choose([(b"x-user", b"ann")], None, unasked) == (0, "sticky")
    assert split.choose([(b"x-user", b"")], None, constant(0)) == (0, "weight")


@given(documents())
def test_a_rule_makes_no_unit_another(document: Document) -> None:
    """Whoever it does not take has the bucket that it had."""
    never = Rule(document.variants[0].name, (Matches("header", "x-never", "1"),), needs_all=True)
    if document.sticky is None or document.sticky.where != "header":
        document = replace(document, sticky=BY_USER)
    assert document.sticky is not None
    pairs = [(b"accept", b"*/*"), (document.sticky.name.encode(), b"ann")]
    before = split_of(replace(document, rules=())).choose(pairs, None, unasked)
    assert split_of(replace(document, rules=(never,))).choose(pairs, None, unasked) == before
