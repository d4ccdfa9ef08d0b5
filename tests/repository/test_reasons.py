"""Reasons are as long as somebody reads them, whatever they are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.repository.reasons import brief, few, reason, shortened

MOST_BYTES = 4096


@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_short_text_is_quoted_whole(length: int) -> None:
    assert brief("x" * length) == "x" * length


def test_a_long_text_is_quoted_from_its_beginning() -> None:
    assert brief(["x" * 200]) == "['" + "x" * 98 + "…"


def test_a_text_loses_its_middle_where_it_is_too_long() -> None:
    """A path stands at the beginning, what came at the end."""
    assert shortened("begin" + "x" * 100 + "end", 21) == "beginxxx … xxxxxend"
    assert shortened("short", 5) == "short"


def test_a_few_faults_are_all_told() -> None:
    assert reason(["one", "two"]) == "one; two"
    assert few(["one"]) == ("one",)
    assert reason([]) == ""


def test_of_many_faults_the_first_ten_are_told_and_the_others_counted() -> None:
    told = few([str(number) for number in range(1234)])
    assert told == (*map(str, range(10)), "and 1224 more")


def test_a_text_that_cannot_be_sent_is_written_otherwise() -> None:
    assert reason(["a\udcffb"]) == "a\\udcffb"


@given(st.lists(st.text(st.characters(codec=None), max_size=40), max_size=25), st.integers(1, 400))
def test_no_reason_is_longer_than_four_kibibytes(faults: list[str], times: int) -> None:
    assert len(reason([one * times for one in faults]).encode()) <= MOST_BYTES


@given(st.text(max_size=60), st.integers(16, 80))
def test_what_is_shortened_fits(text: str, most_bytes: int) -> None:
    assert len(shortened(text, most_bytes).encode()) <= most_bytes
