"""Chunks: the decoder of chunked bodies.

Job    take the bytes of a chunked body in any pieces and give the body.
Life   one for each chunked body; `done` after the last trailer's line.
Never  keeps anything but the body and one unfinished line; never merges a trailer.

    SIZE -- size line, > 0 --> DATA -- all of it --> DATA_END -- CRLF --> SIZE
    SIZE -- size line, = 0 --> TRAILER -- empty line --> done

A piece is looked at once, whatever its size, and never copied but for the body: a sender
of single bytes costs no more than his bytes, nor do the requests behind this body cost
anything. Chunks that are whole in their piece are taken in one loop.
"""

import re
from enum import Enum, auto

from gateway.wire.failures import Refused, too_large
from gateway.wire.grammar import FIELD
from gateway.wire.paths import quoted

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:;[\t -~\x80-\xff]*+)?)\r\n")
_LINE_END = re.compile(rb"\n")
_MAX_SIZE_DIGITS = 16
_MAX_EXTENSION_BYTES = 4096  # of all the chunks of one body
_MAX_TRAILER_BYTES = 8192  # of all trailers
# A trailer of such a name wants to be read as framing by somebody behind or before us.
_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"host"))


class _State(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()


class ChunkDecoder:
    """One chunked body; `body` is whole when `done`.

    After an error was raised the decoder must not be fed again.
    Source: RFC 9112, section 7.1; stricter: no white space around an extension.
    """

    def __init__(self, max_body_bytes: int, max_chunks: int = 65536) -> None:
        """Units: `max_chunks` counts those that are not empty."""
        self.body = bytearray()
        self.done = False
        self._max_body_bytes = max_body_bytes
        self._max_chunks = max_chunks
        self._state = _State.SIZE
        self._line = bytearray()  # a size line, the end of a chunk, or a trailer
        self._left_bytes = 0  # of the chunk's data
        self._chunks = 0
        self._extension_bytes = 0
        self._trailer_bytes = 0

    def feed(self, data: bytes | bytearray | memoryview) -> int:
        """Take what belongs to this body and return how many bytes that was.

        Raises: Refused, for anything malformed; TooLarge, when a chunk would exceed.
        """
        view = memoryview(data)
        position = 0
        while position < len(view) and not self.done:
            if self._state is _State.DATA:
                position = self._take_data(view, position)
            elif (after := self._take_chunks(view, position)) > position:
                position = after
            else:
                position = self._take_line(view, position)
        return position

    def _take_chunks(self, view: memoryview, start: int) -> int:
        """Take the chunks that are whole, and the size line of the next if that is."""
        if self._state is not _State.SIZE or self._line:
            return start
        while found := _SIZE_LINE.match(view, start):
            start = found.end()
            self._read_size(found)
            end = start + self._left_bytes
            if not self._left_bytes or bytes(view[end : end + 2]) != b"\r\n":
                break
            self.body += view[start:end]
            self._state = _State.SIZE
            start = end + 2
        return start

    def _take_data(self, view: memoryview, start: int) -> int:
        end = min(len(view), start + self._left_bytes)
        self.body += view[start:end]
        self._left_bytes -= end - start
        if not self._left_bytes:
            self._state = _State.DATA_END
        return end

    def _take_line(self, view: memoryview, start: int) -> int:
        """Take up to the end of the line, and read it if that has come."""
        found = _LINE_END.search(view, start)
        end = found.end() if found else len(view)
        self._line += view[start:end]
        self._check_line()
        if found:
            line = bytes(self._line)
            self._line.clear()
            self._read_line(line)
        return end

    def _check_line(self) -> None:
        """Refuse a line that is too long, finished or not."""
        size = len(self._line)
        match self._state:
            case _State.SIZE:
                spare = _MAX_EXTENSION_BYTES - self._extension_bytes
                if size > _MAX_SIZE_DIGITS + spare + len(b"\r\n"):
                    raise Refused(400, "chunked body: a chunk's size or extensions are too long")
            case _State.DATA_END:
                if not b"\r\n".startswith(self._line):
                    raise Refused(400, "chunked body: expected CRLF after a chunk's data")
            case _:
                if size + self._trailer_bytes > _MAX_TRAILER_BYTES:
                    raise Refused(
                        400, f"chunked body: expected at most {_MAX_TRAILER_BYTES} trailer bytes"
                    )

    def _read_line(self, line: bytes) -> None:
        match self._state:
            case _State.SIZE:
                size = _SIZE_LINE.fullmatch(line)
                if size is None:
                    raise Refused(
                        400, f"chunked body: expected a size in hex and CRLF, got {quoted(line)}"
                    )
                self._read_size(size)
            case _State.DATA_END:
                self._state = _State.SIZE
            case _:
                self._read_trailer(line)

    def _read_size(self, found: re.Match[bytes]) -> None:
        self._extension_bytes += len(found[2])
        if self._extension_bytes > _MAX_EXTENSION_BYTES:
            raise Refused(
                400, f"chunked body: expected at most {_MAX_EXTENSION_BYTES} extension bytes"
            )
        self._left_bytes = int(found[1], 16)
        if not self._left_bytes:
            self._state = _State.TRAILER
            return
        self._state = _State.DATA
        self._chunks += 1
        if self._chunks > self._max_chunks:
            raise Refused(
                400, f"Chunked request body exceeds maximum of {self._max_chunks} non-empty chunks"
            )
        size_bytes = len(self.body) + self._left_bytes
        if size_bytes > self._max_body_bytes:
            raise too_large(size_bytes, self._max_body_bytes)

    def _read_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if line == b"\r\n":
            self.done = True
            return
        found = FIELD.fullmatch(line)
        if found is None or found[1].lower() in _FRAMING:
            raise Refused(400, f"chunked body: not a trailer: {quoted(line)}")
