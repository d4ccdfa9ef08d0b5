"""Asking the ASGI app without a server: by httpx, or message by message."""

from collections.abc import Sequence

import httpx

from gateway.wire.runner import App, Message, Receive, Send
from tests.wire.harness import Answer


async def ask(
    app: App,
    method: str,
    target: bytes,
    body: bytes = b"",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> Answer:
    """Ask by httpx; the target reaches the app as it stands, which httpx would mend."""

    async def exactly(scope: Message, receive: Receive, send: Send) -> None:
        path, _, query = target.partition(b"?")
        await app({**scope, "raw_path": path, "query_string": query}, receive, send)

    transport = httpx.ASGITransport(app=exactly)
    async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
        answer = await client.request(method, "/", content=body, headers=list(headers))
    headers_found = [(name.decode(), value.decode()) for name, value in answer.headers.raw]
    assert len(dict(headers_found)) == len(headers_found), "a header came twice"
    return Answer(answer.status_code, dict(headers_found), answer.content)


class Client:
    """An ASGI server's side of one request: what the app is given, and what it sent."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        """Give the next message; after the last, the client is gone."""
        return self.messages.pop(0) if self.messages else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def scope(path: str, method: str = "POST", **more: object) -> Message:
    """A scope as a server gives it that does not know of raw paths."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": None,
        "server": None,
        **more,
    }
