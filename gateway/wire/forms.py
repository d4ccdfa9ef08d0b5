"""Forms: what all answers of a kind have in common, made once per kind."""

from dataclasses import dataclass
from http import HTTPStatus

Pair = tuple[bytes, bytes]
Pairs = tuple[Pair, ...]

JSON = (b"content-type", b"application/json")
OCTETS = (b"content-type", b"application/octet-stream")


@dataclass(frozen=True, slots=True)
class Form:
    """Status and fixed headers. `lines` end where the value of x-request-id begins."""

    status: int
    pairs: Pairs
    lines: bytes
    has_body: bool


_PHRASES = {int(status): status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}


def form(status: int, pairs: Pairs) -> Form:
    """Make a form."""
    first = b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, "").encode())
    lines = [first, *(b"%b: %b\r\n" % pair for pair in pairs), b"x-request-id: "]
    return Form(status, pairs, b"".join(lines), status != HTTPStatus.NO_CONTENT)
