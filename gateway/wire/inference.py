"""Inference: the lane's route for any other ASGI server.

Job    read a body, start an exchange, send its answer; equal to the lane's in every byte
       that the application decides.
Never  starts a task for a model that answers within the tick: only a call that takes
       longer is worth a listener for the client's leaving.
"""

import asyncio
import time

from gateway.errors import GatewayError
from gateway.wire.exchange import Exchange
from gateway.wire.failures import Refused, too_large
from gateway.wire.intake import Intake
from gateway.wire.keys import NO_KEYS, Keys
from gateway.wire.paths import Routes
from gateway.wire.runner import Message, Receive, Send
from gateway.wire.terms import joined, read_terms


class Inference:
    """An ASGI app that answers one inference request, unless the client leaves."""

    def __init__(
        self, intake: Intake, routes: Routes, max_body_bytes: int, keys: Keys = NO_KEYS
    ) -> None:
        self._intake = intake
        self._routes = routes
        self._max_body_bytes = max_body_bytes
        self._keys = keys

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request whose path was split into `state.segments`.

        Cancel: safe; the call is abandoned.
        """
        state = scope["state"]
        exchange = Exchange(state["request_id"], _nobody)
        meter = None
        try:
            target = self._routes.infer_target(state["segments"])
            if target is None:  # a name that no model can have
                raise Refused(404, "Not Found", code="not_found")
            headers = scope["headers"]
            fields = joined(headers)
            meter = self._keys.meter_of(fields)
            terms = read_terms(fields, target.dialect, self._keys)
            body = await read_body(receive, self._max_body_bytes)
        except GatewayError as error:
            self._intake.refuse(exchange, error, meter)
        else:
            self._intake.start(exchange, terms, target, body, time.monotonic(), headers)
            if exchange.form is None:
                await _unless_gone(receive, exchange)
        if exchange.form is not None:
            await answer(send, exchange)


async def answer(send: Send, exchange: Exchange) -> None:
    """Send the answer that an exchange holds."""
    assert exchange.form is not None
    start = {"type": "http.response.start", "status": exchange.form.status}
    await send({**start, "headers": list(exchange.pairs())})
    await send({"type": "http.response.body", "body": exchange.body})


def _nobody(_exchange: Exchange) -> None:
    """Hear an answer that will be read from its exchange."""


async def read_body(receive: Receive, max_bytes: int) -> bytes | bytearray:
    """Return the whole body. Raises: TooLarge, as soon as it is; Refused."""
    message = await receive()
    body: bytes | bytearray = message.get("body", b"")
    if message.get("more_body", False):
        body = bytearray(body)
    while message["type"] == "http.request":
        if len(body) > max_bytes:
            raise too_large(len(body), max_bytes)
        if not message.get("more_body", False):
            return body
        message = await receive()
        body += message.get("body", b"")
    raise Refused(499, "the client left before the body was whole", code="client_gone")


async def _unless_gone(receive: Receive, exchange: Exchange) -> None:
    """Wait for the answer; abandon the exchange if the client leaves first."""
    try:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Exchange] = loop.create_future()
        exchange.send = answered.set_result
        ticked = loop.create_future()
        loop.call_soon(ticked.set_result, None)
        await ticked  # the end of this tick, when an inline model has answered
        if exchange.form is not None:
            return
        leaving = asyncio.ensure_future(_leave(receive))
        try:
            await asyncio.wait((answered, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
    finally:
        if exchange.form is None:
            exchange.abandon()


async def _leave(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
