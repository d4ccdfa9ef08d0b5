"""What an operator may propose, what is refused and where, and what was stored."""

import time
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.arms import read_share
from gateway.core.documents import (
    Comparison,
    Document,
    Matches,
    Piece,
    Rule,
    Shadow,
    Share,
    Sticky,
    Variant,
    percent,
    shown,
    stored,
)
from gateway.core.proposals import MAX_FAULTS, Corrupt, read_proposal, read_stored
from gateway.core.ranges import BUCKETS, apportion
from gateway.core.reading import Fault, Place
from tests.core.drawn import documents
from tests.core.proposed import (
    ACCEPTED,
    CANARY,
    REFUSED,
    RULE,
    STABLE,
    VERSIONS,
    arm,
    asked,
    but,
    compared,
    dark,
    pair,
)

Json = Any


def read(raw: object) -> Document:
    found = read_proposal(raw, "digits", VERSIONS)
    assert isinstance(found, Document), found
    return found


def faults(raw: object) -> tuple[Fault, ...]:
    found = read_proposal(raw, "digits", VERSIONS)
    assert not isinstance(found, Document)
    return found


def sentence(raw: object) -> str:
    """Return the one thing that is wrong."""
    ((_, what),) = faults(raw)
    return what


# --- what is refused


@pytest.mark.parametrize(
    ("raw", "paths"), [row[1:3] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_every_fault_is_named_by_its_path_and_nothing_else_is(
    raw: object, paths: tuple[str, ...]
) -> None:
    assert sorted(path for path, _ in faults(raw)) == sorted(paths)


def test_the_table_is_long_enough_to_be_trusted() -> None:
    assert len(REFUSED) >= 60
    assert sum(len(paths) >= 3 for _, _, paths, _ in REFUSED) >= 5


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, "expected an object with variants and reason, got null"),
        (but(model="iris"), "expected 'digits', as in the path, got 'iris'"),
        (but(varaints=1), "unknown member; did you mean variants?"),
        (arm(weight=True), "expected a number from 0 to 100 in steps of 0.01, got true"),
        (arm(weight=4), "expected weights that add up to 100, got 99"),
        (arm(weight=4.99), "expected weights that add up to 100, got 99.99"),
        (arm(version="99"), "expected a version that is there: 7, 6, 5, 4, 3, 2, 1, got '99'"),
        (
            arm(name="direct"),
            "expected another name: calls with a version of their own have this one, got 'direct'",
        ),
        (
            arm(name="stable"),
            "expected a name of its own, got 'stable', as $.variants[0] has",
        ),
        (but(fallback="blue"), "expected a variant: stable, canary, got 'blue'"),
        (
            dark(version="3"),
            (
                "expected the inputs of version '1' ($.variants[0]), version '2' ($.variants[1]), "
                "got those of version '3': x FP32 [-1, 5]"
            ),
        ),
        (
            dark(compare={"score": {"kind": "label"}}),
            "expected an output of version '2': label, got 'score'",
        ),
        (
            pair("1", "3"),
            (
                "expected null, or a variant with the inputs and outputs of version '3' "
                "($.variants[1]), got 'stable' of version '1'"
            ),
        ),
        (compared(kind="same"), "expected label, numeric, top_k or distribution, got 'same'"),
        (
            asked({"header": "a", "parameter": "b", "equals": "c"}),
            "expected one of header, parameter or percentage, got header and parameter",
        ),
        (but(rules=[{**RULE, "if": {}}]), "expected one of all and any, got neither"),
        (
            asked({"header": "x-api-key", "equals": "c"}),
            "expected a header that holds no secret, got 'x-api-key'",
        ),
    ],
)
def test_a_fault_says_what_was_expected_and_what_came(raw: object, expected: str) -> None:
    assert sentence(raw) == expected


def test_where_there_is_no_version_none_is_offered() -> None:
    found = read_proposal(but(variants=[{**STABLE, "weight": 100}]), "digits", {})
    assert found == (
        ("$.variants[0].version", "expected a version that is there: there is none, got '1'"),
    )


def test_of_many_versions_the_newest_are_offered() -> None:
    many = {str(at): None for at in range(1, 100)}
    found = read_proposal(arm(version="1000"), "digits", many)
    assert isinstance(found, tuple)
    assert "99, 98, 97, 96, 95, 94, 93, 92, ..., got '1000'" in found[0][1]


# --- hostile ones


def nest(depth: int) -> object:
    nested: object = 1
    for _ in range(depth):
        nested = [nested]
    return nested


