"""Endpoints: what the data port answers beside predictions, and by which paths.

Job    health, metadata, statistics and the repository, in the words of each dialect.
Life   made once; holds no state of its own.
Never  asked for a prediction: those routes only say which methods they have.

Paths are matched with their segments quoted (see rest.py), so a colon is %3A here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import __version__
from gateway.errors import Forbidden
from gateway.wire.codings import read_coding, unpack
from gateway.wire.failures import Refused
from gateway.wire.inference import Inference, read_body
from gateway.wire.keys import NO_KEYS, OPERATE, Keys
from gateway.wire.metadata import Metadata
from gateway.wire.paths import Routes, quoted
from gateway.wire.replies import reply, reply_text
from gateway.wire.stock import Stock
from gateway.wire.terms import joined

_EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
]
_UNLOADING = "model_repository(unload_dependents)"
_PREDICT = "%3Apredict"

Answer = Callable[[Request], Awaitable[Response]]


class Endpoints:
    """One method per route."""

    def __init__(
        self,
        metadata: Metadata,
        stock: Stock,
        max_body_bytes: int,
        default_model: str | None,
        keys: Keys = NO_KEYS,
    ) -> None:
        self._metadata = metadata
        self._stock = stock
        self._max_body_bytes = max_body_bytes
        self._default_model = default_model
        self._keys = keys

    async def alive(self, request: Request) -> Response:
        return self._ok(request, {"status": "alive"})

    async def live(self, request: Request) -> Response:
        return self._ok(request, {"live": True})

    async def ready(self, request: Request) -> Response:
        self._metadata.check_ready()
        return self._ok(request, {"ready": True})

    async def server(self, request: Request) -> Response:
        extensions = [*_EXTENSIONS, _UNLOADING] if self._stock.is_explicit else _EXTENSIONS
        name = self._metadata.server_name
        return self._ok(request, {"name": name, "version": __version__, "extensions": extensions})

    async def models(self, request: Request) -> Response:
        return self._ok(request, {"models": self._metadata.models()})

    async def model(self, request: Request) -> Response:
        return self._ok(request, self._metadata.model(*_named(request)))

    async def model_ready(self, request: Request) -> Response:
        return self._ok(request, self._metadata.ready(*_named(request)))

    async def model_config(self, request: Request) -> Response:
        return self._ok(request, self._metadata.config(*_named(request)))

    async def model_status(self, request: Request) -> Response:
        return self._ok(request, self._metadata.status(*_named(request)))

    async def statistics(self, request: Request) -> Response:
        return reply(request, await self._stock.statistics(None, None))

    async def model_statistics(self, request: Request) -> Response:
        return reply(request, await self._stock.statistics(*_named(request)))

    async def index(self, request: Request) -> Response:
        return reply(request, await self._stock.index(await self._body(request)))

    async def load(self, request: Request) -> Response:
        self._check_control(request)
        model, _ = _named(request)
        return reply(request, await self._stock.load(model, await self._body(request)))

    async def unload(self, request: Request) -> Response:
        self._check_control(request)
        model, _ = _named(request)
        return reply(request, await self._stock.unload(model, await self._body(request)))

    async def explain(self, request: Request) -> Response:
        raise Refused(501, "explanations are not served here", code="not_implemented")

    async def ping(self, request: Request) -> Response:
        self._metadata.check_ready()
        assert self._default_model is not None
        self._metadata.ready(self._default_model, None)
        return reply_text(request, b"\n")

    async def version(self, request: Request) -> Response:
        return reply_text(request, __version__.encode())

    def _check_control(self, request: Request) -> None:
        """Refuse who may not load and unload, before a body that may be large is read.

        A browser tells where a page came from; no page has any business here, and any page
        that this machine happens to show could try. Other clients send no Origin. Where there
        are keys, it takes one that may operate.
        """
        self._stock.check_control()
        fields = joined(request.scope["headers"])
        if self._keys.is_any:
            self._keys.admit(fields, OPERATE, "to load or unload a model")
        origin = fields.get(b"origin")
        if origin is not None:
            raise Forbidden(
                f"header origin: expected none, because no web page may load or unload models, "
                f"got {quoted(origin)}"
            )

    def _ok(self, request: Request, content: object) -> Response:
        return reply(request, self._metadata.dump(content))

    async def _body(self, request: Request) -> bytes | bytearray:
        coding = read_coding(joined(request.scope["headers"]).get(b"content-encoding", b""))
        body = await read_body(request.receive, self._max_body_bytes)
        if coding is None:
            return body
        return await asyncio.to_thread(unpack, body, coding, self._max_body_bytes)


def v2_routes(at: Endpoints, inference: Inference) -> list[Route]:
    """Return the routes of the Open Inference Protocol, and the probes."""
    model = "/v2/models/{model}"
    version = model + "/versions/{version}"
    stored = "/v2/repository/models/"
    return [
        _get("/", at.alive),
        *(_get(path, at.live) for path in ("/livez", "/health", "/v2/health/live")),
        *(_get(path, at.ready) for path in ("/readyz", "/ready", "/v2/health/ready")),
        _get("/v2", at.server),
        _get("/v2/models", at.models),
        _get("/v2/models/stats", at.statistics),  # before the models: none can be called so
        *(_get(path, at.model) for path in (model, version)),
        *(_get(path + "/ready", at.model_ready) for path in (model, version)),
        *(_get(path + "/config", at.model_config) for path in (model, version)),
        *(_get(path + "/stats", at.model_statistics) for path in (model, version)),
        # known here for what is not a POST; Rest itself takes what is
        *(_post(path + "/infer", inference) for path in (model, version)),
        _post("/v2/repository/index", at.index),
        # a name that is empty is told so
        *(_post(stored + name + "/load", at.load) for name in ("{model}", "")),
        *(_post(stored + name + "/unload", at.unload) for name in ("{model}", "")),
    ]


def v1_routes(at: Endpoints, inference: Inference) -> list[Route]:
    """Return the routes of KServe V1 and TensorFlow Serving; verbs before names that end so."""
    model = "/v1/models/{model}"
    version = model + "/versions/{version}"
    return [
        *(_post(path + _PREDICT, inference) for path in (model, version)),
        *(_post(path + "%3Aexplain", at.explain) for path in (model, version)),
        _get("/v1/models", at.models),
        *(_get(path, at.model_status) for path in (model, version)),
    ]


def container_routes(at: Endpoints, inference: Inference, routes: Routes) -> list[Route]:
    """Return the routes of SageMaker, MLflow and Vertex AI, where there is a default model."""
    if routes.default_model is None:
        return []
    found = [
        _post("/invocations", inference),
        _get("/ping", at.ping),
        _get("/version", at.version),
    ]
    if routes.predict is not None:
        found.append(_post(_path(routes.predict), inference))
    if routes.health is not None:
        found.append(_get(_path(routes.health), at.ping))
    return found


def _get(path: str, answer: Answer) -> Route:
    return Route(path, answer, methods=["GET"])


def _post(path: str, answer: Any) -> Route:  # an endpoint, or an app of its own
    return Route(path, answer, methods=["POST"])


def _path(segments: tuple[str, ...]) -> str:
    """Return a path that matches itself: Starlette gives braces a meaning, and quoting takes it."""
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def _named(request: Request) -> tuple[str, str | None]:
    version = request.path_params.get("version")
    model = unquote(request.path_params.get("model", ""))
    return model, None if version is None else unquote(version)
