"""Layouts: the shortest way in for binary requests that a client repeats.

The JSON part of a binary request says how its bytes are laid out; between two requests
of a client it does not change. A JSON part that decode.py has read once, and proved, is
remembered with what it means; when it comes again only the bytes after it are new, and
of them nothing can be wrong but their number. Law (tests/laws): `read` gives None, or
what decode.py gives.

One input, of a type whose every bit pattern is a value: BOOL and BYTES have others.
"""

from dataclasses import dataclass, replace

from gateway.types import Version
from gateway.wire.decode import Reading

_MOST_LAYOUTS = 64
_LONGEST_LAYOUT_BYTES = 1024
_JUDGED = ("BOOL", "BYTES")


@dataclass(frozen=True, slots=True)
class _Layout:
    reading: Reading
    size_bytes: int


class Layouts:
    """Reads for one version. Mutable state: `_known`, bounded."""

    __slots__ = ("_is_one_input", "_known")

    def __init__(self, version: Version) -> None:
        inputs = version.signature.inputs
        self._is_one_input = len(inputs) == 1 and inputs[0].datatype not in _JUDGED
        self._known: dict[bytes, _Layout] = {}

    def read(self, body: bytes | bytearray, json_length: int) -> Reading | None:
        """Return what the body holds, or None for decode.py to look at."""
        if not self._is_one_input or json_length > _LONGEST_LAYOUT_BYTES:
            return None
        layout = self._known.get(bytes(body[:json_length]))
        if layout is None or len(body) - json_length != layout.size_bytes:
            return None
        known = layout.reading
        return Reading(
            (memoryview(body)[json_length:],),
            known.rows,
            known.shapes,
            known.id,
            known.wanted,
            known.timeout_us,
            known.priority,
        )

    def learn(self, body: bytes | bytearray, json_length: int, reading: Reading) -> None:
        """Remember the layout of a body that decode.py has read, if it is of this kind."""
        size_bytes = len(body) - json_length
        if not self._is_one_input or json_length > _LONGEST_LAYOUT_BYTES:
            return
        # all bytes of the only input came after the JSON part, so none of them is in it
        if reading.id is not None or not size_bytes or len(reading.payloads[0]) != size_bytes:
            return
        if len(self._known) >= _MOST_LAYOUTS:
            self._known.clear()
        known = replace(reading, payloads=())
        self._known[bytes(body[:json_length])] = _Layout(known, size_bytes)
