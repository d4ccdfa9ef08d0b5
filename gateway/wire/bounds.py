"""Bounds: how much JSON a request that fits a model can be.

Job    refuse a text that no fitting request needs, before anything is made of it.
Never  looks into the text, or refuses one for its white space, names and unknown members
       as long as these stay within what is allowed to every request.

Parsing costs up to 0.7 us for a part (an element, an array, an object), and the event loop
waits for it. A text of 64 MiB may have 20 million parts where the model takes 65 536; so
both are counted, bytes and parts, against the largest tensors that the signature admits.
A dynamic axis admits `limits.max_elements`, and a string any length: there is no bound
for a model of strings.
"""

import math
from itertools import accumulate
from operator import mul

from gateway.errors import InvalidTensor
from gateway.types import Version
from gateway.wire.jsontext import check_depth, count
from gateway.wire.tensors import Limits

_ALLOWED_BYTES = 4 << 20  # to every request, whatever its tensors
_ALLOWED_PARTS = 1 << 17
# Of an element, or of an array's brackets: 24 digits, a comma, and the rest white space.
_PART_BYTES = 96
_SIGNS_OF_A_PART = 2  # a bracket and a comma


def check_size(text: bytes | bytearray, version: Version, limits: Limits) -> None:
    """Refuse a JSON text too large for any request that fits `version`.

    Raises: InvalidTensor; Malformed, which names it better, for one nested too deep as well.
    """
    if len(text) <= _ALLOWED_PARTS:  # each part is a byte at least
        return
    parts = _most_parts(version, limits)
    if parts is None:
        return
    allowed_bytes = _ALLOWED_BYTES + _PART_BYTES * parts
    if len(text) > allowed_bytes:
        check_depth(text[:allowed_bytes], limits.max_json_depth)
        raise InvalidTensor(
            f"request body ($): expected at most {allowed_bytes} bytes of JSON for model "
            f"'{version.model}', got {len(text)}"
        )
    most = _ALLOWED_PARTS + _SIGNS_OF_A_PART * parts
    if len(text) <= most:
        return
    found = sum(count(text, sign) for sign in (b",", b"[", b"{"))
    if found > most:
        check_depth(text, limits.max_json_depth)
        raise InvalidTensor(
            f"request body ($): expected at most {most} commas and opening brackets for model "
            f"'{version.model}', got {found}"
        )


def most_bytes(version: Version, limits: Limits) -> float:
    """Return how long a JSON text may be that fits `version`; infinite where nothing says."""
    parts = _most_parts(version, limits)
    return math.inf if parts is None else _ALLOWED_BYTES + _PART_BYTES * parts


def _most_parts(version: Version, limits: Limits) -> int | None:
    """Return the most elements and arrays that all `data` together have; None: no bound."""
    parts = 0
    for spec in version.signature.inputs:
        if spec.datatype == "BYTES":
            return None
        sizes = [limits.max_elements if size < 0 else size for size in spec.shape]
        if version.signature.max_batch_rows:
            sizes[0] = version.signature.max_batch_rows
        levels = accumulate(sizes, mul, initial=1)
        parts += sum(min(level, limits.max_elements) for level in levels)
    return parts
