"""Bad requests whose framing is at fault: one answer, then the end (protocol chapter 17)."""

from collections.abc import Sequence

from tests.badinput.rows import ECHO, MAX_BODY_BYTES, Row, body, ends

_BODY = body()
_TOO_MANY_CHUNKS = b"1\r\n \r\n" * 65_537


def _head(*fields: str | bytes, line: str | bytes = f"POST {ECHO} HTTP/1.1") -> bytes:
    """Return a head of just these lines, each with its CRLF, and the blank line."""
    lines = [line, *fields]
    raw = [one.encode() if isinstance(one, str) else one for one in lines]
    return b"".join(one + b"\r\n" for one in [*raw, b""])


def _post(*fields: str | bytes) -> bytes:
    return _head("Host: a", *fields) + _BODY


def _line(line: str | bytes, *fields: str) -> bytes:
    return _head("Host: a", *fields, line=line)


def _chunked(raw: bytes) -> bytes:
    return _head("Host: a", "Transfer-Encoding: chunked") + raw


def _length(value: str) -> bytes:
    return _post(f"Content-Length: {value}")


_LENGTH = "header content-length: expected one number"
_CODING = "header transfer-encoding: expected chunked"
_SIZE = "chunked body: expected a size in hex"

LENGTHS: Sequence[Row] = (
    ends(
        "a length beside chunks", _post("Content-Length: 5", "Transfer-Encoding: chunked"),
        "content-length and transfer-encoding exclude each other",
    ),
    ends(
        "chunks beside a length", _post("Transfer-Encoding: chunked", "Content-Length: 5"),
        "content-length and transfer-encoding exclude each other",
    ),
    ends("two lengths that differ", _post("Content-Length: 5", "Content-Length: 6"), _LENGTH),
    ends("two lengths that agree", _post("Content-Length: 5", "Content-Length: 5"), _LENGTH),
    ends("a list of lengths", _length("5, 5"), _LENGTH, "5, 5"),
    ends("a length with a plus", _length("+5"), _LENGTH, "+5"),
    ends("a length with a minus", _length("-5"), _LENGTH, "-5"),
    ends("a length in hex", _length("0x5"), _LENGTH, "0x5"),
    ends("a length with a space inside", _length("5 5"), _LENGTH),
    ends("a length with an underscore", _length("1_0"), _LENGTH),
    ends("a length in Arabic digits", _length("٥"), _LENGTH),
    ends("a length with a decimal point", _length("5.0"), _LENGTH),
    ends("a length with an exponent", _length("5e1"), _LENGTH),
    ends("an empty length", _length(""), _LENGTH),
    ends("a length that no machine can count", _length("9" * 40), _LENGTH),
    ends(
        "a length beyond the limit", _length(str(MAX_BODY_BYTES + 1)),
        "request JSON size of 1048577 bytes exceeds the maximum allowed input size of 1048576",
        "limits.max_body_bytes", status=413, code="too_large",
    ),
    ends(
        "a length of a petabyte", _length("1" + "0" * 15), "1048576",
        status=413, code="too_large",
    ),
)  # fmt: skip

CODINGS: Sequence[Row] = (
    ends("an unknown transfer coding", _post("Transfer-Encoding: gzip"), _CODING, "gzip"),
    ends("a coding before chunked", _post("Transfer-Encoding: gzip, chunked"), _CODING),
    ends("a coding after chunked", _post("Transfer-Encoding: chunked, gzip"), _CODING),
    ends("chunked twice in a list", _post("Transfer-Encoding: chunked, chunked"), _CODING),
    ends(
        "chunked twice in two fields",
        _post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), _CODING,
    ),
    ends("identity as a transfer coding", _post("Transfer-Encoding: identity"), _CODING),
    ends("chunked with a parameter", _post("Transfer-Encoding: chunked;q=1"), _CODING),
    ends("a coding that only ends like chunked", _post("Transfer-Encoding: xchunked"), _CODING),
    ends("chunked in quotes", _post('Transfer-Encoding: "chunked"'), _CODING),
    ends("an empty transfer coding", _post("Transfer-Encoding:"), _CODING),
    ends(
        "chunks in HTTP/1.0",
        _head("Host: a", "Transfer-Encoding: chunked", line=f"POST {ECHO} HTTP/1.0"),
        _CODING, "HTTP/1.0",
    ),
    ends(
        "an expectation nobody can meet", _post("Content-Length: 5", "Expect: a miracle"),
        "header expect: expected 100-continue, got 'a miracle'", status=417,
    ),
)  # fmt: skip

