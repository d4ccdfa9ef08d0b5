"""Codings: bodies that come compressed.

Job    know the codings that we read; unpack a body, no further than the limit.
Life   pure functions.
Never  trusts a size that a body gives of itself: a bomb of 64 KiB is 64 MiB.

Source: RFC 9110, section 8.4.1; `deflate` has its zlib wrapper, as written there.
"""

import zlib
from enum import Enum

from gateway.errors import Malformed
from gateway.wire.failures import Refused, too_large
from gateway.wire.paths import quoted

_MOST_MEMBERS = 1024  # of one gzip body; each costs a decompressor


class Coding(Enum):
    """How a body may be packed; the value is zlib's name for its wrapper."""

    GZIP = 16 + zlib.MAX_WBITS
    DEFLATE = zlib.MAX_WBITS


_NAMES = {b"gzip": Coding.GZIP, b"x-gzip": Coding.GZIP, b"deflate": Coding.DEFLATE}


def read_coding(value: bytes) -> Coding | None:
    """Return the coding that a Content-Encoding names; None: the body comes as it is.

    Raises: Refused 415, for any other, and for two at once.
    """
    names = [name for one in value.lower().split(b",") if (name := one.strip())]
    coded = [name for name in names if name != b"identity"]
    if not coded:
        return None
    coding = _NAMES.get(coded[0])
    if coding is None or len(coded) > 1:
        raise Refused(
            415,
            f"header content-encoding: expected gzip, deflate or identity, got {quoted(value)}",
            code="unsupported_media_type",
            headers=(("accept-encoding", "gzip, deflate"),),
        )
    return coding


def unpack(body: bytes | bytearray, coding: Coding, max_bytes: int) -> bytes:
    """Return what a body holds. Raises: Malformed, naming the coding; TooLarge."""
    parts: list[bytes] = []
    left_bytes = max_bytes
    packed = bytes(body)
    for _ in range(_MOST_MEMBERS):
        part, packed = _member(packed, coding, left_bytes)
        if len(part) > left_bytes:
            raise too_large(max_bytes + 1, max_bytes)
        parts.append(part)
        left_bytes -= len(part)
        if not packed:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if coding is Coding.DEFLATE:
            raise _broken(coding, f"{len(packed)} bytes after its end")
    raise _broken(coding, f"more than {_MOST_MEMBERS} members")


def unpack_little(body: bytes | bytearray, coding: Coding, max_bytes: int) -> bytes | None:
    """Return what a body holds if that is at most `max_bytes`; None: it is more, or faulty."""
    reader = zlib.decompressobj(coding.value)
    try:
        found = reader.decompress(bytes(body), max_bytes)
    except zlib.error:
        return None
    return found if reader.eof and not reader.unused_data else None


def _member(packed: bytes, coding: Coding, max_bytes: int) -> tuple[bytes, bytes]:
    """Return one member, a byte more than allowed at most, and what follows it."""
    reader = zlib.decompressobj(coding.value)
    try:
        found = reader.decompress(packed, max_bytes + 1)
    except zlib.error as error:
        raise _broken(coding, str(error)) from None
    if not reader.eof and len(found) <= max_bytes:
        raise _broken(coding, "its end is missing")
    return found, reader.unused_data


def _broken(coding: Coding, what: str) -> Malformed:
    name = coding.name.lower()
    return Malformed(
        f"request body ($): expected {name}, as header content-encoding says, got a body that is "
        f"none: {what}"
    )
