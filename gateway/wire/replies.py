"""Replies: what the app's endpoints answer with, in our one form.

Job    make Starlette's response of an exchange; give every refusal its status and body.
Never  lets Starlette's own words reach a client.
"""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.wire.exchange import Exchange
from gateway.wire.failures import Refused
from gateway.wire.forms import JSON, form

_OK = form(200, (JSON,))
_TEXT = form(200, ((b"content-type", b"text/plain; charset=utf-8"),))


def reply(request: Request, body: bytes) -> Response:
    """Answer 200 with JSON text."""
    exchange = Exchange(request.state.request_id, None)
    exchange.answer(_OK, body)
    return _response(exchange)


def reply_text(request: Request, body: bytes) -> Response:
    """Answer 200 with plain text."""
    exchange = Exchange(request.state.request_id, None)
    exchange.answer(_TEXT, body)
    return _response(exchange)


def refusal(error: Exception, request_id: bytes) -> Exchange:
    """Return the exchange of a request that is refused."""
    exchange = Exchange(request_id, None)
    exchange.refuse(error)
    return exchange


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer with what went wrong."""
    return _response(refusal(error, request.state.request_id))


async def answer_http(request: Request, error: Exception) -> Response:
    """Give Starlette's own refusals our form."""
    assert isinstance(error, HTTPException)
    allow = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
    if error.status_code == 405 and request.method == "OPTIONS":
        response = Response(status_code=204, headers={"allow": allow})
        response.raw_headers.append((b"x-request-id", request.state.request_id))
        return response
    if error.status_code == 405:
        text = f"method {request.method} is not allowed here: expected one of {allow}"
        refused = Refused(405, text, code="method_not_allowed", headers=(("allow", allow),))
    else:
        refused = Refused(404, "Not Found", code="not_found")
    return await answer_error(request, refused)


def _response(exchange: Exchange) -> Response:
    assert exchange.form is not None
    response = Response(exchange.body, exchange.form.status)
    response.raw_headers = list(exchange.pairs())
    return response
