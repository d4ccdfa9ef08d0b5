"""Bulk: JSON in which files lie as base64, read without holding up the whole process.

Job    take long base64 texts out of a JSON text, so that the rest is quickly read.
Life   pure; for a thread beside the loop, which turns between any two steps.
Never  means by a text anything but what jsontext does.

Reading 22 MiB is one call of 20 ms or more, in which no other thread runs. So whatever lies
between two quotes, is long, and is base64 throughout, is taken out, and a mark put in its
place. A mark is a word that nobody else knows, and is no JSON outside of a text. So where
the rest can be read and has each mark for a whole text, just such a text stood there.
Where not, nothing was to be taken out: whoever asked reads the whole.
"""

import secrets
from collections.abc import Iterator, Mapping
from io import BytesIO

_LONG_BYTES = 16 << 10
_PIECE_BYTES = 256 << 10  # a tenth of a millisecond
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="

Files = Mapping[str, memoryview]  # what was taken out, by its mark


def without_files(text: bytes | bytearray) -> tuple[bytearray, Files]:
    """Return a JSON text with a mark for each long base64 text, and what these stand for."""
    word = secrets.token_hex(16)
    view = memoryview(text)
    files: dict[str, memoryview] = {}
    rest = bytearray()
    kept = 0
    for start, end in _long_texts(view):
        mark = f"~{word}.{len(files)}~"
        files[mark] = view[start:end]
        rest += view[kept:start]
        rest += mark.encode()
        kept = end
    rest += view[kept:]
    return rest, files


def as_bytes(text: bytes | bytearray) -> bytes:
    """Return a text as one that does not change."""
    if isinstance(text, bytes):
        return text
    copy = BytesIO(bytes(len(text)))  # zeros cost nothing, and are never copied
    for piece in _pieces(memoryview(text)):
        copy.write(piece)
    return copy.getvalue()


def _long_texts(view: memoryview) -> Iterator[tuple[int, int]]:
    """Yield where each long run of base64 lies that has a quote on either side."""
    place = _quote_from(view, 0) + 1
    while place and place + _LONG_BYTES <= len(view):
        quote = bytes(view[place : place + _LONG_BYTES]).rfind(b'"')
        if quote >= 0:
            place += quote + 1
            continue
        end = _quote_from(view, place + _LONG_BYTES)
        if end < 0:
            return
        if all(not piece.translate(None, _BASE64) for piece in _pieces(view[place:end])):
            yield place, end
        place = end + 1


def _quote_from(view: memoryview, start: int) -> int:
    """Return where the first quote at or after `start` is, -1 if there is none."""
    for number, piece in enumerate(_pieces(view[start:])):
        quote = piece.find(b'"')
        if quote >= 0:
            return start + number * _PIECE_BYTES + quote
    return -1


def _pieces(view: memoryview) -> Iterator[bytes]:
    for start in range(0, len(view), _PIECE_BYTES):
        yield bytes(view[start : start + _PIECE_BYTES])
