"""The schema in /docs says what the reader reads."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import orjson
import pytest
from hypothesis import given

from gateway.core.documents import Document, shown
from gateway.supervise.management.documents import document_schema
from tests.core.drawn import documents
from tests.core.proposed import ACCEPTED, REFUSED

SCHEMA = document_schema()
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a schema."""
    if isinstance(schema, dict):
        yield schema
        for one in schema.values():
            yield from parts(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from parts(one)


def test_the_schema_is_one_and_can_be_written_down() -> None:
    assert jsonschema_rs.meta.is_valid(SCHEMA)
    assert json.loads(orjson.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("raw", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_what_the_reader_reads_the_schema_allows(raw: object) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(raw)] == []


@pytest.mark.parametrize(
    ("raw", "is_seen"), [(row[1], row[3]) for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_the_reader_refuses_of_one_part_alone_the_schema_refuses(
    raw: object, is_seen: bool
) -> None:
    """What parts say of one another, and of what is there, no schema can tell."""
    assert VALIDATOR.is_valid(raw) != is_seen


@given(documents())
def test_what_is_shown_is_as_the_schema_says(document: Document) -> None:
    raw = shown(document)
    raw["reason"] = raw["reason"].strip() or "Why not?"  # the system's own may be empty
    assert [error.message for error in VALIDATOR.iter_errors(raw)] == []


def test_no_object_takes_what_it_does_not_know() -> None:
    objects = [one for one in parts(SCHEMA) if one.get("type") == "object"]
    assert len(objects) > 10
    assert all("additionalProperties" in one for one in objects)


def test_what_is_ignored_may_be_anything() -> None:
    ignored = {name for name, one in SCHEMA["properties"].items() if one.get("readOnly")}
    assert ignored == {"revision", "changed_by", "changed_at", "pieces", "newest"}
