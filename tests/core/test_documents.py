"""The nouns of a routing document, and the JSON in which they are shown and kept."""

import orjson
import pytest
from hypothesis import given

from gateway.core.documents import (
    WHOLE_BP,
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
    usual,
)
from tests.core.drawn import documents

BARE = Document("digits", 1, (Variant("stable", "1", WHOLE_BP),), reason="First sight.")
FULL = Document(
    "digits",
    7,
    (Variant("stable", "1", 9971), Variant("canary", "2", 29)),
    (
        Shadow("dark", "3", 0.5),
        Shadow(
            "grey",
            "2",
            1.0,
            {
                "label": Comparison("label", atol=9.0),
                "score": Comparison("numeric", atol=0.5, rtol=0.25, k=9),
                "top": Comparison("top_k", k=3, rtol=9.0),
                "p": Comparison("distribution", atol=0.125, k=9),
            },
        ),
    ),
    (
        Rule("canary", (Matches("header", "x-tier", "beta"), Share(500)), needs_all=True),
        Rule("stable", (Matches("parameter", "tier", "1"),), needs_all=False),
    ),
    Sticky("parameter", "user", "spring"),
    "stable",
    "A canary.",
    "ann",
    "2026-01-01T00:00:00Z",
    (Piece(0, 10, "canary"), Piece(10, 1 << 32, "stable")),
    "7",
)


def test_a_bare_document_shows_all_of_its_members() -> None:
    assert shown(BARE) == {
        "model": "digits",
        "revision": 1,
        "variants": [{"name": "stable", "version": "1", "weight": 100}],
        "shadows": [],
        "rules": [],
        "sticky": None,
        "fallback": None,
        "reason": "First sight.",
        "changed_by": "",
        "changed_at": "",
    }


def test_a_full_document_shows_what_each_part_says() -> None:
    assert shown(FULL) == {
        "model": "digits",
        "revision": 7,
        "variants": [
            {"name": "stable", "version": "1", "weight": 99.71},
            {"name": "canary", "version": "2", "weight": 0.29},
        ],
        "shadows": [
            {"name": "dark", "version": "3", "sample_ratio": 0.5},
            {
                "name": "grey",
                "version": "2",
                "sample_ratio": 1.0,
                "compare": {
                    "label": {"kind": "label"},
                    "score": {"kind": "numeric", "atol": 0.5, "rtol": 0.25},
                    "top": {"kind": "top_k", "k": 3},
                    "p": {"kind": "distribution", "atol": 0.125},
                },
            },
        ],
        "rules": [
            {
                "if": {"all": [{"header": "x-tier", "equals": "beta"}, {"percentage": 5}]},
                "variant": "canary",
            },
            {"if": {"any": [{"parameter": "tier", "equals": "1"}]}, "variant": "stable"},
        ],
        "sticky": {"by": "parameter:user", "salt": "spring"},
        "fallback": "stable",
        "reason": "A canary.",
        "changed_by": "ann",
        "changed_at": "2026-01-01T00:00:00Z",
    }


def test_pieces_are_kept_and_never_shown() -> None:
    assert "pieces" not in shown(FULL)
    assert stored(FULL)["pieces"] == [[0, 10, "canary"], [10, 1 << 32, "stable"]]
    assert stored(FULL) == {**shown(FULL), "pieces": stored(FULL)["pieces"], "newest": "7"}


def test_the_newest_version_is_kept_and_never_shown() -> None:
    assert "newest" not in shown(FULL)
    assert stored(FULL)["newest"] == "7"


@given(documents())
def test_every_document_can_be_written_down(document: Document) -> None:
    assert orjson.loads(orjson.dumps(stored(document))) == stored(document)


@pytest.mark.parametrize(
    ("share_bp", "expected"), [(0, "0"), (1, "0.01"), (29, "0.29"), (1000, "10"), (10_000, "100")]
)
def test_a_share_is_shown_as_one_would_write_it(share_bp: int, expected: str) -> None:
    assert orjson.dumps(percent(share_bp)).decode() == expected


def test_each_version_is_named_once_in_the_order_of_the_document() -> None:
    assert FULL.versions() == ("1", "2", "3")


@pytest.mark.parametrize(
    ("fallback", "weights", "expected"),
    [
        ("stable", (1, 9999), "stable"),
        ("stable", (0, 10_000), "canary"),
        ("canary", (9000, 1000), "canary"),
        (None, (4000, 6000), "canary"),
        (None, (5000, 5000), "stable"),
    ],
)
def test_a_fallback_with_weight_stands_for_the_model_else_the_heaviest(
    fallback: str | None, weights: tuple[int, int], expected: str
) -> None:
    variants = (Variant("stable", "1", weights[0]), Variant("canary", "2", weights[1]))
    assert usual(Document("m", 1, variants, fallback=fallback)).name == expected