SURROGATE = "\ud800"
HOSTILE: list[tuple[str, object, int]] = [
    ("deep", but(sticky=nest(100_000), fallback=nest(100_000)), 2),
    ("deep where it is ignored", {**but(revision=nest(100_000)), "reason": 1}, 1),
    ("a number of many digits", arm(weight=10**5000), 1),
    ("a negative one", but(reason=-(10**5000)), 1),
    ("infinite", arm(weight=float("inf")), 1),
    ("no number", arm(weight=float("nan")), 1),
    ("a tolerance that is none", compared(kind="numeric", atol=float("nan")), 1),
    ("half a character as name", arm(name=SURROGATE), 1),
    ("as version", arm(version=SURROGATE), 1),
    ("as reason", but(reason=SURROGATE), 1),
    ("as model", but(model=SURROGATE), 1),
    ("as text", asked({"header": "a", "equals": SURROGATE}), 1),
    ("as parameter", asked({"parameter": SURROGATE, "equals": "a"}), 1),
    ("as salt", but(sticky={"by": "parameter:" + SURROGATE, "salt": SURROGATE}), 2),
    ("as member", but(**{SURROGATE: 1}), 1),
    ("as output", dark(compare={SURROGATE: {"kind": "label"}}), 1),
    ("a long name", arm(name="x" * 10**6), 1),
    ("a long member", but(**{"x" * 10**6: 1}), 1),
    ("a hundred thousand variants", but(variants=[STABLE] * 10**5), 1),
    ("a hundred thousand members", but(**{f"m{at}": 1 for at in range(10**5)}), 17),
    ("a hundred thousand outputs", dark(compare={f"m{at}": 1 for at in range(10**5)}), 1),
    ("not from JSON", but(reason=b"bytes"), 1),
]


@pytest.mark.parametrize(
    ("raw", "count"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE]
)
def test_a_hostile_document_is_refused_quickly_and_briefly(raw: object, count: int) -> None:
    began = time.perf_counter()
    found = faults(raw)
    assert time.perf_counter() - began < 1
    assert len(found) == count
    assert len(orjson.dumps(found)) < 5_000


def test_of_a_flood_of_faults_the_first_are_told_and_the_others_counted() -> None:
    flood = {f"m{at}": at for at in range(17)}
    conditions = [flood] * 16
    raw = but(rules=[{"if": {"any": conditions}, "variant": "stable"}] * 100)
    began = time.perf_counter()
    found = faults(raw)
    assert time.perf_counter() - began < 1
    assert len(found) == MAX_FAULTS + 1
    assert found[-1] == ("$", "27800 more faults")


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def bent(raw: Json, path: list[int], value: object) -> Json:
    """Return `raw` with what lies somewhere in it replaced by `value`."""
    if not path or not isinstance(raw, dict | list) or not raw:
        return value
    at = path[0] % len(raw)
    if isinstance(raw, list):
        return [bent(one, path[1:], value) if i == at else one for i, one in enumerate(raw)]
    return {
        name: bent(one, path[1:], value) if i == at else one
        for i, (name, one) in enumerate(raw.items())
    }


@given(
    st.sampled_from([raw for _, raw in ACCEPTED]), st.lists(st.integers(0, 9), max_size=5), NESTED
)
def test_whatever_is_bent_reads_or_is_refused_and_can_be_told(
    raw: Json, path: list[int], value: object
) -> None:
    found = read_proposal(bent(raw, path, value), "digits", VERSIONS)
    if isinstance(found, Document):
        assert found.versions()
        orjson.dumps(stored(found))
    else:
        assert found
        orjson.dumps(found)


# --- what is accepted


@pytest.mark.parametrize("raw", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_a_document_that_is_right_is_read(raw: object) -> None:
    found = read(raw)
    assert (found.model, found.revision, found.pieces) == ("digits", 0, ())
    assert (found.changed_by, found.changed_at) == ("", "")
    assert read(shown(found)) == found


def test_every_member_is_read() -> None:
    raw = {
        "model": "digits",
        "variants": [{**STABLE, "version": "01"}, CANARY],
        "shadows": [
            {
                "name": "dark",
                "version": "2",
                "sample_ratio": 0.5,
                "compare": {"label": {"kind": "numeric", "atol": 0.5}},
            }
        ],
        "rules": [
            {
                "if": {"any": [{"header": "X-Tier", "equals": "Beta"}, {"percentage": 0.29}]},
                "variant": "canary",
            },
            {"if": {"all": [{"parameter": "Tier", "equals": "1"}]}, "variant": "stable"},
        ],
        "sticky": {"by": "header:X-User", "salt": "spring"},
        "fallback": "canary",
        "reason": "Why not?",
        "revision": 7,
        "changed_by": "eve",
    }
    assert read(raw) == Document(
        "digits",
        0,
        (Variant("stable", "1", 9500), Variant("canary", "2", 500)),
        (Shadow("dark", "2", 0.5, {"label": Comparison("numeric", atol=0.5)}),),
        (
            Rule("canary", (Matches("header", "x-tier", "Beta"), Share(29)), needs_all=False),
            Rule("stable", (Matches("parameter", "Tier", "1"),), needs_all=True),
        ),
        Sticky("header", "x-user", "spring"),
        "canary",
        "Why not?",
    )


def test_a_shadow_sees_everything_unless_it_says_less() -> None:
    assert [one.sample_ratio for one in read(dark()).shadows] == [1.0]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (but(), "stable"),
        (but(fallback=None), None),
        (but(fallback="canary"), "canary"),
        (but(variants=[{**STABLE, "name": "a"}, CANARY]), None),
    ],
)
def test_the_stable_variant_is_the_fallback_unless_somebody_says_otherwise(
    raw: object, expected: str | None
) -> None:
    assert read(raw).fallback == expected


