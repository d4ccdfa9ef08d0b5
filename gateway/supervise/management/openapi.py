"""Openapi: the endpoints as an OpenAPI document.

Job    describe every row of the table, and nothing else.
Life   a pure function.

Source: OpenAPI Specification 3.1.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway import __version__
from gateway.supervise.management.bodies import schemas
from gateway.supervise.management.documents import document_schema
from gateway.supervise.management.guard import Role
from gateway.supervise.management.views import SCHEMAS

_NAME = re.compile(r"\{(\w+)\}")
_JSON = ("application/json",)
_REFUSALS = {
    "400": "The request cannot be understood.",
    "401": "No token, or one that is not known.",
    "403": "The caller's role is not enough, or the request came from another origin.",
    "404": "There is no such model or version.",
    "409": "The version cannot be loaded; nothing was changed.",
    "412": "Another revision is in force: `current` says which.",
    "413": "The body is too large.",
    "415": "The body is no JSON.",
    "428": "A change must name the revision that it changes, by If-Match.",
    "429": "Too many changes are under way or wait for their turn.",
    "503": "Nothing can be served, for the reason given.",
    "504": "It took too long.",
}


class Row(Protocol):
    """What is described of an endpoint."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def role(self) -> Role | None: ...
    @property
    def about(self) -> str: ...
    @property
    def content_types(self) -> Sequence[str]: ...
    @property
    def schema(self) -> str | None: ...
    @property
    def body(self) -> str: ...
    @property
    def query(self) -> Mapping[str, str]: ...
    @property
    def is_probe(self) -> bool: ...


def document(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the OpenAPI document of these endpoints."""
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "onnx-gateway management port",
            "version": __version__,
            "description": "What an operator sees and changes. Viewers read; operators change.",
        },
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, **schemas(), "RoutingDocument": document_schema()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {
                status: {"description": about, "content": _content(_JSON, "Error")}
                for status, about in _REFUSALS.items()
            },
        },
    }


def _operation(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": _operation_id(row),
        "summary": row.about,
        "responses": {
            "200": {"description": "Done", "content": _content(row.content_types, row.schema)},
            **{one: {"$ref": f"#/components/responses/{one}"} for one in _refusals(row)},
        },
        # An empty requirement says that there may be no token at all.
        "security": [{"token": []}, {}] if row.role is not None else [],
    }
    if row.role is not None:
        found["description"] = f"Role: {row.role.name.lower()}."
    names = _NAME.findall(row.path)
    if names:
        found["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    found.setdefault("parameters", []).extend(_parameters(row))
    if row.role is Role.OPERATOR:
        found["requestBody"] = {"required": True, "content": _content(_JSON, row.body)}
    return found


def _parameters(row: Row) -> list[dict[str, Any]]:
    """Return what an endpoint reads beside its path and its body."""
    text = {"schema": {"type": "string"}}
    found: list[dict[str, Any]] = [
        {"name": name, "in": "query", "description": about, **text}
        for name, about in row.query.items()
    ]
    if row.path.endswith(("/routes", "/rollback")) and row.role is Role.OPERATOR:
        about = "The ETag of the document that is changed."
        is_required = row.path.endswith("/routes")
        found.append(
            {
                "name": "If-Match",
                "in": "header",
                "required": is_required,
                "description": about,
                **text,
            }
        )
    return found


def _refusals(row: Row) -> list[str]:
    """Return the statuses of the refusals that an endpoint knows."""
    statuses = ["504"]
    if row.role is not None:
        statuses.append("401")
    if not row.is_probe:
        statuses.append("403")
    if _NAME.search(row.path):
        statuses.append("404")
    if row.path.endswith("/routes") and row.role is Role.OPERATOR:
        statuses += ["412", "428"]
    if row.path.endswith("/rollback"):
        statuses.append("412")
    if row.query:
        statuses.append("400")
    if row.role is Role.OPERATOR:
        statuses += ["400", "409", "413", "415", "429", "503"]
    if row.path == "/readyz":
        statuses.append("503")
    return sorted(statuses)


def _operation_id(row: Row) -> str:
    words = re.findall(r"\w+", row.path.replace("admin/v1", ""))
    return "_".join([row.method.lower(), *words]) if words else "get_status"


def _content(content_types: Sequence[str], name: str | None) -> dict[str, Any]:
    shape = {"type": "string"} if name is None else {"$ref": f"#/components/schemas/{name}"}
    return {one: {"schema": shape} for one in content_types}
