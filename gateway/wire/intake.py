"""Intake: from a request's headers and body to a call in the flow.

Job    find the version, read the tensors, set the deadline and the rank.
Life   one per replica, shared by the lane and the ASGI app: equal answers.
Never  lets a request through that does not fit its model.
"""

import itertools
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.flow import Flow
from gateway.types import Call, Version
from gateway.wire.decode import Limits, decode
from gateway.wire.encode import refuse_unwritable
from gateway.wire.exchange import Codec, Exchange, Losses, Tally, codec_of
from gateway.wire.paths import InferTarget

Body = bytes | bytearray


class Asked(Protocol):
    """What the headers of a request ask for; a Head and Terms both say it."""

    @property
    def timeout_s(self) -> float | None: ...
    @property
    def priority(self) -> int: ...
    @property
    def json_length(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """What a request may ask for, and what it gets unasked."""

    default_deadline_s: float = 10.0
    priority_levels: int = 4
    default_priority: int = 2
    limits: Limits = field(default_factory=Limits)

    def rank(self, priority: int) -> int:
        """Return the level that `priority` means: 0, or one below the lowest, is the default."""
        return priority if 0 < priority <= self.priority_levels else self.default_priority


class Intake:
    """Every request started is answered once, through its exchange.

    A request that is refused or fails is counted once: by the version that was chosen,
    else by the replica.

    Mutable state: `_codecs` (one per version asked for and still kept), `_tallies` and the
    id counter.
    """

    def __init__(
        self,
        flow: Flow,
        policy: Policy,
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tally` counts what is refused before a version is chosen.

        Units: `clock` gives the monotonic seconds that `start` is told as well.
        """
        self._flow = flow
        self._policy = policy
        self._losses = Losses(tally, clock)
        self._tallies: Mapping[Version, Tally] = {}
        self._default_rank = policy.rank(0)
        self._simd_from_bytes = policy.limits.simd_from_bytes
        self._codecs: dict[Version, Codec] = {}
        self._id_prefix = secrets.token_hex(6).encode() + b"-"
        self._ids = itertools.count(1)

    def new_id(self) -> bytes:
        """Return a request id that nobody had before."""
        return b"%b%x" % (self._id_prefix, next(self._ids))

    def keep(self, tallies: Mapping[Version, Tally]) -> None:
        """Count each version's losses in its own tally; forget all other versions."""
        self._tallies = tallies
        self._codecs = {
            version: codec
            for version, codec in self._codecs.items()
            if tallies.get(version) is codec.losses.tally
        }

    def refuse(self, exchange: Exchange, error: Exception) -> None:
        """Answer a request that could not be read, and count it by the replica."""
        self._losses.count(error, self._losses.clock())
        exchange.refuse(error)

    def start(
        self, exchange: Exchange, asked: Asked, target: InferTarget, body: Body, now: float
    ) -> None:
        """Hand the request to the flow; it is answered once, perhaps before this returns."""
        try:
            version = self._flow.find(target.model, target.version)
            codec = self._codecs.get(version)
            if codec is None:
                codec = self._codecs[version] = self._codec_of(version)
            exchange.codec = codec
            read = None
            if (
                codec.quick is not None
                and asked.json_length is None
                and len(body) < self._simd_from_bytes
            ):
                read = codec.quick.read(body)
            if read is None:
                call = self._decode(exchange, codec, asked, body, now)
            else:
                payload, rows, exchange.id = read
                call = Call(
                    version,
                    (payload,),
                    rows,
                    codec.row_shapes,
                    exchange.settle,
                    now + self._budget_s(asked),
                    self._policy.rank(asked.priority) if asked.priority else self._default_rank,
                    now,
                )
            exchange.call = call
            self._flow.infer(call)
        except Exception as error:  # noqa: BLE001 - the outer ring
            self._give_up(exchange, error, now)

    def _codec_of(self, version: Version) -> Codec:
        own = self._tallies.get(version)
        losses = self._losses if own is None else Losses(own, self._losses.clock)
        return codec_of(version, self._policy.limits, losses)

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
        self, exchange: Exchange, codec: Codec, asked: Asked, body: Body, now: float
    ) -> Call:
        """Read a request of any kind. Raises: Malformed, InvalidTensor."""
        length = asked.json_length
        reading = None if length is None else codec.layouts.read(body, length)
        if reading is None:
            reading = decode(body, length, codec.version, self._policy.limits)
            refuse_unwritable(codec.version, reading.wanted)
            if length is not None:
                codec.layouts.learn(body, length, reading)
        exchange.id = reading.id
        if reading.wanted != codec.encoder.everything:
            exchange.wanted = reading.wanted
        budget_s = self._budget_s(asked)
        if reading.timeout_us:
            budget_s = min(budget_s, reading.timeout_us / 1e6)
        return Call(
            codec.version,
            reading.payloads,
            reading.rows,
            reading.shapes,
            exchange.settle,
            now + budget_s,
            self._policy.rank(reading.priority or asked.priority),
            now,
        )

    def _budget_s(self, asked: Asked) -> float:
        """Return the seconds the request may take: what it asks for, at most the default."""
        most = self._policy.default_deadline_s
        return most if asked.timeout_s is None or asked.timeout_s > most else asked.timeout_s
