"""Grammar: which lines an HTTP/1 message may have, and why a line is none of them.

Job    read the request line, find the header fields.
Never  forgives: whatever two parsers could read differently matches nothing here.

Expressions find; only a line that was not found is looked at again, to say why.
Source: RFC 9112, sections 3 and 5, without what is obsolete there (folding, lonely LF).
"""

import re
from typing import NamedTuple

from gateway.wire.failures import Refused
from gateway.wire.paths import V2_AND_V1, InferTarget, Routes, path_segments, quoted, split_target

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"

# Groups: method, target, minor version. '#' starts no target's part that may be sent.
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"{1,24}) ([!\"$-~]+) HTTP/1\.([01])\r\n")

# Groups: name, value with white space after it. One match is one whole line.
FIELD = re.compile(rb"(?m)^(" + _TOKEN + rb"++):[ \t]*+([\t -~\x80-\xff]*+)\r\n")

BARE_LF = re.compile(rb"(?<!\r)\n")
METHOD_START = re.compile(_TOKEN)

_LINE = re.compile(rb"[^\n]*\n")

# Why a line is no field; the first that fits is said.
_FAULTS = (
    (re.compile(rb".*(?<!\r)\n"), "a line ends with a bare LF"),
    (re.compile(rb"[ \t]"), "folded lines are not allowed"),
    (re.compile(rb"[^:]*\n"), "a header line has no colon"),
    (re.compile(rb":"), "a header has no name"),
    (re.compile(rb"[^:]*[ \t]:"), "a space stands before a header's colon"),
    (re.compile(_TOKEN + rb"+:"), "a header's value has a control character"),
    (re.compile(rb""), "a header's name has a character that names may not have"),
)


_FIRST_WORD = re.compile(rb"[^\s:]*")


class RequestLine(NamedTuple):
    """A request's first line, and all that follows from it alone.

    `infer` is set for a POST to an inference path. `path_fault` says why the path cannot
    be decoded; `path` is () then.
    """

    method: str
    target: bytes
    path: tuple[str, ...]
    raw_path: bytes
    query: bytes
    version_minor: int
    infer: InferTarget | None
    path_fault: str | None


def read_request_line(line: bytes, routes: Routes = V2_AND_V1) -> RequestLine:
    """Read a request line, its CRLF included.

    Raises: Refused, for anything but `METHOD target HTTP/1.x` with single spaces.
    """
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise _request_line_fault(line)
    method, target, minor = found[1].decode(), found[2], int(found[3])
    if method == "CONNECT":
        raise Refused(400, "request line: CONNECT is not served here")
    raw_path, query = split_target(target)
    try:
        path = path_segments(raw_path)
    except Refused as refused:
        return RequestLine(method, target, (), raw_path, query, minor, None, str(refused))
    infer = routes.infer_target(path) if method == "POST" else None
    return RequestLine(method, target, path, raw_path, query, minor, infer, None)


def field_fault(fields: bytes) -> Refused:
    """Say what is wrong with the first of these lines that is no field.

    Only its first word is repeated: what follows may be a key.
    """
    for line in _LINE.findall(fields):
        if FIELD.fullmatch(line) is None and line != b"\r\n":
            what = next(what for shape, what in _FAULTS if shape.match(line))
            word = _FIRST_WORD.match(line)
            assert word is not None
            return Refused(400, f"request head: {what}: {quoted(word[0])}")
    return Refused(400, "request head: expected one blank line, at its end")


def _request_line_fault(line: bytes) -> Refused:
    if not line.endswith(b"\r\n"):
        return Refused(400, "request line: expected CRLF at its end")
    return Refused(
        400, f"request line: expected METHOD target HTTP/1.0 or HTTP/1.1, got {quoted(line[:-2])}"
    )
