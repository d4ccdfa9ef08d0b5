"""Who answers where nobody has said so: a restart promotes nothing, a taken version is followed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.documents import WHOLE_BP, Document, Matches, Rule, Shadow, Variant
from gateway.core.pinning import AUTOMATIC, Stock, first, newest_of, pinned, promoted

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
    found = promoted(document, ("1", "2", "3"))
    assert versions(found) == [("stable", "3", WHOLE_BP), ("canary", "2", 0)]
    assert found is not None
    kept = (document.rules, document.shadows, document.sticky)  # the operator wrote them
    assert (found.rules, found.shadows, found.sticky) == kept


@pytest.mark.parametrize(
    ("ready", "newest"), [((), "1"), (("1",), ""), (("1", "2"), "2"), (("1", "2"), "3")]
)
def test_a_version_that_was_named_or_is_older_is_promoted_no_second_time(
    ready: tuple[str, ...], newest: str
) -> None:
    assert promoted(replace(SEEN, newest=newest), ready) is None


def test_what_is_newer_than_all_that_was_named_is_promoted() -> None:
    document = replace(SEEN, newest="9")
    assert versions(promoted(document, ("1", "10"))) == [("stable", "10", WHOLE_BP)]


def test_the_newest_version_is_of_all_that_any_revision_has_named() -> None:
    canary = replace(SEEN, variants=(*SEEN.variants, Variant("canary", "3", 0)))
    assert newest_of(SEEN, None) == "1"
    assert newest_of(SEEN, canary) == "3"
    assert newest_of(replace(SEEN, newest="10"), canary) == "10"
    assert newest_of(SEEN, replace(canary, newest="12")) == "12"


names = st.sets(st.sampled_from([str(number) for number in range(12)]), max_size=6)


@given(names, names, names)
def test_whatever_is_pinned_is_ready(ready: set[str], known: set[str], out: set[str]) -> None:
    for document in (None, SEEN, WRITTEN):
        found = pinned("m", document, Stock(sorted(ready), ready | known, out & known))
        assert found is None or found.variants[0].version in ready
