"""Whatever schemathesis makes of an OpenAPI document, the server answers as the document says.

Two documents: ours, with each model's own schema, and the Open Inference Protocol's
operations, told here as the protocol tells them, without a word of our own.
"""

import json
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.types import Signature, TensorSpec
from gateway.wire.keys import Keys
from gateway.wire.openapi import document
from gateway.wire.paths import Routes
from tests.server import WATCHDOG_S, Server, serving
from tests.wire.splitting import LEVER, TICKET, told
from tests.zoo import write_few, write_zoo

pytestmark = pytest.mark.slow

EXAMPLES = 8
INFER = "/v2/models/echo/infer"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
STRING, FLAG = {"type": "string"}, {"type": "boolean"}


@pytest.fixture(scope="module", params=[1, 2], ids=["one replica", "two replicas"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("openapi")
    models = write_zoo(folder / "models")
    with serving(models, folder, replicas=request.param, dialects__default_model="echo") as running:
        yield running


def signatures(server: Server) -> dict[str, Signature]:
    """Learn every model's signature as a client does."""
    found: dict[str, Signature] = {}
    with server.client() as client:
        for name in client.get("/v2/models").json()["models"]:
            about = client.get(f"/v2/models/{name}").json()
            rows = client.get(f"/v2/models/{name}/config").json()["max_batch_size"]
            inputs, outputs = (
                tuple(TensorSpec(t["name"], t["datatype"], tuple(t["shape"])) for t in about[side])
                for side in ("inputs", "outputs")
            )
            found[name] = Signature(inputs, outputs, rows)
    return found


def protocol() -> dict[str, Any]:
    """The operations of the Open Inference Protocol V2 over HTTP, as it describes them."""
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": STRING,
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": STRING,
            "parameters": {"type": "object"},
            "data": {},
        },
    }
    asked = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": STRING,
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "items": tensor},
            "outputs": {
                "type": "array",
                "items": {"type": "object", "required": ["name"], "properties": {"name": STRING}},
            },
        },
    }
    answer = {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": STRING,
            "model_version": STRING,
            "id": STRING,
            "outputs": {"type": "array", "items": tensor},
        },
    }
    about = {
        "type": "object",
        "required": ["name", "platform", "inputs", "outputs"],
        "properties": {"name": STRING, "versions": {"type": "array", "items": STRING}},
    }
    error = {"type": "object", "required": ["error"], "properties": {"error": STRING}}
    model = "/v2/models/{model_name}"
    version = model + "/versions/{model_version}"
    server = {"name": STRING, "version": STRING, "extensions": {"type": "array", "items": STRING}}
    paths = {
        "/v2": _get({"type": "object", "required": list(server), "properties": server}, error),
        "/v2/health/live": _get({"type": "object", "properties": {"live": FLAG}}, error),
        "/v2/health/ready": _get({"type": "object", "properties": {"ready": FLAG}}, error),
    }
    for path in (model, version):
        ready = {"type": "object", "properties": {"name": STRING, "ready": FLAG}}
        paths[path] = _get(about, error)
        paths[path + "/ready"] = _get(ready, error)
        paths[path + "/infer"] = {
            "post": {
                "requestBody": {"content": {"application/json": {"schema": asked}}},
                "responses": _responses(answer, error),
            }
        }
    for path, item in paths.items():
        names = [name for name in ("model_name", "model_version") if "{" + name + "}" in path]
        item["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": STRING} for name in names
        ]
    return {"openapi": "3.0.3", "info": {"title": "OIP", "version": "2"}, "paths": paths}


def _get(answer: dict[str, Any], error: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"responses": _responses(answer, error)}}


def _responses(answer: dict[str, Any], error: dict[str, Any]) -> dict[str, Any]:
    described = {"200": answer, "4XX": error}
    return {
        status: {"description": status, "content": {"application/json": {"schema": schema}}}
        for status, schema in described.items()
    }


def check(server: Server, described: dict[str, Any], shown: dict[str, str] | None = None) -> int:
    """Ask every operation in ways that fit and ways that do not; return how many there are."""
    schema: Any = schemathesis.openapi.from_dict(described)
    operations = [one.ok() for one in schema.get_all_operations()]
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            ask(operation, mode, f"{server.scheme}://127.0.0.1:{server.port}", shown)
    return len(operations)


def ask(
    operation: Any, mode: GenerationMode, url: str, shown: dict[str, str] | None = None
) -> None:
    cases = operation.as_strategy(generation_mode=mode)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def one(case: Any) -> None:
        answer = case.call(base_url=url, timeout=WATCHDOG_S, headers=shown)
        case.validate_response(answer, checks=CHECKS)

    # of a path without names and body nothing can be wrong
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        one()


def test_our_own_document_holds(server: Server) -> None:
    routes = Routes("echo")
    assert check(server, document(signatures(server), routes)) > 30
    assert server.complaints() == ""


def test_our_own_document_holds_where_keys_are_asked_for(tmp_path: Path) -> None:
    keys = [told("predict", TICKET), told("operate", LEVER)]
    settings = {"auth__keys": json.dumps(keys), "dialects__default_model": "echo"}
    with serving(write_few(tmp_path / "models"), tmp_path, **settings) as server:
        found = document(signatures(server), Routes("echo"), keys=Keys(keys))
        paths = {path: found["paths"][path] for path in (INFER, "/invocations")}
        for key in (None, TICKET, LEVER):
            shown = {} if key is None else {"x-api-key": key.decode()}
            assert check(server, {**found, "paths": paths}, shown) == len(paths)
        assert server.complaints() == ""


def test_the_protocols_own_operations_hold(server: Server) -> None:
    assert check(server, protocol()) == 9
    assert server.complaints() == ""
