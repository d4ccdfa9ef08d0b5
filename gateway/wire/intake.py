"""Intake: from a request's headers and body to a call in the flow.

Job    find the version, read the tensors, set the deadline and the rank.
Life   one per replica, shared by the lane and the ASGI app: equal answers.
Never  lets a request through that does not fit its model.
"""

import itertools
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.core.routing import Pairs
from gateway.errors import ClientGone, QuotaExceeded
from gateway.flow import Flow, Tally
from gateway.types import Arm, Call, Version
from gateway.wire.choosing import Choosing, Request
from gateway.wire.decode import Limits, Reading, decode, decode_request
from gateway.wire.dialects.reading import Dialects
from gateway.wire.encode import refuse_unwritable
from gateway.wire.exchange import Codec, Exchange, Losses, codec_of
from gateway.wire.failures import waited_unread
from gateway.wire.meters import Meter
from gateway.wire.paths import Dialect, InferTarget
from gateway.wire.terms import Terms
from gateway.wire.unpacking import Body, Unpack, unpack_at_once


@dataclass(frozen=True, slots=True)
class Policy:
    """What a request may ask for, and what it gets unasked.

    `v1` is in whose words a column of V1 is answered.
    """

    default_deadline_s: float = 10.0
    priority_levels: int = 4
    default_priority: int = 2
    v1: Literal["kserve", "tfserving"] = "kserve"
    limits: Limits = field(default_factory=Limits)

    def rank(self, priority: int) -> int:
        """Return the level that `priority` means: 0, or one below the lowest, is the default."""
        return priority if 0 < priority <= self.priority_levels else self.default_priority


