"""Openapi: the data port as an OpenAPI document, each model with its own shapes.

Job    say what may be asked of this server, and what comes back.
Life   a pure function of the signatures that are served.
Never  says more than is so: what a schema cannot express is left to the refusals.

A path with a name in it (`/v2/models/digits/infer`) has the schema of that model; the
path with `{model}` is every model's, and has what they have in common.
Source: OpenAPI Specification 3.1; Open Inference Protocol V2.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from gateway import __version__
from gateway.types import Signature
from gateway.wire.keys import NO_KEYS, OPERATE, PREDICT, Keys
from gateway.wire.paths import Routes
from gateway.wire.schemas import (
    Schema,
    answer_name,
    list_of,
    object_of,
    open_object,
    request_name,
    schemas_of,
)

_NAME = re.compile(r"\{(\w+)\}")
_TEXT: Schema = {"type": "string"}
_REFUSALS = {
    "400": "The request cannot be understood, or a tensor does not fit the model.",
    "401": "No key is shown, or none that is known.",
    "403": "The key is not for this, or nobody may do it here.",
    "404": "There is no such model or version.",
    "413": "The body is too large.",
    "415": "The body's coding, or its content type, is not read here.",
    "429": "Too much is waiting, or the key has had its share; see retry-after.",
    "500": "The model failed, or the server.",
    "501": "This is not served.",
    "503": "The model is not ready, or the server is shutting down; see retry-after.",
    "504": "The deadline passed.",
}
_KEYS: Schema = {
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
_PIN: Schema = {
    "name": "x-gateway-variant",
    "in": "header",
    "required": False,
    "description": f"Pins a variant; needs a key with the role {OPERATE}.",
    "schema": _TEXT,
}
_VERSION = "x-gateway-version"
_NAMING: dict[str, Schema] = {
    _VERSION: {"description": "The version that answered.", "schema": _TEXT},
    "x-gateway-variant": {
        "description": "The variant that it is, where the model has a routing document.",
        "schema": _TEXT,
    },
    "x-gateway-revision": {
        "description": "The revision of that document.",
        "schema": _TEXT,
    },
}
_CSV: Schema = {
    "text/csv": {"schema": _TEXT | {"description": "The first line names the columns."}}
}
_ASKED = ("400", "404", "413", "415", "429", "500", "503", "504")


def document(
    models: Mapping[str, Signature],
    routes: Routes,
    *,
    is_explicit: bool = False,
    keys: Keys = NO_KEYS,
) -> Schema:
    """Return the document; `models` are the versions that answer by default."""
    paths: dict[str, Schema] = {}
    for path, operations in (*_v2(models, keys), *_v1(keys), *_containers(routes, keys)):
        paths.setdefault(path, {}).update(operations)
    if is_explicit:
        paths |= dict(_control(keys))
    for path, operations in paths.items():
        names = _NAME.findall(path)
        if names:
            operations["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names
            ]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "onnx-gateway data port",
            "version": __version__,
            "description": "Predictions, by the Open Inference Protocol and other dialects.",
        },
        "paths": paths,
        "components": {
            "schemas": _shared() | schemas_of(models),
            "responses": {
                status: {"description": about, "content": _json("Error")}
                for status, about in _REFUSALS.items()
            },
            "headers": _NAMING,
            **({"securitySchemes": _KEYS} if keys.is_any else {}),
        },
    }


def _v2(models: Mapping[str, Signature], keys: Keys) -> Iterator[tuple[str, Schema]]:
    for path in ("/v2/health/live", "/livez", "/health"):
        yield path, _get("Whether the server lives", "Live")
    for path in ("/v2/health/ready", "/readyz", "/ready"):
        yield path, _get("Whether predictions can be asked for", "Ready", "503")
    yield "/v2", _get("The server's name, version and extensions", "Server")
    yield "/v2/models", _get("The names of all models", "Models")
    yield "/v2/models/stats", _get("Counts and times of what is served", "Statistics", "503")
    index = _post("Every known version with its state", "Index", "IndexRequest", ("400", "413"))
    index["post"]["requestBody"]["required"] = False
    yield "/v2/repository/index", index
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        for verb, what in (("", "Metadata"), ("/ready", "ModelReady"), ("/config", "Document"),
                           ("/stats", "Statistics")):  # fmt: skip
            yield path + verb, _get(f"{what} of a model", what, "404", "503")
        infer = _prediction(keys, "A prediction", "Answer", "Request", _is_chosen(path))
        yield path + "/infer", infer
    for name in models:
        about = f"A prediction of {name}"
        infer = _prediction(keys, about, answer_name(name), request_name(name))
        yield f"/v2/models/{quote(name, safe='')}/infer", infer


def _v1(keys: Keys) -> Iterator[tuple[str, Schema]]:
    yield "/v1/models", _get("The names of all models", "Models")
    for path in ("/v1/models/{model}", "/v1/models/{model}/versions/{version}"):
        yield path, _get("The state of a model", "Status", "404", "503")
        about = "A prediction in V1's words"
        predict = _prediction(keys, about, "Predictions", "Instances", _is_chosen(path))
        yield path + ":predict", predict


def _containers(routes: Routes, keys: Keys) -> Iterator[tuple[str, Schema]]:
    if routes.default_model is None:
        return
    about = f"A prediction of {routes.default_model}, in SageMaker's or MLflow's words"
    invocations = _prediction(keys, about, "Document", "Document")
    invocations["post"]["requestBody"]["content"] |= _CSV
    yield "/invocations", invocations
    yield "/ping", _plain(f"Whether {routes.default_model} is ready", "404", "503")
    yield "/version", _plain("The server's version")
    if routes.predict is not None:
        about = "A prediction, where Vertex AI asks for it"
        yield "/" + "/".join(routes.predict), _prediction(keys, about, "Document", "Document")
    if routes.health is not None:
        yield "/" + "/".join(routes.health), _plain("Health, for Vertex AI", "404", "503")


def _control(keys: Keys) -> Iterator[tuple[str, Schema]]:
    statuses = ("400", "403", "404", "413", "503")
    for verb in ("load", "unload"):
        path = f"/v2/repository/models/{{model}}/{verb}"
        change = _post(f"{verb.capitalize()} a model", "Document", "Document", statuses)
        change["post"]["requestBody"]["required"] = False
        if keys.is_any:
            change["post"] |= _locked(change["post"], f"Needs a key with the role {OPERATE}.")
        yield path, change


def _get(about: str, shape: str, *refusals: str) -> Schema:
    return {"get": _operation(about, {"content": _json(shape)}, refusals)}


def _plain(about: str, *refusals: str) -> Schema:
    return {"get": _operation(about, {"content": {"text/plain": {"schema": _TEXT}}}, refusals)}


def _prediction(keys: Keys, about: str, shape: str, asked: str, is_chosen: bool = True) -> Schema:
    """Return a prediction; one that names its version has no variant, and none to be pinned."""
    found = _post(about, shape, asked, _ASKED)
    operation = found["post"]
    operation["responses"]["200"]["headers"] = {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in (_NAMING if is_chosen else (_VERSION,))
    }
    if keys.guards_predictions:
        operation |= _locked(operation, f"Needs a key with the role {PREDICT} or {OPERATE}.")
    elif keys.is_any and is_chosen:
        operation |= _locked(operation, "Needs a key where a variant is pinned.", is_open=True)
    if keys.is_any and is_chosen:
        operation["parameters"] = [_PIN]
    return found


def _is_chosen(path: str) -> bool:
    """Say whether a version is chosen for who asks on this path."""
    return "{version}" not in path


def _locked(operation: Schema, about: str, *, is_open: bool = False) -> Schema:
    """Return what an operation says that takes a key; an open one is for those without, too."""
    refusals = {one: {"$ref": f"#/components/responses/{one}"} for one in ("401", "403")}
    return {
        "description": about,
        "responses": operation["responses"] | refusals,
        "security": [*({name: []} for name in _KEYS), *([{}] if is_open else [])],
    }


def _post(about: str, shape: str, asked: str, refusals: Sequence[str]) -> Schema:
    content: Schema = _json(shape)
    if shape.startswith("Answer"):  # binary outputs, where they are asked for
        content |= {"application/octet-stream": {"schema": {"type": "string"}}}
    operation = _operation(about, {"content": content}, refusals)
    return {"post": operation | {"requestBody": {"required": True, "content": _json(asked)}}}


def _operation(about: str, answer: Schema, refusals: Sequence[str]) -> Schema:
    responses = {one: {"$ref": f"#/components/responses/{one}"} for one in refusals}
    return {"summary": about, "responses": {"200": {"description": "Done"} | answer, **responses}}


def _json(shape: str) -> Schema:
    return {"application/json": {"schema": _ref(shape)}}


def _ref(shape: str) -> Schema:
    return {"$ref": f"#/components/schemas/{shape}"}


# what the models have in common


def _shared() -> dict[str, Schema]:
    flag: Schema = {"type": "boolean"}
    shape: Schema = {"type": "array", "items": {"type": "integer", "minimum": -1}}
    names = list_of(_TEXT)
    tensor = object_of({"name": _TEXT, "datatype": _TEXT, "shape": shape})
    carried = open_object({"name": _TEXT, "datatype": _TEXT, "shape": shape})
    version = open_object({"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT})
    return {
        "Error": object_of({"error": _TEXT, "code": _TEXT, "request_id": _TEXT}),
        "Live": object_of({"live": flag}),
        "Ready": object_of({"ready": flag}),
        "Server": object_of({"name": _TEXT, "version": _TEXT, "extensions": names}),
        "Models": object_of({"models": names}),
        "ModelReady": object_of({"name": _TEXT, "ready": flag}),
        "Metadata": object_of(
            {
                "name": _TEXT,
                "versions": names,
                "platform": _TEXT,
                "inputs": list_of(tensor),
                "outputs": list_of(tensor),
            }
        ),
        "Statistics": object_of({"model_stats": list_of({"type": "object"})}),
        "Status": open_object({"name": _TEXT, "ready": flag}),
        "Index": list_of(version),
        "IndexRequest": {"type": "object", "properties": {"ready": flag}},
        "Document": {"type": "object"},
        "Request": open_object({"inputs": list_of(carried)}),
        "Answer": open_object(
            {"model_name": _TEXT, "model_version": _TEXT, "outputs": list_of(carried)}
        ),
        "Instances": {"type": "object", "properties": {"instances": {"type": "array"}}},
        "Predictions": {"type": "object"},
    }
