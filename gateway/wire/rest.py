"""Rest: the data port's routes as a Starlette app.

Job    answer health and metadata, statistics and the repository; serve inference for any
       ASGI server, over the same intake as the lane, with equal answers.
Life   made once; holds no state of its own.
Never  redirects: clients do not repeat the body of a POST.

Starlette routes decoded paths, where `%2F` and `/` look alike. So the path is split and
decoded by wire/paths.py, and Starlette is given the segments quoted again.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import __version__
from gateway.errors import GatewayError
from gateway.wire.inference import Inference, answer, read_body
from gateway.wire.intake import Intake
from gateway.wire.metadata import Metadata
from gateway.wire.paths import infer_target, path_segments
from gateway.wire.replies import answer_error, answer_http, refusal, reply
from gateway.wire.runner import Message, Receive, Send
from gateway.wire.stock import Stock
from gateway.wire.terms import check_coding, joined, usable_request_id

_EXTENSIONS = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
]
_UNLOADING = "model_repository(unload_dependents)"


class Rest:
    """The app's outermost ring: names the request, quotes the path, answers errors."""

    def __init__(
        self, intake: Intake, metadata: Metadata, stock: Stock, max_body_bytes: int
    ) -> None:
        self._intake = intake
        self._inference = Inference(intake, max_body_bytes)
        self._starlette = Starlette(
            routes=_routes(_Endpoints(metadata, stock, max_body_bytes), self._inference),
            exception_handlers={
                HTTPException: answer_http,
                GatewayError: answer_error,
                Exception: answer_error,  # Starlette raises it again behind the answer
            },
        )
        self._starlette.router.redirect_slashes = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of a foreign server."""
        if scope["type"] != "http":
            await self._starlette(scope, receive, send)
            return
        state = scope["state"] = dict(scope.get("state") or {})
        if "request_id" not in state:
            fields = joined(scope["headers"])
            state["request_id"] = usable_request_id(fields) or self._intake.new_id()
        try:
            raw = scope.get("raw_path") or quote(scope["path"]).encode()
            segments = path_segments(raw)
        except GatewayError as error:
            await answer(send, refusal(error, state["request_id"]))
            return
        state["segments"] = segments
        if scope["method"] == "POST" and infer_target(segments) is not None:
            await self._inference(scope, receive, send)
            return
        scope["path"] = "/" + "/".join(quote(segment, safe="") for segment in segments)
        await self._starlette(scope, receive, send)


class _Endpoints:
    """One method per route."""

    def __init__(self, metadata: Metadata, stock: Stock, max_body_bytes: int) -> None:
        self._metadata = metadata
        self._stock = stock
        self._max_body_bytes = max_body_bytes

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

    async def statistics(self, request: Request) -> Response:
        return reply(request, await self._stock.statistics(None, None))

    async def model_statistics(self, request: Request) -> Response:
        return reply(request, await self._stock.statistics(*_named(request)))

    async def index(self, request: Request) -> Response:
        return reply(request, await self._stock.index(await self._body(request)))

    async def load(self, request: Request) -> Response:
        self._stock.check_control()  # before a body that may be large
        model, _ = _named(request)
        return reply(request, await self._stock.load(model, await self._body(request)))

    async def unload(self, request: Request) -> Response:
        self._stock.check_control()
        model, _ = _named(request)
        return reply(request, await self._stock.unload(model, await self._body(request)))

    def _ok(self, request: Request, content: object) -> Response:
        return reply(request, self._metadata.dump(content))

    async def _body(self, request: Request) -> bytes | bytearray:
        check_coding(joined(request.scope["headers"]))
        return await read_body(request.receive, self._max_body_bytes)


def _routes(at: _Endpoints, inference: Inference) -> list[Route]:
    model = "/v2/models/{model}"
    version = model + "/versions/{version}"
    stored = "/v2/repository/models/"
    get: list[tuple[str, Callable[..., Any]]] = [
        ("/", at.alive),
        ("/livez", at.live),
        ("/health", at.live),
        ("/readyz", at.ready),
        ("/ready", at.ready),
        ("/v2", at.server),
        ("/v2/health/live", at.live),
        ("/v2/health/ready", at.ready),
        ("/v2/models", at.models),
        ("/v2/models/stats", at.statistics),  # before the models: none can be called so
        *((path, at.model) for path in (model, version)),
        *((path + "/ready", at.model_ready) for path in (model, version)),
        *((path + "/config", at.model_config) for path in (model, version)),
        *((path + "/stats", at.model_statistics) for path in (model, version)),
    ]
    post: list[tuple[str, Callable[..., Any]]] = [
        # known here for what is not a POST; Rest itself takes what is
        *((path + "/infer", inference) for path in (model, version)),
        ("/v2/repository/index", at.index),
        # a name that is empty is told so
        *((stored + name + "/load", at.load) for name in ("{model}", "")),
        *((stored + name + "/unload", at.unload) for name in ("{model}", "")),
    ]
    return [
        *(Route(path, endpoint, methods=["GET"]) for path, endpoint in get),
        *(Route(path, endpoint, methods=["POST"]) for path, endpoint in post),
    ]


def _named(request: Request) -> tuple[str, str | None]:
    version = request.path_params.get("version")
    model = unquote(request.path_params.get("model", ""))
    return model, None if version is None else unquote(version)
