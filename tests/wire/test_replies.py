"""Replies: one form for what endpoints answer and for what Starlette refuses."""

import asyncio

import orjson
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from gateway.errors import NotReady
from gateway.wire.replies import answer_error, answer_http, refusal, reply
from tests.wire.asgi import scope


def request(method: str = "GET") -> Request:
    return Request(scope("/x", method, state={"request_id": b"me"}))


def test_a_reply_is_json_under_its_requests_name() -> None:
    response = reply(request(), b'{"a":1}')
    assert (response.status_code, response.body) == (200, b'{"a":1}')
    assert response.raw_headers == [
        (b"content-type", b"application/json"),
        (b"x-request-id", b"me"),
        (b"content-length", b"7"),
    ]


def test_a_refusal_has_three_members() -> None:
    exchange = refusal(NotReady("not yet"), b"me")
    assert exchange.form is not None
    assert exchange.form.status == 503
    expected = {"error": "not yet", "code": "not_ready", "request_id": "me"}
    assert orjson.loads(exchange.body) == expected
    response = asyncio.run(answer_error(request(), NotReady("not yet")))
    assert response.body == exchange.body
    assert (b"retry-after", b"1") in response.raw_headers


@pytest.mark.parametrize(
    ("error", "method", "status", "code"),
    [
        (HTTPException(404), "GET", 404, "not_found"),
        (HTTPException(405, headers={"Allow": "GET, HEAD"}), "POST", 405, "method_not_allowed"),
    ],
)
def test_a_refusal_of_starlettes_becomes_ours(
    error: HTTPException, method: str, status: int, code: str
) -> None:
    response = asyncio.run(answer_http(request(method), error))
    assert (response.status_code, orjson.loads(response.body)["code"]) == (status, code)
    assert ((b"allow", b"GET, HEAD") in response.raw_headers) == (status == 405)


def test_to_ask_for_the_methods_is_no_fault() -> None:
    error = HTTPException(405, headers={"Allow": "GET, HEAD"})
    response = asyncio.run(answer_http(request("OPTIONS"), error))
    assert (response.status_code, response.body) == (204, b"")
    assert (b"allow", b"GET, HEAD") in response.raw_headers
