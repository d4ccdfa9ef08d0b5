"""Rest: the data port's routes as a Starlette app.

Job    be an ASGI app: name requests, route them, and answer what goes wrong; inference goes
       over the same intake as the lane, with equal answers.
Life   made once; holds no state of its own.
Never  redirects: clients do not repeat the body of a POST.

Starlette routes decoded paths, where `%2F` and `/` look alike. So the path is split and
decoded by wire/paths.py, and Starlette is given the segments quoted again.
"""

from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from gateway.errors import GatewayError
from gateway.wire.endpoints import Endpoints, container_routes, v1_routes, v2_routes
from gateway.wire.inference import Inference, answer
from gateway.wire.intake import Intake
from gateway.wire.keys import NO_KEYS, Keys
from gateway.wire.metadata import Metadata
from gateway.wire.paths import V2_AND_V1, Routes, path_segments
from gateway.wire.replies import answer_error, answer_http, refusal
from gateway.wire.runner import Message, Receive, Send
from gateway.wire.stock import Stock
from gateway.wire.terms import joined, usable_request_id


class Rest:
    """The app's outermost ring: names the request, quotes the path, answers errors."""

    def __init__(
        self,
        intake: Intake,
        metadata: Metadata,
        stock: Stock,
        max_body_bytes: int,
        routes: Routes = V2_AND_V1,
        keys: Keys = NO_KEYS,
    ) -> None:
        self._intake = intake
        self._routes = routes
        self._inference = Inference(intake, routes, max_body_bytes, keys)
        at = Endpoints(metadata, stock, max_body_bytes, routes.default_model, keys)
        self._starlette = Starlette(
            routes=[
                *container_routes(at, self._inference, routes),  # where they are told, they win
                *v2_routes(at, self._inference),
                *v1_routes(at, self._inference),
            ],
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
        if scope["method"] == "POST" and self._routes.infer_target(segments) is not None:
            await self._inference(scope, receive, send)
            return
        scope["path"] = "/" + "/".join(quote(segment, safe="") for segment in segments)
        await self._starlette(scope, receive, send)
