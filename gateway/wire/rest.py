"""Rest: the data port's routes as a Starlette app.

Job    answer health and metadata; serve inference for any ASGI server, over the same
       intake as the lane, with equal answers.
Life   made once; holds no state of its own.
Never  redirects: clients do not repeat the body of a POST.

Starlette routes decoded paths, where `%2F` and `/` look alike. So the path is split and
decoded by wire/paths.py, and Starlette is given the segments quoted again.
"""

from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import __version__
from gateway.errors import GatewayError
from gateway.wire.exchange import Exchange
from gateway.wire.failures import Refused
from gateway.wire.forms import JSON, form
from gateway.wire.inference import Inference, answer
from gateway.wire.intake import Intake
from gateway.wire.metadata import Metadata
from gateway.wire.paths import infer_target, path_segments
from gateway.wire.runner import Message, Receive, Send
from gateway.wire.terms import joined, usable_request_id

_OK = form(200, (JSON,))
_EXTENSIONS = ["binary_tensor_data", "parameters", "schedule_policy"]


class Rest:
    """The app's outermost ring: names the request, quotes the path, answers errors."""

    def __init__(self, intake: Intake, metadata: Metadata, max_body_bytes: int) -> None:
        self._intake = intake
        self._inference = Inference(intake, max_body_bytes)
        self._starlette = Starlette(
            routes=_routes(_Endpoints(metadata), self._inference),
            exception_handlers={
                HTTPException: _answer_http,
                GatewayError: _answer,
                Exception: _answer,  # Starlette raises it again behind the answer
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
            await answer(send, _refusal(error, state["request_id"]))
            return
        state["segments"] = segments
        if scope["method"] == "POST" and infer_target(segments) is not None:
            await self._inference(scope, receive, send)
            return
        scope["path"] = "/" + "/".join(quote(segment, safe="") for segment in segments)
        await self._starlette(scope, receive, send)


class _Endpoints:
    """One method per route."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def alive(self, request: Request) -> Response:
        return self._ok(request, {"status": "alive"})

    async def live(self, request: Request) -> Response:
        return self._ok(request, {"live": True})

    async def ready(self, request: Request) -> Response:
        self._metadata.check_ready()
        return self._ok(request, {"ready": True})

    async def server(self, request: Request) -> Response:
        name = self._metadata.server_name
        about = {"name": name, "version": __version__, "extensions": _EXTENSIONS}
        return self._ok(request, about)

    async def models(self, request: Request) -> Response:
        return self._ok(request, {"models": self._metadata.models()})

    async def model(self, request: Request) -> Response:
        return self._ok(request, self._metadata.model(*_named(request)))

    async def model_ready(self, request: Request) -> Response:
        return self._ok(request, self._metadata.ready(*_named(request)))

    def _ok(self, request: Request, content: object) -> Response:
        exchange = Exchange(request.state.request_id, None)
        exchange.answer(_OK, self._metadata.dump(content))
        return _response(exchange)


def _routes(at: _Endpoints, inference: Inference) -> list[Route]:
    model = "/v2/models/{model}"
    version = model + "/versions/{version}"
    get = [
        ("/", at.alive),
        ("/livez", at.live),
        ("/health", at.live),
        ("/readyz", at.ready),
        ("/ready", at.ready),
        ("/v2", at.server),
        ("/v2/health/live", at.live),
        ("/v2/health/ready", at.ready),
        ("/v2/models", at.models),
        (model, at.model),
        (version, at.model),
        (model + "/ready", at.model_ready),
        (version + "/ready", at.model_ready),
    ]
    return [
        *(Route(path, endpoint, methods=["GET"]) for path, endpoint in get),
        # known here for what is not a POST; Rest itself takes what is
        *(Route(path + "/infer", inference, methods=["POST"]) for path in (model, version)),
    ]


def _named(request: Request) -> tuple[str, str | None]:
    version = request.path_params.get("version")
    return unquote(request.path_params["model"]), None if version is None else unquote(version)


def _refusal(error: Exception, request_id: bytes) -> Exchange:
    exchange = Exchange(request_id, None)
    exchange.refuse(error)
    return exchange


def _response(exchange: Exchange) -> Response:
    assert exchange.form is not None
    response = Response(exchange.body, exchange.form.status)
    response.raw_headers = list(exchange.pairs())
    return response


async def _answer(request: Request, error: Exception) -> Response:
    return _response(_refusal(error, request.state.request_id))


async def _answer_http(request: Request, error: Exception) -> Response:
    """Give Starlette's own refusals our form."""
    assert isinstance(error, HTTPException)
    allow = (error.headers or {}).get("Allow", "")
    if error.status_code == 405 and request.method == "OPTIONS":
        response = Response(status_code=204, headers={"allow": allow})
        response.raw_headers.append((b"x-request-id", request.state.request_id))
        return response
    if error.status_code == 405:
        text = f"method {request.method} is not allowed here: expected one of {allow}"
        refused = Refused(405, text, code="method_not_allowed", headers=(("allow", allow),))
    else:
        refused = Refused(404, "Not Found", code="not_found")
    return await _answer(request, refused)
