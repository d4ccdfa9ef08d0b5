import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.supervise.documents.names import (
    MOST_NAME_BYTES,
    file_name,
    folder_name,
    revision_of,
)

MODELS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=256)


@given(MODELS, MODELS)
@example("x" * 256, "x" * 255 + "y")
@example("x" * 223 + "=", "x" * 223 + "%3D")
@example("é" * 256, "é" * 255)
def test_no_two_models_share_a_folder(one: str, other: str) -> None:
    assert (folder_name(one) == folder_name(other)) == (one == other)


@given(MODELS)
@example(".")
@example("..")
@example("𝔪" * 256)
def test_a_folder_is_one_visible_component_of_a_path(model: str) -> None:
    name = folder_name(model)
    assert name.isascii()
    assert 0 < len(name) <= MOST_NAME_BYTES
    assert "/" not in name
    assert not name.startswith(".")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("digits", "digits"),
        ("Fraud_v2-b.1~", "Fraud_v2-b.1~"),
        ("a b%", "a%20b%25"),
        ("..", "%2E."),
        ("ä", "%C3%A4"),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_folder_can_be_recognised(model: str, expected: str) -> None:
    assert folder_name(model) == expected


@given(st.integers(1, 10**15), st.integers(1, 10**15))
def test_a_file_says_which_revision_it_is(one: int, other: int) -> None:
    assert revision_of(file_name(one)) == one
    if max(one, other) < 10**10:
        assert (file_name(one) < file_name(other)) == (one < other)


@pytest.mark.parametrize(
    "name", ["1.json", "0000000001.JSON", "0000000001.json~", ".new-0", "-000000001.json", ""]
)
def test_anything_else_is_no_revision(name: str) -> None:
    assert revision_of(name) is None
