import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.supervise.documents.comparing import Difference, compare, revision_in
from tests.supervise.documents.papers import a_document

TABLES = st.dictionaries(st.sampled_from("abc"), st.integers(1, 3))


@given(TABLES, TABLES)
def test_the_highest_revision_wins_whoever_has_it(
    ours: dict[str, int], theirs: dict[str, int]
) -> None:
    known = {model: a_document(model, revision) for model, revision in ours.items()}
    said = {model.encode(): b"%d" % revision for model, revision in theirs.items()}
    difference = compare(known, said)
    fetched = ours | dict(difference.fetch)
    given_back = theirs | {one.model: one.revision for one in difference.give_back}
    highest = {
        model: max(ours.get(model, 0), theirs.get(model, 0)) for model in ours.keys() | theirs
    }
    assert fetched == given_back == highest
    assert difference.faults == ()


def test_who_agrees_has_nothing_to_do() -> None:
    assert compare({"m": a_document("m", 2)}, {b"m": b"2"}) == Difference((), (), ())


def test_a_garbled_table_is_no_news_and_is_told() -> None:
    ours = {"m": a_document("m", 2)}
    difference = compare(ours, {b"m": b"banana", b"\xff": b"1", b"n": b"1"})
    assert difference.fetch == (("n", 1),)
    assert difference.give_back == (a_document("m", 2),)
    assert difference.faults == (
        "the revision of 'm' is no number: b'banana'",
        r"a model's name is no text: b'\xff'",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"1", 1),
        (b"999999999999999", 999_999_999_999_999),
        (b"1000000000000000", None),
        (b"", None),
        (b"0", None),
        (b"-1", None),
        (b"01", None),
        (b"1.5", None),
        (b"1e3", None),
        (b"nan", None),
        ("٣".encode(), None),
    ],
)
def test_a_revision_is_a_whole_number_from_one(text: bytes, expected: int | None) -> None:
    assert revision_in(text) == expected
