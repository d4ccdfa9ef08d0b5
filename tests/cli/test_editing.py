"""Routing documents as they are typed and read by hand."""

from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.caller import Declined
from gateway.cli.editing import Share, resplit, shadow_of, share, shares_of, table


def document(**changes: Any) -> dict[str, Any]:
    variants = [
        {"name": "stable", "version": "1", "weight": 95},
        {"name": "canary", "version": "2", "weight": 5},
    ]
    whole = {"model": "m", "revision": 7, "variants": variants, "shadows": [], "rules": []}
    said = {"reason": "try 2", "changed_by": "ann", "changed_at": "2026-01-01"}
    return {**whole, "sticky": None, "fallback": "stable", **said, **changes}


def split(*wanted: Share) -> list[tuple[str, str, float]]:
    edited = document()
    resplit(edited, wanted)
    return [(one["name"], one["version"], one["weight"]) for one in edited["variants"]]


# shares


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stable=95", ("stable", None, 95.0)),
        ("canary:2=5", ("canary", "2", 5.0)),
        ("canary:v1.0-rc_1=0.01", ("canary", "v1.0-rc_1", 0.01)),
        ("stable=0", ("stable", None, 0.0)),
        ("stable=-1", ("stable", None, -1.0)),  # the gateway says what it may be
    ],
)
def test_a_share_names_a_variant_its_version_and_its_weight(text: str, expected: Share) -> None:
    assert share(text) == expected


@pytest.mark.parametrize(
    "text", ["", "stable", "stable=", "=95", "stable:=95", ":2=5", "stable=x", "a=nan", "a=inf"]
)
def test_what_is_no_share_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected name=number"):
        share(text)


@given(st.text(max_size=12))
def test_any_text_is_a_share_or_wrong_usage(text: str) -> None:
    try:
        name, version, _ = share(text)
    except typer.BadParameter:
        return
    assert name
    assert version != ""


def test_a_shadow_says_its_version() -> None:
    assert shadow_of("next:3=0.5") == {"name": "next", "version": "3", "sample_ratio": 0.5}
    with pytest.raises(typer.BadParameter, match="expected name:version=ratio"):
        shadow_of("next=0.5")


# splits


def test_a_split_gives_weights_and_keeps_versions() -> None:
    assert split(("canary", None, 20.0), ("stable", None, 80.0)) == [
        ("stable", "1", 80.0),
        ("canary", "2", 20.0),
    ]


def test_a_variant_that_is_not_named_stays_with_weight_0() -> None:
    assert split(("stable", None, 100.0)) == [("stable", "1", 100.0), ("canary", "2", 0)]


def test_a_split_may_bring_a_variant_and_a_version() -> None:
    assert split(("stable", "3", 90.0), ("next", "4", 10.0)) == [
        ("stable", "3", 90.0),
        ("canary", "2", 0),
        ("next", "4", 10.0),
    ]


def test_a_new_variant_without_a_version_is_refused_with_how_to_say_it() -> None:
    with pytest.raises(Declined, match="say next:VERSION=10"):
        split(("stable", None, 90.0), ("next", None, 10.0))


# how it is read


def test_a_document_is_read_as_a_table() -> None:
    shadows = [{"name": "next", "version": "3", "sample_ratio": 0.25}]
    assert table(document(shadows=shadows)) == [
        "m revision 7, by ann at 2026-01-01: try 2",
        "shared by each call, 0 rules, fallback stable",
        "KIND     NAME    VERSION  SHARE",
        "variant  stable  1        95 %",
        "variant  canary  2        5 %",
        "shadow   next    3        25 %",
    ]


def test_a_sticky_document_says_by_what() -> None:
    sticky = {"by": "header:x-user-id", "salt": "s"}
    line = table(document(sticky=sticky, fallback=None, rules=[{}]))[1]
    assert line == "shared by header:x-user-id, 1 rules, fallback none"


def test_what_somebody_wrote_stays_on_its_line() -> None:
    lines = table(document(reason="two\nlines \x1b[31m"))
    assert lines[0].endswith(": two\\nlines \\x1b[31m")
    assert len(lines) == 5


def test_shares_are_read_as_they_are_typed() -> None:
    assert shares_of(document()) == "stable:1=95 canary:2=5"
    typed = [share(text) for text in shares_of(document()).split()]
    assert typed == [("stable", "1", 95.0), ("canary", "2", 5.0)]
