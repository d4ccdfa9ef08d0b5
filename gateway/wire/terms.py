"""Terms: what a caller asks of one inference, by header.

Job    read timeout, priority, the length of the JSON part, content coding and content type.
Never  guesses: a header that is there and cannot be read is an error.

The lane reads a whole head at once, the Starlette app reads its scope: both end here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from gateway import errors
from gateway.wire.codings import Coding, read_coding
from gateway.wire.keys import NO_KEYS, OPERATE, PREDICT, Keys
from gateway.wire.meters import Meter
from gateway.wire.paths import Dialect, quoted

DAY_MS = 86_400_000.0
_DECIMAL = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_COUNT = re.compile(rb"[0-9]{1,18}")
_REQUEST_ID = re.compile(rb"[!#-&(-\[\]-~]{1,128}")  # visible, neither quote nor backslash


@dataclass(frozen=True, slots=True)
class Terms:
    """What the headers of an inference request ask for.

    `is_plain`: the body is V2 in JSON, and is read as it comes. `media` is the content
    type, in dialects that go by it.
    Units: `json_length` is in bytes, None when all of the body is JSON.
    """

    timeout_s: float | None = None
    priority: int = 0
    json_length: int | None = None
    coding: Coding | None = None
    pin: bytes | None = None  # the variant that an operator wants
    meter: Meter | None = None  # of who asks
    dialect: Dialect = Dialect.V2
    media: bytes = b""
    is_plain: bool = field(init=False)

    def __post_init__(self) -> None:
        is_whole = self.json_length is None and self.coding is None
        object.__setattr__(self, "is_plain", is_whole and self.dialect is Dialect.V2)


NO_TERMS = Terms()


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the values by lower-case name; those of a repeated name as one list.

    The comma shows where one value was expected, so that no repetition goes unseen.
    Source: RFC 9110, section 5.3.
    """
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def usable_request_id(fields: Mapping[bytes, bytes]) -> bytes | None:
    """Return the caller's request id if it may be echoed and logged, else None."""
    value = fields.get(b"x-request-id")
    return value if value is not None and _REQUEST_ID.fullmatch(value) else None


def read_terms(
    fields: Mapping[bytes, bytes], dialect: Dialect = Dialect.V2, keys: Keys = NO_KEYS
) -> Terms:
    """Return the terms of an inference request of somebody who may ask on them.

    Shapes: `fields` are as `joined` makes them.
    Raises: Unauthenticated, Forbidden; Malformed, for a header that cannot be read; Refused
    415, for a coding.
    """
    meter = keys.admit(fields, PREDICT, "a prediction").meter if keys.guards_predictions else None
    if b"x-gateway-variant" in fields:
        keys.admit(fields, OPERATE, "header x-gateway-variant")
    terms = _read(fields)
    if meter is not None:
        terms = replace(terms, meter=meter)
    if dialect is Dialect.V2:
        return terms
    # V1 knows nothing of content types.
    media = b"" if dialect is Dialect.V1 else fields.get(b"content-type", b"")
    return replace(terms, dialect=dialect, media=media)


def _read(fields: Mapping[bytes, bytes]) -> Terms:
    coding = fields.get(b"content-encoding")
    timeout_ms = fields.get(b"x-request-timeout-ms")
    priority = fields.get(b"x-request-priority")
    json_length = fields.get(b"inference-header-content-length")
    pin = fields.get(b"x-gateway-variant")
    if coding is timeout_ms is priority is json_length is pin is None:
        return NO_TERMS
    return Terms(
        None if timeout_ms is None else _timeout_s(timeout_ms),
        0 if priority is None else _count(b"x-request-priority", priority),
        None if json_length is None else _json_length(json_length),
        None if coding is None else read_coding(coding),
        pin,
    )


def _timeout_s(value: bytes) -> float:
    timeout_ms = float(value) if _DECIMAL.fullmatch(value) else 0.0
    if not 0 < timeout_ms <= DAY_MS:
        raise errors.Malformed(
            "header x-request-timeout-ms: expected milliseconds, above 0 and at most a day "
            f"({DAY_MS:.0f}), got {quoted(value)}"
        )
    return timeout_ms / 1000


def _json_length(value: bytes) -> int:
    """Read a length that may be repeated, if it says the same each time."""
    name = b"inference-header-content-length"
    lengths = {_count(name, one.strip()) for one in value.split(b",")}
    if len(lengths) > 1:
        raise errors.Malformed(f"header {name.decode()}: given twice, {quoted(value)}")
    return lengths.pop()


def _count(name: bytes, value: bytes) -> int:
    if not _COUNT.fullmatch(value):
        raise errors.Malformed(
            f"header {name.decode()}: expected a whole number, got {quoted(value)}"
        )
    return int(value)
