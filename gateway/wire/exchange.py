"""Exchange: one request of the data port and its one answer, whatever carries them.

Job    hold what the answer needs; hear the call's end; become the answer.
Life   made per request by the lane or by the ASGI app; `send` hears it once.
Never  raises: whatever goes wrong becomes an answer. This is wire's outer ring.

On the hot path an answer is no object of its own: `form` and `body` are set on the
exchange, and the lane renders them with one `write`.

What succeeds is counted by the batch, what does not by the exchange: when its call ends
with an error, and when the answer cannot be written. The second kind has been counted as
a success already, and stays one: the model did its work.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import ClientGone, GatewayError
from gateway.flow import Tally
from gateway.types import Arm, Call, Shape
from gateway.wire.decode import Limits, Wanted
from gateway.wire.encode import Encoder
from gateway.wire.failures import describe
from gateway.wire.forms import JSON, OCTETS, Form, Pairs, form
from gateway.wire.layouts import Layouts
from gateway.wire.quick import Quick, quick_of

_log = logging.getLogger(__name__)
_UNNAMED = GatewayError()
Send = Callable[["Exchange"], None]


class Writer(Protocol):
    """How another dialect answers; see wire/dialects."""

    def write(self, codec: "Codec", call: Call, request_id: str | None) -> tuple[bytes, Form]:
        """Return body and form of a call's answer. Raises: InvalidTensor."""


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Counts errors; those that we did not name are `internal`."""

    tally: Tally
    clock: Callable[[], float]

    def count(self, error: Exception, since: float, rows: int = 0) -> None:
        """Count a request that was read at `since`. Units: seconds on the clock."""
        named = error if isinstance(error, GatewayError) else _UNNAMED
        self.tally.refuse(named.code, self.clock() - since, rows)
        if named.shed is not None:
            self.tally.shed(named.shed)


@dataclass(frozen=True, slots=True, eq=False)
class Codec:
    """One arm's ways in and out, worked out once; `losses` are its own."""

    arm: Arm
    losses: Losses
    quick: Quick | None
    layouts: Layouts
    encoder: Encoder
    named: Pairs  # the headers that name version, variant and revision
    json_form: Form
    binary_form: Form
    row_shapes: tuple[Shape, ...]
    fall_back: "FallBack | None"  # None: there is no other arm to ask


FallBack = Callable[["Exchange", Call], bool]


def codec_of(
    arm: Arm,
    limits: Limits,
    losses: Losses,
    known: Codec | None = None,
    fall_back: FallBack | None = None,
) -> Codec:
    """Return the codec of an arm; `known` is one of the same version, which has learned already."""
    version, named = arm.version, _named(arm)
    return Codec(
        arm,
        losses,
        known.quick if known else quick_of(version, limits),
        known.layouts if known else Layouts(version),
        known.encoder if known else Encoder(version),
        named,
        form(200, (JSON, *named)),
        form(200, (OCTETS, *named)),
        tuple(spec.shape[1:] for spec in version.signature.inputs),
        fall_back,
    )


def _named(arm: Arm) -> Pairs:
    version = (b"x-gateway-version", arm.version.version.encode())
    if arm.variant is None:
        return (version,)
    variant = (b"x-gateway-variant", arm.variant.encode())
    return (version, variant, (b"x-gateway-revision", b"%d" % arm.revision))


class Exchange:
    """One request on its way to one answer.

    Before the answer `form` is None. `more` are headers of this answer alone; `is_bare`
    says that it answers a HEAD: the body is counted, not sent.
    """

    __slots__ = (
        "body", "call", "codec", "form", "id", "is_bare", "manner", "more", "request_id", "send",
    )  # fmt: skip

    def __init__(self, request_id: bytes, send: Send | None) -> None:
        self.request_id = request_id
        self.send = send  # None: nobody listens, or not any more
        self.codec: Codec | None = None
        self.call: Call | None = None
        self.id: str | None = None  # the one inside the body
        # None: every output, as V2 JSON; else what V2 asked for, or another dialect's writer
        self.manner: tuple[Wanted, ...] | Writer | None = None
        self.form: Form | None = None
        self.body = b""
        self.more: Pairs = ()
        self.is_bare = False

    def settle(self, call: Call) -> None:
        """Hear the call's end, count it if it was lost, and answer if anybody listens."""
        self.call = None  # or the two would hold each other until a collection
        codec = self.codec
        assert codec is not None
        send = self.send
        if call.error is not None:
            codec.losses.count(call.error, call.arrived, call.rows)
            if send is None or (codec.fall_back is not None and codec.fall_back(self, call)):
                return
            self.refuse(call.error)
            return
        if send is None:
            return
        try:
            manner = self.manner
            if manner is None:
                self.body = codec.encoder.json(call, self.id)
                self.form = codec.json_form
            elif isinstance(manner, tuple):
                self._answer_mixed(codec, call, manner)
            else:
                self.body, self.form = manner.write(codec, call, self.id)
        except Exception as error:  # noqa: BLE001 - the outer ring
            codec.losses.count(error, call.arrived)
            self.refuse(error)
        else:
            send(self)

    def refuse(self, error: Exception) -> None:
        """Answer with what went wrong; the version is named where one was chosen."""
        if not isinstance(error, GatewayError):
            _log.error("a request failed in a way we did not name", exc_info=error)
        status, body, headers = describe(error, self.request_id.decode("ascii"))
        pairs: Pairs = tuple((name.encode(), value.encode("latin-1")) for name, value in headers)
        if self.codec is not None:
            pairs = (*self.codec.named, *pairs)
        self.answer(form(status, (JSON, *pairs)), body)

    def answer(self, form: Form, body: bytes) -> None:
        """Answer in `form`, unless nobody listens."""
        self.form, self.body = form, body
        if self.send is not None:
            self.send(self)

    def abandon(self) -> None:
        """Drop the call, because the client left; the answer goes nowhere."""
        self.send = None
        if self.call is not None:
            self.call.fail(ClientGone("the client closed the connection"))

    def pairs(self) -> Pairs:
        """Return the answer's headers, in the order in which `render` writes them."""
        fixed = () if self.form is None else self.form.pairs
        length = (b"content-length", b"%d" % len(self.body))
        return (*fixed, (b"x-request-id", self.request_id), *self.more, length)

    def render(self, closes: bool) -> bytes:
        """Return the whole answer: one buffer, so that it is one write."""
        form, body = self.form, self.body
        assert form is not None
        if not (closes or self.more or self.is_bare) and body:
            return b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (
                form.lines,
                self.request_id,
                len(body),
                body,
            )
        lines = [form.lines, self.request_id, b"\r\n"]
        lines += [b"%b: %b\r\n" % pair for pair in self.more]
        if closes:
            lines.append(b"connection: close\r\n")
        if form.has_body:
            lines.append(b"content-length: %d\r\n" % len(body))
        return b"".join([*lines, b"\r\n", b"" if self.is_bare else body])

    def _answer_mixed(self, codec: Codec, call: Call, wanted: tuple[Wanted, ...]) -> None:
        self.body, json_length = codec.encoder.mixed(call, self.id, wanted)
        self.form = codec.json_form
        if json_length is not None:
            self.form = codec.binary_form
            self.more = ((b"inference-header-content-length", b"%d" % json_length),)
