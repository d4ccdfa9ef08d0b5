"""Openapi: the document says what the routes are, and is what the specification asks for."""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from jsonschema_rs import Draft202012Validator

from gateway.supervise.management.endpoints import Endpoint
from gateway.supervise.management.guard import Guard, Role
from gateway.supervise.management.reception import Ids, Reception
from gateway.supervise.management.routes import Answers, Settings
from gateway.supervise.management.views import SCHEMAS
from tests.clock import play
from tests.supervise.management.offices import ROUTES, TOLD, FakeOffice, shadowed
from tests.supervise.management.requests import body_of, fields_of, target_of
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
    parameters = operation.get("parameters", ())
    named = [(one["name"], one["required"]) for one in parameters if one["in"] == "path"]
    assert named == [(name, True) for name in re.findall(r"\{(\w+)\}", path)]
    assert all(re.fullmatch(r"[1-5]\d\d", status) for status in operation["responses"])
    assert ("requestBody" in operation) == (method != "get")
    for answer in operation["responses"].values():
        assert "description" in (found(answer["$ref"]) if "$ref" in answer else answer)


def test_what_is_read_beside_a_path_and_a_body_is_said() -> None:
    beside = {
        (path, method, one["name"], one["in"], one.get("required", False))
        for path, method, operation in OPERATIONS
        for one in operation.get("parameters", ())
        if one["in"] != "path"
    }
    routes = "/admin/v1/models/{model}/routes"
    assert beside == {
        ("/admin/v1/audit", "get", "limit", "query", False),
        ("/admin/v1/audit", "get", "model", "query", False),
        (routes, "put", "If-Match", "header", True),
        (routes, "delete", "If-Match", "header", True),
        (routes + "/rollback", "post", "If-Match", "header", False),
    }


def test_a_change_of_a_document_says_which_refusals_it_knows() -> None:
    operations = DOCUMENT["paths"]["/admin/v1/models/{model}/routes"]
    order = {"401", "403", "404", "428", "412", "400", "409"}
    for method in ("put", "delete"):
        assert order <= set(operations[method]["responses"])
    assert not {"428", "412", "409"} & set(operations["get"]["responses"])


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
        (row.path, row.method): list(
            DOCUMENT["paths"][row.path][row.method.lower()]["responses"]["200"]["content"]
        )
        for row in ANSWERS.endpoints
    }
    metrics, html = ["text/plain", "application/openmetrics-text"], ["text/html; charset=utf-8"]
    assert formats.pop(("/metrics", "GET")) == metrics
    assert formats.pop(("/", "GET")) == formats.pop(("/docs", "GET")) == html
    assert set(map(tuple, formats.values())) == {("application/json",)}


def test_the_document_says_that_changes_may_be_too_many() -> None:
    for row in ANSWERS.endpoints:
        operation = DOCUMENT["paths"][row.path][row.method.lower()]
        assert ("429" in operation["responses"]) == (row.role is Role.OPERATOR)
    assert "changes" in DOCUMENT["components"]["responses"]["429"]["description"]


def misfits(value: Any, name: str) -> list[str]:
    """Return what of a value is not as a schema of the document says."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


def asked(app: Reception, row: Endpoint) -> Answer:
    fields = {"content-type": "application/json"} | fields_of(row)
    said = [(name.replace("_", "-").encode(), text.encode()) for name, text in fields.items()]
    return play(lambda: ask(app, row.method, target_of(row), body_of(row), [*HOST, *said]))


def test_answers_have_the_shapes_that_the_document_promises() -> None:
    seen = set()
    for row in ANSWERS.endpoints:
        if row.schema is None:
            continue
        seen.add(row.schema)
        office = shadowed()
        office.told = TOLD
        app = Reception(Answers(office, Settings()), Guard((), ()), Ids())
        answer = asked(app, row)
        assert answer.status == 200, row
        assert misfits(answer.json, row.schema) == [], row
    parts = {"Version", "Replica", "Shadow", "Disagreement", "AuditEntry", "Fault", "Breaker"}
    assert seen == {*SCHEMAS, "RoutingDocument"} - parts - {"Error"}


def test_refusals_have_the_shape_that_the_document_promises() -> None:
    app = Reception(Answers(FakeOffice(), Settings()), Guard((), ()), Ids())

    def refused(method: str, target: bytes, if_match: bytes = b"*") -> dict[str, Any]:
        fields = [*HOST, (b"content-type", b"application/json"), (b"if-match", if_match)]
        answer = play(lambda: ask(app, method, target, b"{}", fields))
        told: dict[str, Any] = answer.json
        assert misfits(told, "Error") == []
        return told

    usual = {"error", "code", "request_id"}
    assert set(refused("GET", b"/nowhere")) == usual
    assert set(refused("PUT", ROUTES, b'"1"')) == usual | {"current"}
    assert set(refused("PUT", ROUTES)) == usual | {"faults"}


def test_the_data_port_s_document_has_the_models_that_answer_by_default() -> None:
    app = Reception(Answers(FakeOffice(), Settings()), Guard((), ()), Ids())
    told = play(lambda: ask(app, "GET", b"/data-port.json", headers=HOST)).json
    assert "/v2/models/digits/infer" in told["paths"]
    assert told["components"]["schemas"]["Request.digits"]["examples"]
    assert "/invocations" not in told["paths"]
