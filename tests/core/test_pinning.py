"""Who answers where nobody has said so: a restart promotes nothing, a taken version is followed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.documents import WHOLE_BP, Document, Matches, Rule, Shadow, Variant
from gateway.core.pinning import AUTOMATIC, Stock, first, pinned, promoted

SEEN = replace(first("m", "1", "first sight"), revision=1, changed_by=AUTOMATIC)
WRITTEN = replace(SEEN, revision=2, changed_by="ann")


def stock(*ready: str, known: tuple[str, ...] = (), out: tuple[str, ...] = ()) -> Stock:
    return Stock(ready, (*ready, *known), out)


def versions(document: Document | None) -> list[tuple[str, str, int]] | None:
    if document is None:
        return None
    return [(one.name, one.version, one.weight_bp) for one in document.variants]


def test_a_first_document_gives_everything_to_one_version_that_is_its_own_fallback() -> None:
    assert first("m", "7", "why") == Document(
        "m", 0, (Variant("stable", "7", WHOLE_BP),), fallback="stable", reason="why"
    )


@pytest.mark.parametrize(
    ("ready", "expected"),
    [(("1",), "1"), (("9", "10"), "10"), (("b", "a"), "b"), (("zebra", "1"), "1")],
)
def test_the_first_sight_pins_the_highest_version(ready: tuple[str, ...], expected: str) -> None:
    assert versions(pinned("m", None, stock(*ready))) == [("stable", expected, WHOLE_BP)]


def test_what_has_no_version_at_ready_state_is_not_pinned() -> None:
    assert pinned("m", None, stock(known=("1",))) is None
    assert pinned("m", SEEN, stock(known=("2",))) is None


def test_a_restart_with_more_versions_promotes_none() -> None:
    assert pinned("m", SEEN, stock("1", "2", "3")) is None


def test_an_automatic_document_stays_with_a_version_that_is_broken() -> None:
    assert pinned("m", SEEN, stock("2", known=("1",))) is None


@pytest.mark.parametrize("known", [("1",), ()])
def test_an_automatic_document_follows_the_operator_who_takes_its_version_out(
    known: tuple[str, ...],
) -> None:
    found = pinned("m", SEEN, stock("2", "3", known=known, out=("1",)))
    assert versions(found) == [("stable", "3", WHOLE_BP)]
    assert found is not None
    assert found.reason == "version 1 was taken out"


def test_a_document_that_a_person_wrote_is_never_touched() -> None:
    assert pinned("m", WRITTEN, stock("2", known=("1",), out=("1",))) is None
    assert pinned("m", WRITTEN, stock("2")) is None


def test_a_version_that_nobody_has_named_gets_every_call() -> None:
    document = Document(
        "m",
        4,
        (Variant("stable", "1", 9000), Variant("canary", "2", 1000)),
        (Shadow("next", "2", 1.0),),
        (Rule("canary", (Matches("header", "x-tier", "beta"),), needs_all=True),),
        fallback="stable",
    )
    found = promoted(document, ("1", "2", "3"), {"1", "2"})
    assert versions(found) == [("stable", "3", WHOLE_BP), ("canary", "2", 0)]
    assert found is not None
    assert found.rules == ()
    assert found.shadows == document.shadows


@pytest.mark.parametrize(
    ("ready", "seen"),
    [((), {"1"}), (("1",), {"1"}), (("1", "2"), {"1", "2"}), (("1", "2"), {"1", "3"})],
)
def test_a_version_that_was_seen_or_is_older_is_promoted_no_second_time(
    ready: tuple[str, ...], seen: set[str]
) -> None:
    assert promoted(SEEN, ready, seen) is None


def test_whatever_is_higher_than_nothing_is_promoted() -> None:
    assert versions(promoted(SEEN, ("2",), set())) == [("stable", "2", WHOLE_BP)]


names = st.sets(st.sampled_from([str(number) for number in range(12)]), max_size=6)


@given(names, names, names)
def test_whatever_is_pinned_is_ready(ready: set[str], known: set[str], out: set[str]) -> None:
    for document in (None, SEEN, WRITTEN):
        found = pinned("m", document, Stock(sorted(ready), ready | known, out & known))
        assert found is None or found.variants[0].version in ready