def test_every_hundredth_of_a_per_cent_is_read_as_it_is_written() -> None:
    lost = [
        share_bp
        for share_bp in range(10_001)
        if read_share(Place(orjson.loads(orjson.dumps(percent(share_bp))), "$", [])) != share_bp
    ]
    assert lost == []


# --- what was stored


@given(documents())
def test_what_is_stored_is_read_again(document: Document) -> None:
    assert read_stored(orjson.loads(orjson.dumps(stored(document)))) == document


@given(documents())
def test_what_is_shown_is_all_but_the_pieces(document: Document) -> None:
    assert read_stored(orjson.loads(orjson.dumps(shown(document)))) == replace(document, pieces=())


STORED = stored(
    replace(
        read(but()), revision=3, changed_by="ann", changed_at="2026-01-01T00:00:00Z",
        pieces=apportion((), read(but()).variants),
    )
)  # fmt: skip
HALF = BUCKETS // 2


@pytest.mark.parametrize(
    ("raw", "paths"),
    [
        (None, ["$"]),
        ({**STORED, "model": "a/b"}, ["$.model"]),
        ({**STORED, "model": None}, ["$.model"]),
        ({**STORED, "revision": -1}, ["$.revision"]),
        ({**STORED, "revision": True}, ["$.revision"]),
        ({**STORED, "changed_by": 1, "changed_at": None}, ["$.changed_by", "$.changed_at"]),
        ({**STORED, "variants": []}, ["$.variants", "$.pieces[0]", "$.pieces[1]"]),
        ({**STORED, "fallback": "nobody"}, ["$.fallback"]),
        ({**STORED, "unheard": 1}, ["$.unheard"]),
        ({**STORED, "pieces": {}}, ["$.pieces"]),
        ({**STORED, "newest": 3}, ["$.newest"]),
        ({**STORED, "pieces": [[0, BUCKETS]]}, ["$.pieces[0]"]),
        ({**STORED, "pieces": [[0, BUCKETS, "nobody"]]}, ["$.pieces[0]"]),
        ({**STORED, "pieces": [[0, BUCKETS + 1, "stable"]]}, ["$.pieces[0]"]),
        ({**STORED, "pieces": [[1, BUCKETS, "stable"]]}, ["$.pieces"]),
        ({**STORED, "pieces": [[0, HALF, "stable"]]}, ["$.pieces"]),
        ({**STORED, "pieces": [[0, HALF, "stable"], [HALF, HALF, "canary"]]}, ["$.pieces[1]"]),
        (
            {**STORED, "pieces": [[0, HALF + 1, "stable"], [HALF, BUCKETS, "canary"]]},
            ["$.pieces"],
        ),
    ],
)
def test_what_is_no_document_is_corrupt_and_says_where(raw: object, paths: list[str]) -> None:
    with pytest.raises(Corrupt) as caught:
        read_stored(raw)
    assert [path for path, _ in caught.value.faults] == paths
    assert str(caught.value).startswith(f"{paths[0]}: ")


def test_a_version_that_is_gone_is_still_read() -> None:
    raw = {**STORED, "variants": [{**STABLE, "version": "gone"}, CANARY]}
    assert read_stored(raw).versions() == ("gone", "2")


def test_pieces_come_back_in_the_order_in_which_they_were_got() -> None:
    pieces = (Piece(HALF, BUCKETS, "stable"), Piece(0, HALF, "stable"))
    raw = {**STORED, "pieces": [[one.start, one.stop, one.variant] for one in pieces]}
    assert read_stored(raw).pieces == pieces
