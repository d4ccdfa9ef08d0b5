"""Reader: bytes in, whole requests out.

Job    frame the requests of one connection, however their bytes are cut up.
Life   one per connection; pure: it does no I/O and reads no clock.
Never  holds more than one unfinished request beyond what it was fed last, nor all readers
       together more than there is room for.

The common case, one request in one piece, is one search, one look-up of the head by its
bytes and two slices: `whole`. A body that is not whole yet is collected apart, so that
memory and time grow with its bytes and not with the number of its pieces.
"""

from enum import Enum, auto

from gateway.errors import Forbidden, GatewayError, Overloaded, Unauthenticated
from gateway.wire.chunks import ChunkDecoder
from gateway.wire.failures import too_large
from gateway.wire.heads import Head, HeadCache, HeadLimits, check_unfinished
from gateway.wire.meters import Meter

_BLANK_LINE = b"\r\n\r\n"
Request = tuple[Head, bytes | bytearray]


_STRANGERS = (Unauthenticated, Forbidden)
_FREE_BYTES = 65536  # that any unfinished request may hold
_MOST_OF_STRANGERS_BYTES = 65536  # read to keep the connection, though nobody looks at them


class Stage(Enum):
    """Where the unfinished request stands."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


class _FixedBody:
    """A body of known length that did not come whole."""

    __slots__ = ("_length", "body", "done")

    def __init__(self, length: int) -> None:
        self._length = length
        self.body = bytearray()
        self.done = not length

    def feed(self, data: bytes | memoryview) -> int:
        """Take what belongs to the body; return how much that was."""
        taken = data[: self._length - len(self.body)]
        self.body += taken
        self.done = len(self.body) == self._length
        return len(taken)


class Room:
    """How much all unfinished requests of a replica may hold.

    Mutable state: how much they do.
    """

    __slots__ = ("held_bytes", "most_bytes")

    def __init__(self, most_bytes: int) -> None:
        self.held_bytes = 0
        self.most_bytes = most_bytes


class Reader:
    """The requests that come out do not depend on how the bytes were cut up."""

    __slots__ = (
        "_at", "_data", "_doubtful_bytes", "_heads", "_held_bytes", "_limits", "_max_body_bytes",
        "_open", "_room", "_searched", "unfinished",
    )  # fmt: skip

    def __init__(
        self, heads: HeadCache, limits: HeadLimits, max_body_bytes: int, room: Room
    ) -> None:
        """`room` is shared by all readers of a replica."""
        self._room = room
        self._held_bytes = 0  # of the room
        self._heads = heads
        self._limits = limits
        self._max_body_bytes = max_body_bytes
        self._doubtful_bytes = min(max_body_bytes, _MOST_OF_STRANGERS_BYTES)
        self._data: bytes | bytearray = b""
        self._at = 0  # what stands before it in `_data` has been taken
        self._searched = 0  # so far beyond `_at` there is no blank line
        self._open: tuple[Head, _FixedBody | ChunkDecoder] | None = None
        self.unfinished = False  # something is held that was not taken

    def whole(self, data: bytes) -> Request | None:
        """Return the request that `data` is, exactly; None if it is more, less or late.

        Raises: Refused.
        """
        if self.unfinished:
            return None
        end = data.find(_BLANK_LINE) + 4
        if end < 4:
            return None
        head = self._heads.get(data[:end]) if data[0] > 32 else None
        if head is None or head.is_chunked or end + head.length != len(data):
            return None
        if head.length > self._doubtful_bytes and self._why_unread(head) is not None:
            return None  # `take` refuses it
        return head, data[end:]

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        self.unfinished = True
        if not self._data:
            self._data = data
        else:
            if not isinstance(self._data, bytearray):
                self._data = bytearray(self._data)
            self._data += data

    def hold(self, data: bytes) -> None:
        """Add what arrived and is not looked at yet. Raises: Overloaded; nothing is read then."""
        self.feed(data)
        self._take_room(is_waiting=True)

    def take(self) -> Request | None:
        """Return the next whole request, or None until more is fed.

        Raises: Refused, TooLarge; Unauthenticated or Forbidden, before a body that is not
        worth its bytes; Overloaded, where there is no room for it; nothing can be read after
        that.
        """
        request = self._fill(*self._open) if self._open is not None else self._next()
        if self._at == len(self._data):
            self._data, self._at = b"", 0
        elif request is None and self._at:
            self._data, self._at = self._data[self._at :], 0
        self.unfinished = bool(self._data) or self._open is not None
        if self.unfinished or self._held_bytes:
            self._take_room(request is None)
        return request

    def close(self) -> None:
        """Let go of what is held; nothing more will be read."""
        self._data, self._at = b"", 0
        if self._open is not None:
            self._open[1].body.clear()
        self._room.held_bytes -= self._held_bytes
        self._held_bytes = 0

    def _take_room(self, is_waiting: bool) -> None:
        """Take as much room as is held now. Who waits for more than a large head's worth must
        find it: else many who send slowly could hold all memory there is.
        """
        held_bytes = len(self._data) - self._at + (len(self._open[1].body) if self._open else 0)
        room = self._room
        room.held_bytes += held_bytes - self._held_bytes
        self._held_bytes = held_bytes
        if is_waiting and room.held_bytes > room.most_bytes and held_bytes > _FREE_BYTES:
            self.close()
            raise Overloaded(
                f"no room for more of this request: unfinished ones hold {room.most_bytes} bytes "
                "(limits.max_unfinished_bytes)",
                shed="bytes",
            )

    def stage(self) -> Stage:
        """Say what of an unfinished request is held."""
        if self._open is not None:
            return Stage.BODY
        return Stage.HEAD if self._data else Stage.NOTHING

    def awaits_permission(self) -> bool:
        """Say whether the client waits for a 100 before it sends the body."""
        return self._open is not None and self._open[0].expects_continue and not self._open[1].body

    def meter(self) -> Meter | None:
        """Return the meter of who sends the unfinished request; None: no quota, or no head yet."""
        return None if self._open is None else self._open[0].terms.meter

    def holds_head_request(self) -> bool:
        """Say whether the unfinished request is a HEAD: its refusal has no body either."""
        if self._open is not None:
            return self._open[0].method == "HEAD"
        return self._data.startswith(b"HEAD ", self._at)

    def _next(self) -> Request | None:
        data = self._data
        while data.startswith(b"\r\n", self._at):  # RFC 9112, section 2.2: skip empty lines
            self._at += 2
        end = data.find(_BLANK_LINE, self._at + self._searched)
        if end < 0:
            start = data[self._at :] if self._at else data  # no copy for each piece
            check_unfinished(start, self._limits, self._searched)
            self._searched = max(0, len(start) - 3)
            return None
        self._searched = 0
        head = self._heads.get(bytes(data[self._at : end + 4]))
        self._at = end + 4
        body = ChunkDecoder(self._max_body_bytes) if head.is_chunked else _FixedBody(head.length)
        self._open = head, body  # before it is judged: a refusal counts against a quota
        if (why := self._why_unread(head)) is not None:
            raise why
        return self._fill(head, body)

    def _why_unread(self, head: Head) -> GatewayError | None:
        """Return what a body is refused with that is not worth its bytes; None: it is read.

        Who may not ask is read out only if that costs no more than another head, and the
        client does not wait to hear whether to send it.
        """
        if head.length > self._max_body_bytes:
            return too_large(head.length, self._max_body_bytes)
        if not isinstance(head.fault, _STRANGERS):
            return None
        is_long = head.length > _MOST_OF_STRANGERS_BYTES or head.is_chunked
        return head.fault if is_long or head.expects_continue else None

    def _fill(self, head: Head, body: _FixedBody | ChunkDecoder) -> Request | None:
        with memoryview(self._data) as view:
            self._at += body.feed(view[self._at :])
        if not body.done:
            return None
        self._open = None
        return head, body.body
