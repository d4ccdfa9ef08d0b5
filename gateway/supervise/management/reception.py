"""Reception: the management port as an ASGI app.

Job    find the endpoint, let the caller in or not, bound the answer, say what went wrong.
Life   made once around an office; holds no state of its own.
Never  redirects, streams, or lets a request take more time or memory than its row says.

Paths are split and decoded by wire/paths.py, as on the data port, and Starlette is given
the segments quoted again: a model's name may hold anything but a slash.
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    Overloaded,
    TooLarge,
    Unauthenticated,
)
from gateway.supervise.management.endpoints import HTML, Asked, Endpoint, Reply
from gateway.supervise.management.guard import Caller, Guard, Role, Shown
from gateway.supervise.management.page import SECURITY
from gateway.supervise.management.routes import Answers
from gateway.wire.failures import Refused, describe
from gateway.wire.paths import path_segments
from gateway.wire.runner import Message, Receive, Send
from gateway.wire.terms import joined, usable_request_id

MAX_BODY_BYTES = 1 << 20
_MAX_CHANGES = 16  # that may wait for one another
_BY_HAND = ', Basic realm="gateway", charset="UTF-8"'  # a browser then asks for one


class Ids:
    """Request ids that nobody had before."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6).encode() + b"-"
        self._ids = itertools.count(1)

    def new_id(self) -> bytes:
        """Return the next one."""
        return b"%b%x" % (self._prefix, next(self._ids))


class Reception:
    """Every request is answered, by its endpoint or by a refusal of three members.

    Mutable state: `guard`, replaced whole when tokens change, and how many changes are
    under way (`_changes`).
    """

    def __init__(self, answers: Answers, guard: Guard, ids: Ids) -> None:
        self.guard = guard
        self._ids = ids
        self._changes = 0
        self._starlette = Starlette(
            routes=[
                Route(path, self._place(rows), methods=list(rows))
                for path, rows in _places(answers.endpoints).items()
            ],
            exception_handlers={
                HTTPException: _answer_http,
                GatewayError: _answer,
                Exception: _answer,  # Starlette raises it again behind the answer
            },
        )
        self._starlette.router.redirect_slashes = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of a foreign server."""
        if scope["type"] == "http":
            state = scope["state"] = dict(scope.get("state") or {})
            if "request_id" not in state:
                fields = joined(scope["headers"])
                state["request_id"] = usable_request_id(fields) or self._ids.new_id()
            try:
                segments = path_segments(scope.get("raw_path") or quote(scope["path"]).encode())
            except GatewayError as error:
                await _refusal(error, state["request_id"])(scope, receive, send)
                return
            scope["path"] = "/" + "/".join(quote(segment, safe="") for segment in segments)
        await self._starlette(scope, receive, send)

    def _place(self, rows: Mapping[str, Endpoint]) -> Callable[[Request], Awaitable[Response]]:
        endpoints = {method: self._endpoint(row) for method, row in rows.items()}

        async def place(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await endpoints[method](request)

        return place

    def _endpoint(self, row: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                async with asyncio.timeout(row.within_s):
                    return _response(await self._obey(row, request))
            except TimeoutError:
                raise DeadlineExceeded(f"not done within {row.within_s:g} s") from None
            except Unauthenticated as error:
                refusal = await _answer(request, error)
                if HTML in row.content_types:
                    refusal.headers["www-authenticate"] += _BY_HAND
                return refusal

        return endpoint

    async def _obey(self, row: Endpoint, request: Request) -> Reply:
        """Raises: GatewayError, for whoever may not and for what cannot be."""
        fields = joined(request.scope["headers"])
        caller = self._let_in(row, fields, request)
        names = {name: unquote(value) for name, value in request.path_params.items()}
        query = dict(request.query_params)
        asked = Asked(caller, names, fields, await _body(request), query)
        if row.role is not Role.OPERATOR:
            return await row.answer(asked)
        if self._changes >= _MAX_CHANGES:
            raise Overloaded(f"expected at most {_MAX_CHANGES} changes at once")
        self._changes += 1
        try:
            return await row.answer(asked)
        finally:
            self._changes -= 1

    def _let_in(
        self, row: Endpoint, fields: Mapping[bytes, bytes], request: Request
    ) -> Caller | None:
        """Return who asks, None where anybody may. Raises: GatewayError, for whoever may not."""
        server = request.scope.get("server")
        shown = Shown(fields, request.scope["scheme"], server and server[0])
        if row.role is not None:
            return self.guard.admit(row.role, shown)
        if not row.is_probe:
            self.guard.admit_anybody(shown)
        return None


def _places(rows: Sequence[Endpoint]) -> Mapping[str, Mapping[str, Endpoint]]:
    """Return the rows by path and method: who asks for another one is told them all."""
    places: dict[str, dict[str, Endpoint]] = {}
    for row in rows:
        places.setdefault(row.path, {})[row.method] = row
    return places


async def _body(request: Request) -> bytes:
    """Return the whole body. Raises: TooLarge, as soon as it is."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(f"request body: expected at most {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _response(reply: Reply) -> Response:
    headers = {"content-type": reply.content_type, **dict(reply.headers)}
    response = Response(reply.body, headers=headers)
    response.headers["cache-control"] = "no-store"
    response.headers["x-content-type-options"] = "nosniff"
    if reply.content_type == HTML:
        response.headers.update(SECURITY)
    return response


def _refusal(error: Exception, request_id: bytes) -> Response:
    status, body, headers = describe(error, request_id.decode("ascii"))
    return Response(body, status, {"content-type": "application/json", **dict(headers)})


async def _answer(request: Request, error: Exception) -> Response:
    return _refusal(error, request.state.request_id)


async def _answer_http(request: Request, error: Exception) -> Response:
    """Give Starlette's own refusals our form."""
    assert isinstance(error, HTTPException)
    allow = (error.headers or {}).get("Allow", "")
    if error.status_code == 405 and request.method == "OPTIONS":
        return Response(status_code=204, headers={"allow": allow})
    if error.status_code == 405:
        text = f"method {request.method} is not allowed here: expected one of {allow}"
        refused = Refused(405, text, code="method_not_allowed", headers=(("allow", allow),))
    else:
        refused = Refused(404, "Not Found", code="not_found")
    return await _answer(request, refused)
