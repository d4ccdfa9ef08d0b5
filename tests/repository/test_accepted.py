"""The table of fields: whole, and the same as the grammar's."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.repository.accepted import FIELDS, standing
from gateway.repository.triton import message_class, read_text


def leaves(kind: Any, prefix: str = "") -> Iterator[str]:
    """Yield the path of every field of the grammar, as deep as the table goes."""
    for field in kind.fields:
        path = prefix + field.name
        if path in FIELDS or field.message_type is None:
            yield path
        else:
            yield from leaves(field.message_type, f"{path}.")


def test_every_field_of_the_grammar_has_its_standing_and_none_else_has() -> None:
    assert set(leaves(message_class().DESCRIPTOR)) == set(FIELDS)


def test_every_standing_has_a_reason() -> None:
    assert [field for field, (_, why) in FIELDS.items() if not why] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_batch_size: 1", [("served", "$.max_batch_size")]),
        ("input { optional: true }", [("refused", "$.input[0].optional")]),
        ("input { optional: false }", []),
        (
            "input { name: 'a' } input { reshape { } }",
            [("served", "$.input[0].name"), ("refused", "$.input[1].reshape")],
        ),
        ("optimization { graph { level: 1 } }", [("ignored", "$.optimization")]),
        ("model_transaction_policy { }", []),
        (
            "model_transaction_policy { decoupled: true }",
            [("refused", "$.model_transaction_policy.decoupled")],
        ),
        (
            "instance_group { gpus: [ 0 ] rate_limiter { } }",
            [
                ("ignored", "$.instance_group[0].gpus"),
                ("refused", "$.instance_group[0].rate_limiter"),
            ],
        ),
        ("dynamic_batching { }", []),
    ],
)
def test_what_is_set_is_told_with_its_standing(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(how, path) for how, path, _ in standing(read_text(text))] == expected