FIELDS: Sequence[Row] = (
    ends("a space before the colon", _post("Content-Length : 5"), "before a header's colon"),
    ends("a tab before the colon", _post("Content-Length\t: 5"), "before a header's colon"),
    ends("a line folded by a space", _post("A: b", " c"), "folded lines are not allowed"),
    ends("a line folded by a tab", _post("A: b", "\tc"), "folded lines are not allowed"),
    ends("a first field that begins with a space", _head(" Host: a"), "request"),
    ends("a bare CR in a value", _post("A: b\rc"), "request head"),
    ends("a NUL in a value", _post("A: b\0c"), "a header's value has a control character"),
    ends("a bell in a value", _post("A: b\ac"), "a header's value has a control character"),
    ends("a DEL in a value", _post("A: b\x7fc"), "a header's value has a control character"),
    ends("a field without a name", _post(": b"), "a header has no name"),
    ends("a field without a colon", _post("nothing"), "a header line has no colon"),
    ends("a NUL in a name", _post("A\0: b"), "request head"),
    ends("a name in brackets", _post("(a): b"), "a header's name has a character"),
    ends("a name that is not ASCII", _post("Ä: b"), "a header's name has a character"),
    ends("a name with a space inside", _post("A b: c"), "request head"),
    ends("a field that ends with a bare LF", _head("Host: a\nA: b"), "bare LF"),
    ends("a request line that ends with a bare LF", _head(line="GET / HTTP/1.1\nHost: a")),
    ends("a whole head of bare LFs", b"GET / HTTP/1.1\nHost: a\n\n", "bare LF"),
    ends("no Host", _head("Content-Length: 0"), "header host: expected one", "got none"),
    ends("two Hosts", _post("Host: b"), "header host: expected one host[:port]"),
    ends("two Hosts in a list", _head("Host: a, b"), "header host: expected one host[:port]"),
    ends("an empty Host", _head("Host:"), "header host: expected one host[:port]"),
    ends("a Host with a path", _head("Host: a/b"), "header host: expected one host[:port]"),
    ends("a Host with a user", _head("Host: a@b"), "header host: expected one host[:port]"),
    ends("a Host with a space", _head("Host: a b"), "header host: expected one host[:port]"),
    ends("a Host whose port is a word", _head("Host: a:b"), "header host: expected one host"),
    ends(
        "a field too many", _post(*(f"A{n}: b" for n in range(100))),
        "request head: expected at most 100 header fields", status=431,
    ),
    ends(
        "a head too large", _post(*(f"A{n}: {'b' * 8000}" for n in range(9))),
        "request head: expected at most 65536 bytes", status=431,
    ),
    ends(
        "a field that never ends", _head("Host: a")[:-2] + b"A: " + b"b" * 66_000,
        "request head: expected at most 65536 bytes", status=431,
    ),
)  # fmt: skip

_WHOLE = "request line: expected METHOD target HTTP/1.0 or HTTP/1.1"
_LONG = "request target: expected at most 8192 bytes"

