"""Heads: one request's head, from its first line to the blank line, read at once.

Job    turn the bytes of a head into a Head, which holds all that follows from it.
Life   pure; a HeadCache lives as long as its replica.
Never  reads the body, or lets a head pass that two parsers could read differently.

Theory of operation. Smuggling lives where two parsers disagree, so a head is read
twice and must satisfy both readers. Ours is a grammar of what is allowed: the request
line is matched by one expression, the fields are found by another, anchored to whole
lines; as many fields must be found as there are lines, or the head is refused. llhttp
has the second word: it hears the same bytes and gives only its verdict.

Two kinds of fault. `Refused`, raised, ends the connection: where the next request would
begin is not certain. `Head.fault` leaves the framing sound: it is answered in its turn.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import httptools

from gateway import errors
from gateway.wire.failures import Refused
from gateway.wire.grammar import (
    BARE_LF,
    FIELD,
    METHOD_START,
    RequestLine,
    field_fault,
    read_request_line,
)
from gateway.wire.keys import NO_KEYS, Keys
from gateway.wire.paths import InferTarget, is_authority, quoted
from gateway.wire.terms import NO_TERMS, Terms, joined, read_terms, usable_request_id

ReadLine = Callable[[bytes], RequestLine]

_LENGTH = re.compile(rb"[0-9]{1,18}")
_LINE_SPARE_BYTES = 40  # what a request line has beside its target, at most


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large a head may be."""

    max_target_bytes: int = 8192
    max_head_bytes: int = 65536
    max_fields: int = 100


class Head(NamedTuple):
    """A request's head, and all that follows from it.

    Shapes: `path` are the decoded segments, () for `/`; `headers` have lower-case names
    and values without the white space around them.
    Units: `length` is the body's bytes, 0 when not given.

    `fault` is answered in order, and the connection kept. With a bad escape in the path,
    `path` is () and `infer` None. The other faults, and `terms`, are read on inference
    requests alone: no other request gives these headers a meaning.
    """

    # A named tuple, since a frozen dataclass of so many fields takes 1.4 us longer to make.

    method: str
    target: bytes
    path: tuple[str, ...]
    raw_path: bytes
    query: bytes
    version_minor: int
    infer: InferTarget | None
    headers: tuple[tuple[bytes, bytes], ...]
    length: int
    is_chunked: bool
    keeps_alive: bool
    expects_continue: bool
    request_id: bytes | None  # the caller's, if it may be echoed
    terms: Terms
    fault: errors.GatewayError | None


class HeadCache:
    """The heads read lately, by their bytes.

    Two generations: when the young one is full it becomes the old one, and what the old
    one held is gone. Refusals and faults are never kept. Request lines are kept apart:
    a client that gives each request an id repeats its line, though never its head.
    """

    def __init__(
        self,
        limits: HeadLimits,
        *,
        max_heads: int = 512,
        max_head_bytes: int = 2048,
        read_line: ReadLine = read_request_line,
        keys: Keys = NO_KEYS,
    ) -> None:
        """Units: `max_heads` in each generation; longer heads than the bytes are not kept."""
        self._read_line = lru_cache(maxsize=128)(read_line)
        self._limits = limits
        self._keys = keys
        self._max_heads = max_heads
        self._max_head_bytes = max_head_bytes
        self._young: dict[bytes, Head] = {}
        self._old: dict[bytes, Head] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, raw: bytes) -> Head:
        """Return the Head of these bytes.

        Raises: Refused, as `parse` does.
        """
        head = self._young.get(raw)
        return self._find(raw) if head is None else head

    def _find(self, raw: bytes) -> Head:
        head = self._old.get(raw) or parse(raw, self._limits, self._read_line, self._keys)
        if head.fault is None and len(raw) <= self._max_head_bytes:
            if len(self._young) >= self._max_heads:
                self._old, self._young = self._young, {}
            self._young[raw] = head
        return head


def parse(
    raw: bytes, limits: HeadLimits, read_line: ReadLine = read_request_line, keys: Keys = NO_KEYS
) -> Head:
    """Read a whole head, its blank line included.

    Raises: Refused, for whatever leaves it uncertain where the next request begins.
    """
    line, headers = _read(raw, limits, read_line)
    fields = dict(headers)
    if len(fields) != len(headers):
        fields = joined(headers)
    minor = line.version_minor
    _check_host(fields.get(b"host"), minor)
    length, is_chunked = _body(fields, minor)
    connection = fields.get(b"connection")
    expect = fields.get(b"expect")
    expects_continue = expect is not None and _expects_continue(expect, minor)
    _check_by_llhttp(raw, line)
    terms, fault = _terms(line, fields, keys)
    return Head(
        line.method,
        line.target,
        line.path,
        line.raw_path,
        line.query,
        minor,
        line.infer,
        headers,
        length,
        is_chunked,
        minor == 1 and (connection is None or not _has_close(connection)),
        expects_continue,
        usable_request_id(fields),
        terms,
        fault,
    )


