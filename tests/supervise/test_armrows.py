"""Rows of variants and shadows: each revision and each digest has its own."""

import random

import pytest

from gateway.control.messages import Entry, Table
from gateway.core.documents import WHOLE_BP, Document, Shadow, Variant
from gateway.supervise.armrows import ArmRows
from gateway.supervise.ledger import LedgerFull


class Ledger:
    """Gives rows out in order, up to a bound, and remembers for whom."""

    def __init__(self, most: int = 1000) -> None:
        self.given: dict[int, tuple[str, str, str, str, int]] = {}
        self.shadows: list[int] = []
        self.most = most

    def assign(
        self, model: str, version: str, digest: str, arm: str, revision: int, is_shadow: bool
    ) -> int:
        if len(self.given) >= self.most:
            raise LedgerFull
        row = len(self.given) + 1
        self.given[row] = model, version, digest, arm, revision
        if is_shadow:
            self.shadows.append(row)
        return row


def document(revision: int, **versions: str) -> Document:
    """A document with these variants; `next` is a shadow."""
    shadows = tuple(
        Shadow(name, version, 1.0) for name, version in versions.items() if name == "next"
    )
    variants = [Variant(name, version, 0) for name, version in versions.items() if name != "next"]
    return Document("m", revision, (*variants, Variant("rest", "1", WHOLE_BP)), shadows)


def entry(revision: int, served: dict[str, str] | None = None, **versions: str) -> Entry:
    return Entry("1", served or {"1": "a", "2": "b"}, document=document(revision, **versions))


def table(revision: int, **models: Entry) -> Table:
    return Table(revision, models)


def rows(given: Table, model: str = "m") -> dict[str, int]:
    return dict(given.models[model].rows)


def test_every_variant_and_shadow_has_a_row_under_its_own_key() -> None:
    ledger = Ledger()
    given = ArmRows(ledger).given(table(1, m=entry(3, canary="2", next="2")))
    assert rows(given) == {"canary": 1, "rest": 2, "next": 3}
    assert ledger.given == {
        1: ("m", "2", "b", "canary", 3),
        2: ("m", "1", "a", "rest", 3),
        3: ("m", "2", "b", "next", 3),
    }
    assert ledger.shadows == [3]


def test_a_version_that_is_not_served_is_counted_without_a_digest() -> None:
    ledger = Ledger()
    ArmRows(ledger).given(table(1, m=entry(1, canary="7")))
    assert ledger.given[1] == ("m", "7", "", "canary", 1)


def test_a_model_without_a_document_has_no_rows() -> None:
    arms = ArmRows(Ledger())
    given = table(1, m=Entry("1", {"1": "a"}))
    assert arms.given(given) == given
    assert arms.left() == []


def test_what_has_not_changed_keeps_its_rows() -> None:
    arms = ArmRows(Ledger())
    same = entry(1, canary="2")
    before = arms.given(table(1, m=same))
    again = arms.given(table(2, m=same, n=Entry("1", {"1": "z"})))
    made_anew = arms.given(table(3, m=entry(1, {"1": "a", "2": "b", "3": "c"}, canary="2")))
    assert rows(before) == rows(again) == rows(made_anew)
    assert again.models["m"] is before.models["m"]
    assert arms.left() == []


def test_another_revision_has_other_rows_and_leaves_the_old_ones_once() -> None:
    arms = ArmRows(Ledger())
    arms.given(table(1, m=entry(1, canary="2")))
    given = arms.given(table(2, m=entry(2, canary="2")))
    assert rows(given) == {"canary": 3, "rest": 4}
    assert sorted(arms.left()) == [1, 2]
    assert arms.left() == []


def test_another_digest_has_another_row_for_its_own_variants_alone() -> None:
    arms = ArmRows(Ledger())
    arms.given(table(1, m=entry(1, canary="2")))
    given = arms.given(table(2, m=entry(1, {"1": "a", "2": "new"}, canary="2")))
    assert rows(given) == {"canary": 3, "rest": 2}
    assert arms.left() == [1]


def test_a_model_that_goes_leaves_its_rows() -> None:
    arms = ArmRows(Ledger())
    arms.given(table(1, m=entry(1, canary="2")))
    assert arms.given(table(2)).models == {}
    assert sorted(arms.left()) == [1, 2]


def test_where_no_row_is_to_be_had_the_others_have_theirs() -> None:
    given = ArmRows(Ledger(most=1)).given(table(1, m=entry(1, canary="2")))
    assert rows(given) == {"canary": 1}


def test_rows_that_were_short_are_said_once_a_model_and_given_when_there_are_some(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = Ledger(most=1)
    arms = ArmRows(ledger)
    short = entry(1, canary="2", next="2")
    for revision in (1, 2):
        assert rows(arms.given(table(revision, m=short))) == {"canary": 1}
    (told,) = caplog.messages
    assert told.startswith("'m': telemetry rows are short by 2")
    ledger.most = 1000
    given = arms.given(table(3, m=short))
    assert rows(given) == {"canary": 1, "rest": 2, "next": 3}
    assert arms.given(table(4, m=short)).models["m"] is given.models["m"]
    assert arms.left() == []
    ledger.most = 3
    arms.given(table(5, m=short, n=short))
    arms.given(table(6, m=short))
    assert len(caplog.messages) == 2


def test_a_row_is_in_the_table_or_was_left_and_never_both() -> None:
    dice, ledger = random.Random(7), Ledger()
    arms = ArmRows(ledger)
    left: list[int] = []
    revisions = {"m": 1, "n": 1}
    for step in range(300):
        name = dice.choice(["m", "n"])
        revisions[name] += dice.random() < 0.5
        digest = dice.choice("abc")
        models = {
            one: entry(revisions[one], {"1": digest}, canary=dice.choice("12"))
            for one in revisions
            if dice.random() < 0.8
        }
        named = [
            row
            for one in arms.given(table(step, **models)).models.values()
            for row in one.rows.values()
        ]
        left += arms.left()
        assert len(set(named)) == len(named)
        assert len(set(left)) == len(left)
        assert set(named) | set(left) == set(ledger.given)
        assert not set(named) & set(left)
