"""Runner: one request against the ASGI app, collected into one answer.

Job    serve what is not an inference: health, metadata, every refusal of a route.
Never  streams: these answers are small, and a whole one can wait for its turn in a
       pipeline. Writing 40 lines costs less than borrowing a request cycle that wants
       a transport of its own, answers its errors as text and keeps no order.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.wire.exchange import Exchange
from gateway.wire.forms import form
from gateway.wire.heads import Head

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Address = tuple[str, int] | None

_FRAMING = (b"content-length", b"x-request-id", b"connection", b"transfer-encoding")


def addresses_of(transport: asyncio.BaseTransport | None) -> tuple[Address, Address, str]:
    """Return (client, server, scheme); of a client that left, all that is known: nothing."""
    if transport is None:
        return None, None, "http"
    info = transport.get_extra_info
    client, server = info("peername"), info("sockname")
    scheme = "http" if info("sslcontext") is None else "https"
    return client and client[:2], server and server[:2], scheme


def scope_of(
    head: Head, request_id: bytes, scheme: str, client: Address, server: Address
) -> Message:
    """Return the ASGI scope of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": f"1.{head.version_minor}",
        "method": head.method,
        "scheme": scheme,
        "path": "/" + "/".join(head.path),
        "raw_path": head.raw_path,
        "query_string": head.query,
        "root_path": "",
        "headers": list(head.headers),
        "client": client,
        "server": server,
        "state": {"request_id": request_id},
    }


async def serve(
    app: App,
    transport: asyncio.BaseTransport | None,
    exchange: Exchange,
    head: Head,
    body: bytes | bytearray,
) -> None:
    """Answer a request that came over `transport`, as `run` does."""
    client, server, scheme = addresses_of(transport)
    await run(app, scope_of(head, exchange.request_id, scheme, client, server), body, exchange)


async def run(app: App, scope: Message, body: bytes | bytearray, exchange: Exchange) -> None:
    """Answer `exchange` with the app's whole answer; an app that fails or is silent is a 500.

    Cancel: safe; the app is cancelled with it.
    """
    started: list[Message] = []
    parts: list[bytes] = []
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            started.append(message)
        else:
            parts.append(message.get("body", b""))

    exchange.is_bare = scope["method"] == "HEAD"
    try:
        await app(scope, receive, send)
        start = started[0]
    except Exception as error:  # noqa: BLE001 - the outer ring, as for inference
        exchange.refuse(error)
        return
    pairs = tuple((name, value) for name, value in start.get("headers", ()) if name not in _FRAMING)
    exchange.answer(form(start["status"], pairs), b"".join(parts))
