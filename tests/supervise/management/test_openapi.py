"""Openapi: the document says what the routes are, and is what the specification asks for."""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from gateway.supervise.management.guard import Guard, Role
from gateway.supervise.management.reception import Ids, Reception
from gateway.supervise.management.routes import Answers, Endpoint, Settings
from gateway.supervise.management.views import SCHEMAS
from tests.clock import play
from tests.supervise.management.offices import FakeOffice
from tests.wire.asgi import ask
from tests.wire.harness import Answer

ANSWERS = Answers(FakeOffice(), Settings())
DOCUMENT: dict[str, Any] = json.loads(orjson.dumps(ANSWERS.document))
HOST = [(b"host", b"localhost")]
OPERATIONS = [
    (path, method, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]


def references(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for name, value in content.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(content, list):
        for value in content:
            yield from references(value)


def found(reference: str) -> Any:
    content: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        content = content[part]
    return content


def test_the_document_has_the_routes_and_no_others() -> None:
    rows = {(row.path, row.method.lower()) for row in ANSWERS.endpoints}
    assert {(path, method) for path, method, _ in OPERATIONS} == rows
    assert len(rows) == len(ANSWERS.endpoints)


def test_the_document_is_served_as_it_is() -> None:
    app = Reception(ANSWERS, Guard((), ()), Ids())
    answer = play(lambda: ask(app, "GET", b"/openapi.json", headers=HOST))
    assert answer.json == DOCUMENT


def test_the_document_has_what_every_document_must_have() -> None:
    assert re.fullmatch(r"3\.1\.\d+", DOCUMENT["openapi"])
    assert {"title", "version"} <= set(DOCUMENT["info"])
    assert set(DOCUMENT) <= {"openapi", "info", "paths", "components"}
    assert all(path.startswith("/") for path in DOCUMENT["paths"])


def test_every_reference_leads_somewhere() -> None:
    assert [one for one in references(DOCUMENT) if not one.startswith("#/components/")] == []
    for reference in references(DOCUMENT):
        assert isinstance(found(reference), dict), reference


def test_every_shape_that_is_described_is_used() -> None:
    used = {one.rpartition("/")[2] for one in references(DOCUMENT)}
    assert set(DOCUMENT["components"]["schemas"]) - used == set()


@pytest.mark.parametrize(
    ("path", "method", "operation"), OPERATIONS, ids=[f"{m} {p}" for p, m, _ in OPERATIONS]
)
def test_every_operation_is_whole(path: str, method: str, operation: dict[str, Any]) -> None:
    assert {"operationId", "summary", "responses", "security"} <= set(operation)
    named = [one["name"] for one in operation.get("parameters", ())]
    assert named == re.findall(r"\{(\w+)\}", path)
    assert all(one["in"] == "path" and one["required"] for one in operation.get("parameters", ()))
    assert all(re.fullmatch(r"[1-5]\d\d", status) for status in operation["responses"])
    assert ("requestBody" in operation) == (method == "post")
    for answer in operation["responses"].values():
        assert "description" in (found(answer["$ref"]) if "$ref" in answer else answer)


def test_operations_have_different_names() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"\w+", name) for name in names)


def test_the_document_says_who_needs_a_token() -> None:
    for row in ANSWERS.endpoints:
        operation = DOCUMENT["paths"][row.path][row.method.lower()]
        assert bool(operation["security"]) == (row.role is not None)
        assert ("401" in operation["responses"]) == (row.role is not None)
        assert ("403" in operation["responses"]) == (row.path not in ("/livez", "/readyz"))
        if row.role is Role.OPERATOR:
            assert "operator" in operation["description"]
    (scheme,) = DOCUMENT["components"]["securitySchemes"].values()
    assert scheme == {"type": "http", "scheme": "bearer"}


def test_the_document_says_which_formats_an_answer_may_have() -> None:
    formats = {
        row.path: list(
            DOCUMENT["paths"][row.path][row.method.lower()]["responses"]["200"]["content"]
        )
        for row in ANSWERS.endpoints
    }
    assert formats.pop("/metrics") == ["text/plain", "application/openmetrics-text"]
    assert formats.pop("/") == formats.pop("/docs") == ["text/html; charset=utf-8"]
    assert set(map(tuple, formats.values())) == {("application/json",)}


def test_the_document_says_that_changes_may_be_too_many() -> None:
    for row in ANSWERS.endpoints:
        operation = DOCUMENT["paths"][row.path][row.method.lower()]
        assert ("429" in operation["responses"]) == (row.role is Role.OPERATOR)
    assert "changes" in DOCUMENT["components"]["responses"]["429"]["description"]


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Judge a value by the few words of JSON Schema that the document uses."""
    if "$ref" in schema:
        return fits(value, found(schema["$ref"]))
    if "enum" in schema:
        return value in schema["enum"]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    python = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    if value is None or not any(isinstance(value, python[one]) for one in kinds if one != "null"):
        return value is None and "null" in kinds
    if isinstance(value, dict):
        members = schema.get("properties")
        return members is None or (
            set(value) == set(members) and all(fits(value[name], members[name]) for name in members)
        )
    return not isinstance(value, list) or all(fits(one, schema["items"]) for one in value)


def asked(app: Reception, row: Endpoint) -> Answer:
    target = row.path.format(model="digits", version="2").encode()
    body = b"{}" if row.method == "POST" else b""
    fields = [*HOST, (b"content-type", b"application/json")]
    return play(lambda: ask(app, row.method, target, body, fields))


def test_answers_have_the_shapes_that_the_document_promises() -> None:
    app = Reception(ANSWERS, Guard((), ()), Ids())
    seen = set()
    for row in ANSWERS.endpoints:
        if row.schema is None:
            continue
        seen.add(row.schema)
        answer = asked(app, row)
        assert fits(answer.json, DOCUMENT["components"]["schemas"][row.schema]), row.path
    assert seen == set(SCHEMAS) - {"Error", "Version", "Replica"}
    refused = play(lambda: ask(app, "GET", b"/nowhere", headers=HOST))
    assert fits(refused.json, DOCUMENT["components"]["schemas"]["Error"])


def test_the_data_port_s_document_has_the_models_that_answer_by_default() -> None:
    app = Reception(Answers(FakeOffice(), Settings()), Guard((), ()), Ids())
    told = play(lambda: ask(app, "GET", b"/data-port.json", headers=HOST)).json
    assert "/v2/models/digits/infer" in told["paths"]
    assert told["components"]["schemas"]["Request.digits"]["examples"]
    assert "/invocations" not in told["paths"]
