"""Bodies: what a change may say."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.documents import WHOLE_BP, Document, Piece, Variant, stored
from gateway.core.proposals import read_proposal, read_stored
from gateway.core.ranges import BUCKETS
from gateway.errors import Malformed
from gateway.supervise.management.bodies import (
    MAX_REASON_CHARS,
    Reasoned,
    read_body,
    read_change,
    schemas,
)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", None),
        (b' {"reason": null} ', None),
        (b'{"reason": ""}', ""),
        ('{"reason": "größer"}'.encode(), "größer"),
        (b'{"reason": "%b"}' % (b"x" * MAX_REASON_CHARS), "x" * MAX_REASON_CHARS),
    ],
)
def test_a_change_may_say_why(body: bytes, reason: str | None) -> None:
    assert read_change(body).reason == reason


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"reason": 7}', "$.reason: "),
        (b'{"raeson": "x"}', "$.raeson: "),
        (b'{"reason": "x", "force": true}', "$.force: "),
        (b"7", "$: "),
        (b"{", "$: "),
        (b"[" * 100_000, "$: "),
        (b'{"%b": 1}' % (b"x" * 10_000), "$.xxx"),
    ],
)
def test_a_fault_is_named_by_its_path_in_few_words(body: bytes, path: str) -> None:
    with pytest.raises(Malformed) as refused:
        read_change(body)
    assert str(refused.value).startswith(path)
    assert len(str(refused.value)) < 400


def test_the_schema_knows_what_is_read() -> None:
    described = schemas()["Change"]
    assert described["additionalProperties"] is False
    assert set(described["properties"]) == {"reason"}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=4))
@example("a\x00b")
@example("two\nlines\tof it\r")
@example("\x1c")
def test_a_reason_is_taken_where_a_document_may_have_it_and_can_be_read_again(text: str) -> None:
    """Else one rollback would make a document that no later start can read."""
    variant = {"name": "stable", "version": "1", "weight": 100}
    proposed = read_proposal({"variants": [variant], "reason": text}, "m", {"1": None})
    try:
        reason = read_body(json.dumps({"reason": text}).encode(), Reasoned, "{}").reason
    except Malformed:
        assert not isinstance(proposed, Document)
        return
    assert isinstance(proposed, Document)
    assert proposed.reason == reason
    arm, piece = Variant("stable", "1", WHOLE_BP), Piece(0, BUCKETS, "stable")
    document = Document("m", 1, (arm,), reason=reason, pieces=(piece,))
    assert read_stored(stored(document)).reason == reason


def test_a_reason_that_is_no_line_of_text_is_named_in_few_words() -> None:
    with pytest.raises(Malformed) as refused:
        read_body(b'{"reason": "a\\u0000"}', Reasoned, '{"reason": "..."}')
    assert str(refused.value).startswith("$.reason: ")
    assert "no control characters" in str(refused.value)
