"""Names of models and versions, and the order of versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.versions import canonical_version, is_model_name, is_version, version_key

versions = st.from_regex(r"[A-Za-z0-9._-]{1,8}", fullmatch=True)

ASCENDING = ("1.9", "1.10", "beta", "v1", "v2", "v10", "1", "2", "10")


@pytest.mark.parametrize("name", ["digits", "a", "Кот", "a b", "...", "%2e", "x" * 256, ".hidden"])
def test_almost_any_text_names_a_model(name: str) -> None:
    assert is_model_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "stats", "a/b", "a\\b", "a\0", "a\n", "\x7f", "\x85", "\udcff", "x" * 257],
)
def test_what_could_be_a_path_or_spoil_a_log_names_no_model(name: str) -> None:
    assert not is_model_name(name)


@pytest.mark.parametrize("text", ["1", "01", "v1.2-rc_3", "...", "x" * 64])
def test_a_version_is_letters_digits_dots_dashes_and_underscores(text: str) -> None:
    assert is_version(text)


@pytest.mark.parametrize("text", ["", ".", "..", "1/2", "1 ", "1\n", "é", "١", "x" * 65])
def test_anything_else_is_no_version(text: str) -> None:
    assert not is_version(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", "1"), ("01", "1"), ("000", "0"), ("0", "0"), ("10", "10"), ("v01", "v01"), ("١", "١")],
)
def test_digits_alone_are_an_integer(text: str, expected: str) -> None:
    assert canonical_version(text) == expected


@given(st.permutations(ASCENDING))
def test_versions_ascend_naturally_and_integers_are_the_newest(shuffled: list[str]) -> None:
    assert tuple(sorted(shuffled, key=version_key)) == ASCENDING


def test_a_version_that_goes_on_is_newer_than_its_beginning() -> None:
    assert version_key("v1") < version_key("v1.1")


@given(st.integers(0, 10**40), st.integers(0, 10**40))
def test_integers_are_ordered_by_value_however_long(one: int, other: int) -> None:
    assert (version_key(str(one)) < version_key(f"00{other}")) == (one < other)


@given(versions, versions)
def test_keys_are_equal_exactly_when_the_versions_are(one: str, other: str) -> None:
    is_same = canonical_version(one) == canonical_version(other)
    assert (version_key(one) == version_key(other)) == is_same


@given(versions, versions)
def test_any_two_versions_can_be_ordered(one: str, other: str) -> None:
    keys = version_key(one), version_key(other)
    assert (keys[0] < keys[1]) + (keys[0] == keys[1]) + (keys[0] > keys[1]) == 1


@given(versions)
def test_the_canonical_text_is_its_own(text: str) -> None:
    assert canonical_version(canonical_version(text)) == canonical_version(text)