LINES: Sequence[Row] = (
    ends("two spaces after the method", _line("GET  / HTTP/1.1"), _WHOLE),
    ends("two spaces before the version", _line("GET /  HTTP/1.1"), _WHOLE),
    ends("tabs for spaces", _line("GET\t/\tHTTP/1.1"), "request line"),
    ends("a space at the line's end", _line("GET / HTTP/1.1 "), _WHOLE),
    ends("a space at the line's begin", _line(" GET / HTTP/1.1"), "request line"),
    ends("HTTP/0.9", b"GET /\r\n\r\n", _WHOLE, "'GET /'"),
    ends("HTTP/1.2", _line("GET / HTTP/1.2"), _WHOLE, "HTTP/1.2"),
    ends("HTTP/2.0", _line("GET / HTTP/2.0"), _WHOLE),
    ends("HTTP/11", _line("GET / HTTP/11"), _WHOLE),
    ends("HTTP/1.1.1", _line("GET / HTTP/1.1.1"), _WHOLE),
    ends("a version in small letters", _line("GET / http/1.1"), _WHOLE),
    ends("another protocol", _line("GET / ICY/1.1"), _WHOLE),
    ends("the greeting of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "request line"),
    ends("no target", _line("GET HTTP/1.1"), _WHOLE),
    ends("no method", _line("/ HTTP/1.1"), _WHOLE),
    ends("CONNECT", _line("CONNECT a:443 HTTP/1.1"), "CONNECT is not served here"),
    ends(
        "a method of one's own", _line("BREW / HTTP/1.1"), "unknown method BREW",
        status=405, code="method_not_allowed",
    ),
    ends(
        "a method in small letters", _line("post / HTTP/1.1"), "unknown method post",
        status=405, code="method_not_allowed",
    ),
    ends("a method in brackets", _line("(GET) / HTTP/1.1"), "request line"),
    ends("a method of 25 letters", _line("A" * 25 + " / HTTP/1.1"), _WHOLE),
    ends("a target too long", _line(f"GET /{'a' * 8192} HTTP/1.1"), _LONG, status=414),
    ends("a target that never ends", b"GET /" + b"a" * 9000, _LONG, status=414),
    ends("a target with a NUL", _line("GET /\0 HTTP/1.1"), _WHOLE),
    ends("a target that is not ASCII", _line("GET /ä HTTP/1.1"), _WHOLE),
    ends("a target with a fragment", _line("GET /v2#a HTTP/1.1"), _WHOLE),
    ends("a target without a slash", _line("GET v2 HTTP/1.1"), "expected a path or an http URL"),
    ends("a target of another scheme", _line("GET ftp://a/ HTTP/1.1"), "expected a path or an"),
    ends("a target with a user", _line("GET http://a@b/ HTTP/1.1"), "expected a path or an http"),
    ends("a target with no host", _line("GET http:/// HTTP/1.1"), "expected a path or an http"),
    ends("a hello of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 99, "method"),
    ends("bytes of no protocol", bytes(range(128, 256)), "request line: expected a method"),
    ends("JSON without a head", b'{"inputs":[]}\r\n\r\n', "request line"),
    ends("empty lines, then nonsense", b"\r\n\r\nnonsense\r\n\r\n", _WHOLE),
    ends("a NUL after empty lines", b"\r\n\0", "request line: expected a method"),
)  # fmt: skip

CHUNKS: Sequence[Row] = (
    ends("a chunk's size with a plus", _chunked(b"+5\r\n"), _SIZE, "+5"),
    ends("a chunk's size with a minus", _chunked(b"-5\r\n"), _SIZE, "-5"),
    ends("a chunk's size with 0x", _chunked(b"0x5\r\n"), _SIZE, "0x5"),
    ends("a chunk's size with an underscore", _chunked(b"1_0\r\n"), _SIZE),
    ends("a chunk's size that is no number", _chunked(b"zz\r\n"), _SIZE, "zz"),
    ends("a chunk's size after a space", _chunked(b" 5\r\n"), _SIZE),
    ends("a chunk's size before a space", _chunked(b"5 \r\n"), _SIZE),
    ends("an empty size", _chunked(b"\r\n"), _SIZE),
    ends("a size of 17 digits", _chunked(b"0" * 16 + b"5\r\n"), _SIZE),
    ends("a size that ends with a bare LF", _chunked(b"5\nabcde"), _SIZE),
    ends("a size that ends with a bare CR", _chunked(b"5\rabcde\n"), _SIZE),
    ends("a size beyond what is", _chunked(b"f" * 16 + b"\r\n"), "1048576", status=413,
         code="too_large"),
    ends("one chunk beyond the limit", _chunked(b"100001\r\n"), "request JSON size of 1048577",
         status=413, code="too_large"),
    ends("chunks beyond the limit", _chunked(b"80000\r\n" + b" " * 0x80000 + b"\r\n80001\r\n"),
         "request JSON size of 1048577 bytes exceeds", status=413, code="too_large"),
    ends("an extension that never ends", _chunked(b"5;a=" + b"b" * 5000), "extensions are too"),
    ends("extensions without end", _chunked(b"1;abcdefg\r\n \r\n" * 600), "extension"),
    ends("a chunk that is longer than its size", _chunked(b"3\r\nabcde\r\n"), "CRLF after a chunk"),
    ends("a chunk that ends with a bare LF", _chunked(b"3\r\nabc\n"), "CRLF after a chunk's data"),
    ends("too many chunks", _chunked(_TOO_MANY_CHUNKS),
         "Chunked request body exceeds maximum of 65536 non-empty chunks"),
    ends("a length as a trailer", _chunked(b"0\r\nContent-Length: 5\r\n\r\n"), "not a trailer"),
    ends("a coding as a trailer", _chunked(b"0\r\nTransfer-Encoding: a\r\n\r\n"), "not a trailer"),
    ends("a Host as a trailer", _chunked(b"0\r\nhost: b\r\n\r\n"), "not a trailer"),
    ends("a trailer without a colon", _chunked(b"0\r\nnothing\r\n\r\n"), "not a trailer"),
    ends("a trailer with a bare LF", _chunked(b"0\r\nA: b\n\r\n"), "not a trailer"),
    ends("a folded trailer", _chunked(b"0\r\nA: b\r\n c\r\n\r\n"), "not a trailer"),
    ends("trailers without end", _chunked(b"0\r\n" + b"A: b\r\n" * 2000), "8192 trailer bytes"),
)  # fmt: skip

FRAMING = (*LENGTHS, *CODINGS, *FIELDS, *LINES, *CHUNKS)
