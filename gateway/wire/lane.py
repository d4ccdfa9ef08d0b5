"""Lane: one connection of the data port.

Job    answer the requests of one connection in order, and keep the client to its limits.
Life   made by uvicorn for each connection; ends with `connection_lost`.
Never  decides anything about a prediction; makes a task, future or timer for one.

Theory of operation.

Reading. wire/reader.py frames; `_advance` takes whole requests from it as long as the
client may ask for more. With the pipeline full, or the client not reading its answers,
we stop reading the socket, and TCP tells the client. In between may be a respite
(wire/respite.py): after a whole pipeline in one go, for everybody else would feel the weight;
in a turn of the loop that is long; after a refusal.

Order. `_pipeline` holds one Exchange per request, oldest first. An answer is written at
once if its exchange is the first, else the exchange holds it until it is.

Ending. `_is_last`: no further request will be read, and whoever writes the last reply
closes. A refused client may still be sending: that is thrown away for a bounded time, as
closing at once would reset the connection, and the reply with it (RFC 9112, section 9.6).

Leaving. A client that closes its writing side has left, for all that TCP shows: what was
not answered is dropped, since work for nobody costs those who stay.
"""

import asyncio
from collections import deque
from typing import cast

from gateway.errors import Overloaded
from gateway.wire.exchange import Exchange, Send
from gateway.wire.failures import too_slow
from gateway.wire.heads import Head
from gateway.wire.patience import Patience, Verdict
from gateway.wire.port import Port
from gateway.wire.reader import Reader, Stage
from gateway.wire.respite import Respite
from gateway.wire.runner import serve
from gateway.wire.sockets import silent_s, unsent_bytes

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Lane(asyncio.Protocol):
    """Every request read is answered once, in order, unless the client is gone.

    Mutable state: what is being answered (`_pipeline`), whether it goes on (`_is_reading`,
    `_respite`), how it will end (`_is_last`, `_is_leaving`, `_discarded_bytes`), and for how
    long (`_patience`).
    """

    def __init__(self, port: Port, loop: asyncio.AbstractEventLoop) -> None:
        self._port, self._intake = port, port.intake
        self._policy = policy = port.policy
        self._reader = Reader(port.heads, policy.heads, policy.max_body_bytes, port.room)
        self._loop = loop
        self._listener: Send | None = self._hear  # bound once, not once per request
        self._transport: asyncio.Transport | None = None
        self._pipeline: deque[Exchange] = deque()
        self._clock = port.clock
        busy, unsent = self._is_busy, lambda: unsent_bytes(self._transport)
        self._patience = Patience(policy, loop, port.clock, busy, unsent, self._lose_patience)
        self._discarded_bytes: int | None = None  # None: what comes is still read
        self._rotation = port.rotation
        self._respite = Respite(port, loop, self._read_on)
        self._is_reading = self._is_last = self._is_leaving = False

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._patience.open(self._port.spread(), self._port.drain)
        if (refusal := self._port.enter(self, transport)) is not None:
            self._turn_away(refusal)
            return
        self._patience.look_ahead()

    def data_received(self, data: bytes) -> None:
        if self._rotation.is_long and not (self._is_last or self._respite.is_on):
            self._hold(data)
        elif not (self._pipeline or self._is_last or self._patience.stalled_since):
            self._begin(data)
        elif self._discarded_bytes is not None:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > self._policy.linger_bytes and self._transport is not None:
                self._transport.abort()
        elif not self._is_last:
            self._reader.feed(data)
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.leave(self)
        self._reader.close()
        self._patience.cancel()
        self._respite.close()
        pipeline, self._pipeline = self._pipeline, deque()
        self._transport = self._listener = None  # or we would hold ourselves
        for exchange in pipeline:
            exchange.abandon()

    def pause_writing(self) -> None:
        self._patience.stall()

    def resume_writing(self) -> None:
        self._patience.stalled_since = None
        self._go_on()

    # the server calls these

    def retire(self) -> None:
        """Close after the next answer; a connection that asks nothing stays meanwhile."""
        self._patience.retire()

    def shutdown(self) -> None:
        """Answer what has been read, in part or whole, then close."""
        self._is_leaving = True
        if self._transport is not None and not self._pipeline and not self._reader.unfinished:
            self._transport.close()

    # reading

    def _is_busy(self) -> bool:
        return bool(self._pipeline) or (self._respite.is_on and self._reader.unfinished)

    def _is_stopped(self) -> bool:
        is_full = len(self._pipeline) >= self._policy.max_pipeline_depth
        return is_full or self._respite.is_on or self._patience.stalled_since is not None

    def _begin(self, data: bytes) -> None:
        """Read with nothing else in hand: the common case, one request in one piece."""
        try:
            if (request := self._reader.whole(data)) is not None:
                self._take(*request)
                return
        except Exception as error:  # noqa: BLE001 - the outer ring
            self._reader.feed(data)  # `_refuse` asks what it was
            self._refuse(error)
            return
        self._reader.feed(data)
        self._advance()

    def _advance(self) -> None:
        """Start as many requests as are whole and may be read now."""
        self._is_reading = True
        reader, room = self._reader, self._policy.max_pipeline_depth
        try:
            while not self._is_last and not self._is_stopped():
                if room == 0 and reader.unfinished:
                    self._respite.turn()
                    break
                if (request := reader.take()) is None:
                    break
                self._take(*request)
                room -= 1
        except Exception as error:  # noqa: BLE001 - the outer ring
            self._refuse(error)
        finally:
            self._is_reading = False
        if not self._is_last and reader.unfinished:
            self._wait_for_more()
        if self._pipeline and self._pipeline[0].form is not None:
            self._loop.call_soon(self._follow)  # what stood before it was answered meanwhile

    def _hold(self, data: bytes) -> None:
        """Look at what came when it is our turn, and read no more until then."""
        try:
            self._reader.hold(data)
        except Overloaded as error:
            self._refuse(error)
        else:
            self._respite.queue()
            self._stop_reading()

    def _read_on(self) -> None:
        """Read again after a respite."""
        if self._transport is not None and not self._reader.unfinished:
            self._transport.resume_reading()  # whatever stands against it: no answer would
        self._go_on()

    def _wait_for_more(self) -> None:
        """Something unfinished is held: give the client its time, or make it wait."""
        if self._is_stopped():
            self._stop_reading()
        elif self._transport is not None and self._patience.begin(self._reader.stage()):
            self._permit_body()

    def _stop_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _permit_body(self) -> None:
        """Send the 100 that the client waits for, once its turn has come."""
        if not self._pipeline and self._transport is not None and self._reader.awaits_permission():
            self._transport.write(_CONTINUE)
            self._patience.began = Stage.BODY, self._clock()  # it could not send before

    def _take(self, head: Head, body: bytes | bytearray) -> None:
        """Start a whole request; its answer comes to `_hear`, perhaps before this returns."""
        self._patience.began = None
        self._is_last = not head.keeps_alive
        exchange = Exchange(head.request_id or self._intake.new_id(), self._listener)
        self._pipeline.append(exchange)
        now = self._clock()
        if now >= self._rotation.look_at:
            self._rotation.look(now)
        if head.fault is not None:
            exchange.is_bare = head.method == "HEAD"
            self._intake.refuse(exchange, head.fault, head.terms.meter)
        elif head.infer is not None:
            if (since := self._respite.since) is not None:
                since = max(since, now - silent_s(self._transport))
            self._intake.start(exchange, head.terms, head.infer, body, now, head.headers, since)
        else:
            answering = serve(self._port.app, self._transport, exchange, head, body)
            self._port.keep(self._loop.create_task(answering))
        form, reader = exchange.form, self._reader
        if form is not None and self._respite.pause(form.status, now, reader.unfinished):
            self._stop_reading()

    # answering

    def _hear(self, exchange: Exchange) -> None:
        """Write an answer if it is its turn; else it stays in the pipeline until it is."""
        pipeline, transport = self._pipeline, self._transport
        if transport is None or pipeline[0] is not exchange:
            return
        pipeline.popleft()
        exchange.send = None
        patience = self._patience
        patience.quiet_since = now = self._clock()
        if now >= patience.retire_at:
            self._is_leaving = True
        ends = (self._is_last or self._is_leaving) and not pipeline
        closes = ends and (self._is_last or not self._reader.unfinished)
        transport.write(exchange.render(closes))
        if closes:
            self._close()
            return
        if (pipeline or self._reader.unfinished) and not self._is_reading:
            self._follow()

    def _follow(self) -> None:
        """After an answer: write those that are ready, one by one, then read on."""
        pipeline, self._is_reading = self._pipeline, True  # who is heard now follows nobody
        try:
            while pipeline and pipeline[0].form is not None and self._transport is not None:
                self._hear(pipeline[0])
        finally:
            self._is_reading = False
        if self._reader.unfinished and (pipeline or not self._is_last):
            self._permit_body()
            self._go_on()

    def _go_on(self) -> None:
        """Read again, if nothing stands against it."""
        if self._transport is None or self._is_stopped():
            return
        self._transport.resume_reading()
        if not self._is_reading and not self._is_last:
            self._advance()

    def _refuse(self, error: Exception) -> None:
        """Answer a request that cannot be framed, in its turn, and read no further."""
        self._is_last = True
        self._discarded_bytes = 0
        exchange = Exchange(self._intake.new_id(), self._listener)
        exchange.is_bare = self._reader.holds_head_request()
        self._pipeline.append(exchange)
        self._intake.refuse(exchange, error, self._reader.meter())

    def _turn_away(self, refusal: Exception) -> None:
        """Say that it is one connection too many; if even these are many, say nothing."""
        if self._port.hears_out(self):
            self._refuse(refusal)
        elif self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        """Close in order: at once where all was read, else after listening a while."""
        if self._transport is None:
            return
        if self._discarded_bytes is None:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._patience.linger()

    def _lose_patience(self, verdict: Verdict) -> None:
        if self._transport is None:
            return
        began = self._patience.began
        if verdict is Verdict.LATE and began is not None:
            self._refuse(too_slow(began[0].name.lower(), self._patience.allowance_s(began[0])))
        elif verdict is Verdict.ABORT:
            self._transport.abort()
        else:
            self._transport.close()
            self._patience.linger()  # the transport waits for a client that may never read
