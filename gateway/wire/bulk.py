"""Bulk: JSON in which files lie as base64, read without holding up the whole process.

Job    take long texts out of a JSON text before it is read, and put them back.
Life   pure functions; for a thread beside the loop, which turns between any two steps.
Never  means by a text anything but what jsontext does.

Reading 22 MiB is one call of 20 ms, in which no other thread can run. So whatever lies
between two quotes, is long, and is base64 throughout, is taken out, and a mark put in its
place: the rest is read in no time. A mark is a word that nobody else knows, and is no JSON
outside of a text. So where the rest can be read, and has every mark for a whole text, each
of them stood for just such a text. Where not, nothing was to be taken out.
"""

import secrets
from collections.abc import Iterator, Mapping
from io import BytesIO

_LONG_BYTES = 16 << 10
_PIECE_BYTES = 256 << 10  # a tenth of a millisecond
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="

Body = bytes | bytearray
Files = Mapping[str, memoryview]  # what was taken out, by its mark, in its order


def without_files(text: Body) -> tuple[Body, Files]:
    """Return a JSON text with a mark for each long base64 text, and what these stand for."""
    word = secrets.token_hex(16)
    view = memoryview(text)
    files: dict[str, memoryview] = {}
    rest = bytearray()
    kept = 0
    for start, end in _long_texts(text):
        mark = f"~{word}.{len(files)}~"
        files[mark] = view[start:end]
        rest += view[kept:start]
        rest += mark.encode()
        kept = end
    if not files:
        return text, {}
    rest += view[kept:]
    return rest, files


def with_files(text: bytes, files: Files) -> bytes:
    """Return a JSON text, in which each mark stands once, with what was taken out."""
    whole = BytesIO()
    for mark in sorted(files, key=lambda one: text.index(one.encode())):
        before, _, text = text.partition(mark.encode())
        whole.write(before)
        for piece in pieces(files[mark], _PIECE_BYTES):
            whole.write(piece)
    whole.write(text)
    return whole.getvalue()


def pieces(view: memoryview, most_bytes: int) -> Iterator[memoryview]:
    """Yield all of a view in its order, so many bytes at a time."""
    for start in range(0, len(view), most_bytes):
        yield view[start : start + most_bytes]


def _long_texts(text: Body) -> Iterator[tuple[int, int]]:
    """Yield where each long run of base64 lies that has a quote on either side."""
    place = text.find(b'"') + 1
    while place and place + _LONG_BYTES <= len(text):
        quote = text.rfind(b'"', place, place + _LONG_BYTES)
        if quote >= 0:
            place = quote + 1
            continue
        end = text.find(b'"', place + _LONG_BYTES)
        if end < 0:
            return
        if all(_is_base64(one) for one in pieces(memoryview(text)[place:end], _PIECE_BYTES)):
            yield place, end
        place = end + 1


def _is_base64(piece: memoryview) -> bool:
    return not bytes(piece).translate(None, _BASE64)
