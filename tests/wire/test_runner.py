"""Runner: an app's whole answer becomes one answer of the lane."""

import asyncio
import logging

import pytest

from gateway.wire.exchange import Exchange
from gateway.wire.heads import Head, HeadLimits, parse
from gateway.wire.runner import App, Message, Receive, Send, run, scope_of

LIMITS = HeadLimits()


def head(line: bytes = b"GET /a%20b/c?x=%31 HTTP/1.1") -> Head:
    return parse(line + b"\r\nHost: h\r\nX-Two: 1\r\nX-Two:  2 \r\n\r\n", LIMITS)


def ask(app: App, method: str = "GET", body: bytes = b"") -> Exchange:
    """Run an app once; return the exchange that it answered."""
    heard: list[Exchange] = []
    exchange = Exchange(b"r-1", heard.append)
    asyncio.run(run(app, {"type": "http", "method": method}, body, exchange))
    assert heard == [exchange]
    return exchange


async def start(send: Send, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


def test_a_scope_says_what_the_head_said() -> None:
    scope = scope_of(head(), b"r-1", "https", ("1.2.3.4", 5), ("6.7.8.9", 10))
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/a b/c",
        "raw_path": b"/a%20b/c",
        "query_string": b"x=%31",
        "root_path": "",
        "headers": [(b"host", b"h"), (b"x-two", b"1"), (b"x-two", b"2")],
        "client": ("1.2.3.4", 5),
        "server": ("6.7.8.9", 10),
        "state": {"request_id": b"r-1"},
    }


def test_an_old_request_says_so() -> None:
    assert scope_of(head(b"GET / HTTP/1.0"), b"", "http", None, None)["http_version"] == "1.0"


def test_the_parts_of_an_answer_become_one() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await start(send, 201, (b"x-a", b"1"))
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.body", "body": b"c"})

    exchange = ask(app)
    assert exchange.render(closes=False) == (
        b"HTTP/1.1 201 Created\r\nx-a: 1\r\nx-request-id: r-1\r\ncontent-length: 3\r\n\r\nabc"
    )


def test_the_app_reads_the_body_once_and_then_the_client_is_gone() -> None:
    seen: list[Message] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        seen.extend([await receive(), await receive(), await receive()])
        await start(send)

    ask(app, "POST", b"abc")
    assert seen == [
        {"type": "http.request", "body": b"abc", "more_body": False},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]


def test_framing_is_the_lanes_and_not_the_apps() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        framing = [b"content-length", b"x-request-id", b"connection", b"transfer-encoding"]
        await start(send, 200, *((name, b"9") for name in framing))

    exchange = ask(app)
    assert exchange.form is not None
    assert exchange.form.pairs == ()
    assert exchange.pairs() == ((b"x-request-id", b"r-1"), (b"content-length", b"0"))


def test_a_head_request_is_answered_bare() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await start(send)
        await send({"type": "http.response.body", "body": b"abc"})

    answer = ask(app, "HEAD").render(closes=False)
    assert answer == b"HTTP/1.1 200 OK\r\nx-request-id: r-1\r\ncontent-length: 3\r\n\r\n"


async def silent(scope: Message, receive: Receive, send: Send) -> None:
    return


async def broken(scope: Message, receive: Receive, send: Send) -> None:
    await start(send)
    raise ValueError


@pytest.mark.parametrize("app", [silent, broken])
def test_an_app_that_fails_or_says_nothing_is_a_500(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = ask(app)
    assert exchange.form is not None
    assert exchange.form.status == 500
    assert b'"error":"internal error"' in exchange.body
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_an_app_that_is_cancelled_answers_nothing() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await asyncio.get_running_loop().create_future()

    async def scene() -> None:
        exchange = Exchange(b"r-1", None)
        task = asyncio.create_task(run(app, {"type": "http", "method": "GET"}, b"", exchange))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert exchange.form is None

    asyncio.run(scene())