class Intake:
    """Every request started is answered once, through its exchange.

    A request that is refused or fails is counted once: by the arm that was chosen, else by
    the replica. One that failed on an arm and was answered by another is counted by both.

    Mutable state: `_codecs` (one per arm asked for and still kept), `_tallies` and the id
    counter.
    """

    def __init__(
        self,
        flow: Flow,
        policy: Policy,
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
        unpack: Unpack = unpack_at_once,
    ) -> None:
        """`tally` counts what is refused before an arm is chosen.

        Units: `clock` gives the monotonic seconds that `start` is told as well.
        """
        self._flow = flow
        self._policy = policy
        self._losses = Losses(tally, clock)
        self._unpack = unpack
        self._choosing = Choosing(flow, policy.limits)
        self._dialects = Dialects(policy.limits, policy.v1)
        self._tallies: Mapping[Arm, Tally] = {}
        self._default_rank = policy.rank(0)
        self._simd_from_bytes = policy.limits.simd_from_bytes
        self._codecs: dict[Arm, Codec] = {}
        self._by_version: dict[Version, Codec] = {}  # one that has learned, of each
        self._id_prefix = secrets.token_hex(6).encode() + b"-"
        self._ids = itertools.count(1)

    def new_id(self) -> bytes:
        """Return a request id that nobody had before."""
        return b"%b%x" % (self._id_prefix, next(self._ids))

    def keep(self, tallies: Mapping[Arm, Tally]) -> None:
        """Count each arm's losses in its own tally; forget all other arms."""
        self._tallies = tallies
        codecs = self._codecs.items()
        self._codecs = {a: one for a, one in codecs if tallies.get(a) is one.losses.tally}
        kept = {arm.version for arm in tallies}
        self._by_version = {one: codec for one, codec in self._by_version.items() if one in kept}

    def refuse(self, exchange: Exchange, error: Exception, meter: Meter | None = None) -> None:
        """Answer a request that could not be read, and count it by the replica.

        It counts against the quota of who asks, too: if he is over it he hears that instead.
        """
        now = self._losses.clock()
        try:
            if meter is not None:
                meter.take(now)
        except QuotaExceeded as over:
            error = over.with_traceback(None)  # else it and this frame would hold each other
        self._losses.count(error, now)
        exchange.refuse(error)

    def start(
        self,
        exchange: Exchange,
        terms: Terms,
        target: InferTarget,
        body: Body,
        now: float,
        headers: Pairs = (),
        since: float | None = None,
    ) -> None:
        """Have the flow answer it once, soon or now; `since` when it may have waited unread."""
        try:
            arm = request = read = None
            if terms.meter is not None:
                terms.meter.take(now)
            terms = terms if since is None else self._aged(terms, now - since)
            if target.version is None and terms.pin is None:
                arm = self._flow.usual.get(target.model)
                if arm is None and terms.coding is None:
                    arm = self._flow.drawn(target.model)
            if arm is None:
                chosen = self._choosing.choose(terms, target, body, headers)
                if chosen is None:
                    self._unpack_first(exchange, terms, target, body, now, headers)
                    return
                arm, request = chosen
            exchange.codec = codec = self._codecs.get(arm) or self._codec_of(arm)
            if terms.is_plain:
                if request is None and codec.quick and len(body) < self._simd_from_bytes:
                    read = codec.quick.read(body)
            elif terms.coding is not None:
                self._unpack_first(exchange, terms, target, body, now, headers)
                return
            if read is None:
                call = self._decode(exchange, codec, terms, body, now, request)
            else:
                payload, rows, exchange.id = read
                rank = self._policy.rank(terms.priority) if terms.priority else self._default_rank
                call = Call(
                    arm, (payload,), rows, codec.row_shapes, exchange.settle,
                    now + self._budget_s(terms), rank, now, len(body),
                )  # fmt: skip
            exchange.call = call
            self._flow.infer(call)
        except Exception as error:  # noqa: BLE001 - the outer ring
            self._give_up(exchange, error, now)

    def _aged(self, terms: Terms, waited_s: float) -> Terms:
        """Return the terms of a request that waited before anybody read it, for the time that is
        left; a time that its body names runs from now. Raises: DeadlineExceeded.
        """
        budget_s = self._budget_s(terms)
        if waited_s >= budget_s:
            raise waited_unread(budget_s, waited_s)
        return replace(terms, timeout_s=budget_s - waited_s)

    def _unpack_first(
        self,
        exchange: Exchange,
        terms: Terms,
        target: InferTarget,
        body: Body,
        now: float,
        headers: Pairs,
    ) -> None:
        """Start again with what the body holds, if somebody still waits for the answer."""
        assert terms.coding is not None
        unpacked = replace(terms, coding=None, meter=None)  # it has been counted

        def go_on(held: Body | Exception) -> None:
            if exchange.send is None:
                self._give_up(exchange, ClientGone("the client closed the connection"), now)
            elif isinstance(held, Exception):
                self._give_up(exchange, held, now)
            else:
                self.start(exchange, unpacked, target, held, now, headers)

        self._unpack(body, terms.coding, go_on)

    def _codec_of(self, arm: Arm) -> Codec:
        own = self._tallies.get(arm)
        losses = self._losses if own is None else Losses(own, self._losses.clock)
        known = self._by_version.get(arm.version)
        fall_back = None if arm.fallback is None else self._fall_back
        codec = codec_of(arm, self._policy.limits, losses, known, fall_back)
        self._codecs[arm] = self._by_version[arm.version] = codec
        return codec

    def _fall_back(self, exchange: Exchange, call: Call) -> bool:
        """Give a call that failed to another arm, and say whether there is one."""
        again = self._flow.fall_back(call)
        if again is None or call.deadline <= self._losses.clock():
            return False
        assert exchange.codec is not None
        exchange.codec.losses.tally.fell_back()
        try:
            exchange.codec = self._codecs.get(again.arm) or self._codec_of(again.arm)
            exchange.call = again
            self._flow.infer(again)
        except Exception as error:  # noqa: BLE001 - the outer ring: a batch hears nothing of it
            self._give_up(exchange, error, again.arrived)
        return True

    def _give_up(self, exchange: Exchange, error: Exception, now: float) -> None:
        """Answer a request that was not handed over in order.

        It was refused before there was a call; or the flow broke, and its call must not be
        answered any more; or it has been answered and counted, and that went wrong.
        """
        if exchange.call is not None:
            exchange.call.fail(error)
            return
        if exchange.form is None:
            losses = self._losses if exchange.codec is None else exchange.codec.losses
            losses.count(error, now)
        exchange.refuse(error)

    def _decode(
        self,
        exchange: Exchange,
        codec: Codec,
        terms: Terms,
        body: Body,
        now: float,
        request: Request | None,
    ) -> Call:
        """Read a request of any kind. Raises: Malformed, InvalidTensor, Refused."""
        if terms.dialect is Dialect.V2:
            reading = self._read(codec, terms, body, request)
            if reading.wanted != codec.encoder.everything:
                exchange.manner = reading.wanted
        else:
            reading, exchange.manner = self._dialects.read(body, terms, codec.arm.version)
        exchange.id = reading.id
        budget_s = self._budget_s(terms)
        if reading.timeout_us:
            budget_s = min(budget_s, reading.timeout_us / 1e6)
        return Call(
            codec.arm,
            reading.payloads,
            reading.rows,
            reading.shapes,
            exchange.settle,
            now + budget_s,
            self._policy.rank(reading.priority or terms.priority),
            now,
            len(body),
        )

    def _read(self, codec: Codec, terms: Terms, body: Body, request: Request | None) -> Reading:
        """Read a V2 request, whose JSON may be parsed already. Raises: Malformed, InvalidTensor."""
        length, limits, version = terms.json_length, self._policy.limits, codec.arm.version
        if request is not None:
            reading = decode_request(request, body, length, version, limits)
            refuse_unwritable(version, reading.wanted)
            return reading
        known = None if length is None else codec.layouts.read(body, length)
        if known is not None:
            return known
        reading = decode(body, length, version, limits)
        refuse_unwritable(version, reading.wanted)
        if length is not None:
            codec.layouts.learn(body, length, reading)
        return reading

    def _budget_s(self, terms: Terms) -> float:
        """Return the seconds the request may take: what it asks for, at most the default."""
        most = self._policy.default_deadline_s
        return most if terms.timeout_s is None or terms.timeout_s > most else terms.timeout_s
