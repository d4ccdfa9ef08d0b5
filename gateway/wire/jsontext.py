"""JSON text: bytes in, Python values out, or a refusal that says where it broke.

Job    read a body strictly (RFC 8259, UTF-8, depth), plus the tokens NaN and Infinity.
Never  recurses as deep as a stranger wishes, or accepts what orjson refuses but for tokens.

orjson is strict and fast. The tokens (protocol T4) it refuses; the standard library reads
them, but reads too much besides: lone surrogates, 1e999, a number of any length. So a body
with tokens must pass both: orjson with each token masked by a number as long as itself,
which keeps the positions in its errors true; then the standard library.
"""

import json

import numpy as np
import orjson

from gateway.errors import Malformed

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_CHUNK_BYTES = 1 << 20  # so that the levels of a body of brackets take 4 MiB, not 256
_NUMPY_FROM_BYTES = 4096  # bytes.count looks at one byte at a time: 0.35 ns each, numpy 0.06
_LONGEST_QUOTE = 128  # characters of a client's text in a message


class Missing:
    """Stands for a member that is not there, where null would be another fault."""


MISSING = Missing()


def brief(text: object) -> str:
    """Return `text` cut to what fits into a message."""
    text = str(text)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def got(value: object) -> str:
    """Return how a message calls a JSON value: its kind, and the value itself if short."""
    match value:
        case Missing():
            return "nothing"
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return brief(value)
        case str():
            return f'string "{brief(value)}"'
        case dict():
            return "an object"
        case _:
            return "an array"


def load(text: bytes | bytearray, max_depth: int) -> object:
    """Return the value of a JSON text; of duplicate keys the last wins.

    Raises: Malformed, with the position.
    """
    check_depth(text, max_depth)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in text and b"Infinity" not in text:
            raise _broken(error) from None
    return _load_with_tokens(text)


def _load_with_tokens(text: bytes | bytearray) -> object:
    masked = text.replace(b"NaN", b"0.0").replace(b"Infinity", b"0.000000")
    try:
        orjson.loads(masked)
        return json.loads(text.decode())
    except ValueError as error:  # of orjson, or of json for what only masking made right
        raise _broken(error) from None


def _broken(error: ValueError) -> Malformed:
    return Malformed(f"request body ($): expected JSON text, got {error}")


def count(text: bytes | bytearray, sign: bytes) -> int:
    """Return how often a byte stands in a text, inside strings or not."""
    if len(text) < _NUMPY_FROM_BYTES:
        return text.count(sign)
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == sign[0]))


def check_depth(text: bytes | bytearray, max_depth: int) -> None:
    """Refuse a text that nests arrays and objects deeper than `max_depth`.

    Raises: Malformed.
    """
    # So few brackets cannot nest deeper: for most bodies, the only look.
    if count(text, b"[") + count(text, b"{") <= max_depth:
        return
    if _is_deeper(_brackets(text), max_depth):
        raise Malformed(
            f"JSON nesting depth exceeds maximum allowed limit ({max_depth}): expected a request "
            "body ($) of arrays and objects nested no deeper (limits.max_json_depth)"
        )


def _brackets(text: bytes | bytearray) -> bytes:
    """Return the brackets and braces of a text, without those inside strings."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two neighbouring quotes end a string and begin one, or the other way round: without
    # the pair, whatever follows is inside or outside as before. Few quotes are left.
    signs = bytes(text.translate(None, _NOT_STRUCTURE)).replace(b'""', b"")
    return b"".join(signs.split(b'"')[::2])


def _is_deeper(brackets: bytes, max_depth: int) -> bool:
    level = 0
    for start in range(0, len(brackets), _CHUNK_BYTES):
        signs = np.frombuffer(brackets[start : start + _CHUNK_BYTES], np.uint8)
        # Bit 1 tells "[" and "{" from "]" and "}".
        levels = np.cumsum((signs & 2).astype(np.int8) - 1, dtype=np.int32)
        if level + int(levels.max()) > max_depth:
            return True
        level += int(levels[-1])
    return False