def _terms(
    line: RequestLine, fields: Mapping[bytes, bytes], keys: Keys
) -> tuple[Terms, errors.GatewayError | None]:
    """Return (terms, fault); only an inference request has terms, if only whose it is."""
    if line.infer is not None:
        try:
            return read_terms(fields, line.infer.dialect, keys), None
        except errors.GatewayError as error:
            # Kept in the Head, so it must not keep our frames.
            return Terms(meter=keys.meter_of(fields)), error.with_traceback(None)
    return NO_TERMS, None if line.path_fault is None else Refused(400, line.path_fault)


def check_unfinished(raw: bytes | bytearray, limits: HeadLimits, start: int = 0) -> None:
    """Refuse a head that has no blank line yet, as soon as no blank line can save it.

    `start`: what stands before it was checked already.
    Raises: Refused.
    """
    _check_size(raw, limits)
    if BARE_LF.search(raw, start):
        raise Refused(400, "request head: a line ends with a bare LF")
    if raw not in (b"", b"\r") and not METHOD_START.match(raw):  # CRLF may stand before
        raise Refused(400, f"request line: expected a method, got {quoted(bytes(raw[:16]))}")


def _check_size(raw: bytes | bytearray, limits: HeadLimits) -> None:
    end = raw.find(b"\n")
    if (end if end >= 0 else len(raw)) > limits.max_target_bytes + _LINE_SPARE_BYTES:
        raise _long_target(limits)
    if len(raw) > limits.max_head_bytes:
        raise Refused(431, f"request head: expected at most {limits.max_head_bytes} bytes")


def _long_target(limits: HeadLimits) -> Refused:
    return Refused(414, f"request target: expected at most {limits.max_target_bytes} bytes")


def _read(
    raw: bytes, limits: HeadLimits, read_line: ReadLine
) -> tuple[RequestLine, tuple[tuple[bytes, bytes], ...]]:
    """Return the request line and the fields."""
    if len(raw) > limits.max_target_bytes or len(raw) > limits.max_head_bytes:
        _check_size(raw, limits)
    start = raw.find(b"\n") + 1
    line = read_line(raw[:start])
    if len(line.target) > limits.max_target_bytes:
        raise _long_target(limits)
    lines = raw.count(b"\n") - 2
    if lines > limits.max_fields:
        raise Refused(431, f"request head: expected at most {limits.max_fields} header fields")
    found = FIELD.findall(raw, start)
    if len(found) != lines or not raw.endswith(b"\r\n\r\n"):
        raise field_fault(raw[start:])
    return line, tuple([(name.lower(), value.rstrip(b" \t")) for name, value in found])


def _check_host(host: bytes | None, minor: int) -> None:
    """Refuse a Host that is not one host[:port]; HTTP/1.0 may go without."""
    if host is None:
        if minor == 1:
            raise Refused(400, "header host: expected one in an HTTP/1.1 request, got none")
    elif not is_authority(host):
        raise Refused(400, f"header host: expected one host[:port], got {quoted(host)}")


def _body(fields: Mapping[bytes, bytes], minor: int) -> tuple[int, bool]:
    """Return (Content-Length, whether the body is chunked).

    Source: RFC 9112, section 6; stricter: equal lengths are not merged, and no coding
    but chunked is known.
    """
    length = fields.get(b"content-length")
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise Refused(400, "headers content-length and transfer-encoding exclude each other")
        if minor == 0 or coding.lower() != b"chunked":
            raise Refused(
                400,
                f"header transfer-encoding: expected chunked, once, in HTTP/1.1, got "
                f"{quoted(coding)} in HTTP/1.{minor}",
            )
        return 0, True
    if length is None:
        return 0, False
    if not _LENGTH.fullmatch(length):
        raise Refused(400, f"header content-length: expected one number, got {quoted(length)}")
    return int(length), False


def _expects_continue(expect: bytes, minor: int) -> bool:
    if expect.lower() != b"100-continue":
        raise Refused(417, f"header expect: expected 100-continue, got {quoted(expect)}")
    return minor == 1  # from HTTP/1.0 it means nothing: RFC 9110, section 10.1.1


def _has_close(connection: bytes) -> bool:
    connection = connection.lower()
    return b"close" in connection and b"close" in map(bytes.strip, connection.split(b","))


class _Mute:
    """Hears nothing: of llhttp only the verdict is wanted."""


def _check_by_llhttp(raw: bytes, line: RequestLine) -> None:
    try:
        httptools.HttpRequestParser(_Mute()).feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # an offer to change protocols is ignored
    except httptools.HttpParserInvalidMethodError:
        raise Refused(
            405,
            f"request line: unknown method {line.method}",
            code="method_not_allowed",
            headers=(("allow", "GET, HEAD, OPTIONS, POST"),),
        ) from None
    except httptools.HttpParserError as error:
        raise Refused(400, f"request head: {error}") from None
