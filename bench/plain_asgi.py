"""The price of ASGI alone: bare uvicorn, no framework, a canned answer."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from bench.requests import ANSWER

Message = MutableMapping[str, Any]
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(ANSWER)).encode()),
]


async def answer(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Read the body whole, then answer the canned bytes."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


def run(port: int) -> None:
    """Serve until killed, with everything that costs and can be left out left out."""
    uvicorn.run(
        answer,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        log_level="warning",
    )
