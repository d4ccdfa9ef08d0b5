"""Heads: what is read, what is refused, and that other parsers read the same."""

from functools import partial
from typing import Any

import h11
import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.wire.failures import Refused, status_of
from gateway.wire.grammar import read_request_line
from gateway.wire.heads import Head, HeadCache, HeadLimits, check_unfinished, parse
from gateway.wire.paths import Dialect, InferTarget, Routes
from gateway.wire.terms import NO_TERMS, Terms

LIMITS = HeadLimits()
INFER = b"POST /v2/models/digits/infer HTTP/1.1"


def head_of(*fields: bytes, line: bytes = INFER, host: bytes | None = b"Host: h") -> bytes:
    """Return a head of these lines."""
    lines = [line, *([] if host is None else [host]), *fields, b"", b""]
    return b"\r\n".join(lines)


def read(*fields: bytes, line: bytes = INFER, host: bytes | None = b"Host: h") -> Head:
    return parse(head_of(*fields, line=line, host=host), LIMITS)


def test_a_head_holds_all_that_follows_from_it() -> None:
    line = b"POST /v2/models/digits/versions/02/infer?x=1 HTTP/1.1"
    found = read(
        b"Content-Type:application/json",
        b"CONTENT-LENGTH: \t412 \t",
        b"X-Request-ID: abc",
        b"X-Request-Timeout-Ms: 250",
        b"x-request-priority: 2",
        b"Inference-Header-Content-Length: 100",
        line=line,
    )
    assert found == Head(
        method="POST",
        target=b"/v2/models/digits/versions/02/infer?x=1",
        path=("v2", "models", "digits", "versions", "02", "infer"),
        raw_path=b"/v2/models/digits/versions/02/infer",
        query=b"x=1",
        version_minor=1,
        infer=InferTarget("digits", "02"),
        headers=(
            (b"host", b"h"),
            (b"content-type", b"application/json"),
            (b"content-length", b"412"),
            (b"x-request-id", b"abc"),
            (b"x-request-timeout-ms", b"250"),
            (b"x-request-priority", b"2"),
            (b"inference-header-content-length", b"100"),
        ),
        length=412,
        is_chunked=False,
        keeps_alive=True,
        expects_continue=False,
        request_id=b"abc",
        terms=Terms(timeout_s=0.25, priority=2, json_length=100),
        fault=None,
    )


def test_a_head_cannot_be_changed() -> None:
    found: Any = read()
    with pytest.raises(AttributeError):
        found.length = 5


@pytest.mark.parametrize(
    ("line", "host", "fields", "wanted"),
    [
        pytest.param(INFER, b"Host: h", [], {"length": 0, "is_chunked": False}, id="no body"),
        pytest.param(
            INFER, b"Host: h", [b"Content-Length: 007"], {"length": 7}, id="leading zeros"
        ),
        pytest.param(
            *(
                INFER,
                b"Host: h",
                [b"Transfer-Encoding: Chunked"],
                {"is_chunked": True, "length": 0},
            ),
            id="chunked in any case",
        ),
        pytest.param(b"GET /v2 HTTP/1.1", b"Host: h", [], {"infer": None}, id="another path"),
        pytest.param(
            *(b"GET /v2/models/m/infer HTTP/1.1", b"Host: h", [], {"infer": None, "fault": None}),
            id="an inference path that is only looked at",
        ),
        pytest.param(
            *(b"POST http://h:80/v2/models/m/infer HTTP/1.1", b"Host: h"),
            *([], {"infer": InferTarget("m", None), "raw_path": b"/v2/models/m/infer"}),
            id="an absolute target",
        ),
        pytest.param(b"GET / HTTP/1.0", None, [], {"keeps_alive": False}, id="HTTP/1.0 closes"),
        pytest.param(
            *(b"GET / HTTP/1.0", None, [b"Connection: keep-alive"], {"keeps_alive": False}),
            id="HTTP/1.0 closes though asked to stay",
        ),
        pytest.param(INFER, b"Host: h", [b"Connection: Close"], {"keeps_alive": False}, id="close"),
        pytest.param(
            *(INFER, b"Host: h", [b"Connection: te,  close"], {"keeps_alive": False}),
            id="close in a list",
        ),
        pytest.param(
            *(INFER, b"Host: h", [b"Connection: te", b"Connection: close"], {"keeps_alive": False}),
            id="close in a second field",
        ),
        pytest.param(
            *(INFER, b"Host: h", [b"Connection: closed"], {"keeps_alive": True}),
            id="a word that begins like close",
        ),
        pytest.param(
            *(INFER, b"Host: h", [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"]),
            {"keeps_alive": True, "infer": InferTarget("digits", None)},
            id="an upgrade to h2c is ignored",
        ),
        pytest.param(
            *(INFER, b"Host: h", [b"Expect: 100-Continue"], {"expects_continue": True}),
            id="100-continue in any case",
        ),
        pytest.param(
            *(b"POST / HTTP/1.0", None, [b"Expect: 100-continue"], {"expects_continue": False}),
            id="100-continue means nothing in HTTP/1.0",
        ),
        pytest.param(INFER, b"Host: [::1]:8080", [], {"fault": None}, id="an IPv6 host"),
        pytest.param(INFER, b"host:h", [], {"headers": ((b"host", b"h"),)}, id="no space at all"),
        pytest.param(INFER, b"Host: h", [b"X:"], {"fault": None}, id="an empty value"),
        pytest.param(
            *(INFER, None, [b"Host: h", b"X: \xe9\x80 y"]),
            {"headers": ((b"host", b"h"), (b"x", b"\xe9\x80 y"))},
            id="bytes above ASCII in a value",
        ),
        pytest.param(
            *(INFER, b"Host: h", [b'X-Request-Id: a"b'], {"request_id": None, "fault": None}),
            id="an unusable request id is dropped",
        ),
        pytest.param(
            *(INFER, b"Host: h", [b"X-Request-Id: a", b"X-Request-Id: b"], {"request_id": None}),
            id="two request ids are none",
        ),
        pytest.param(
            *(b"OPTIONS * HTTP/1.1", b"Host: h", [], {"method": "OPTIONS", "path": ("*",)}),
            id="the asterisk",
        ),
        pytest.param(b"TRACE / HTTP/1.1", b"Host: h", [], {"method": "TRACE"}, id="a wrong method"),
    ],
)
def test_a_good_head_is_read(
    line: bytes, host: bytes | None, fields: list[bytes], wanted: dict[str, object]
) -> None:
    found = read(*fields, line=line, host=host)
    assert {name: getattr(found, name) for name in wanted} == wanted


# Each of these ends the connection: (sentence, head, status).
MALFORMED: list[tuple[str, bytes, int]] = [
    ("nothing", b"", 400),
    ("a blank line alone", b"\r\n\r\n", 400),
    ("a leading blank line", b"\r\n" + head_of(), 400),
    ("no blank line", head_of()[:-2], 400),
    ("two blank lines", head_of() + b"\r\n", 400),
    ("fields behind the blank line", head_of() + b"X: y\r\n\r\n", 400),
    ("HTTP/0.9", b"GET /\r\n\r\n", 400),
    ("HTTP/0.9 by number", head_of(line=b"GET / HTTP/0.9"), 400),
    ("HTTP/1.2", head_of(line=b"GET / HTTP/1.2"), 400),
    ("HTTP/2.0", head_of(line=b"GET / HTTP/2.0"), 400),
    ("HTTP/1", head_of(line=b"GET / HTTP/1"), 400),
    ("HTTP/1.10", head_of(line=b"GET / HTTP/1.10"), 400),
    ("HTTP/01.1", head_of(line=b"GET / HTTP/01.1"), 400),
    ("http in lower case", head_of(line=b"GET / http/1.1"), 400),
    ("another protocol", head_of(line=b"GET / ICY/1.1"), 400),
    ("two spaces before the target", head_of(line=b"GET  / HTTP/1.1"), 400),
    ("two spaces behind the target", head_of(line=b"GET /  HTTP/1.1"), 400),
    ("a space before the method", head_of(line=b" GET / HTTP/1.1"), 400),
    ("a space behind the version", head_of(line=b"GET / HTTP/1.1 "), 400),
    ("a tab for a space", head_of(line=b"GET\t/ HTTP/1.1"), 400),
    ("a vertical tab for a space", head_of(line=b"GET\x0b/ HTTP/1.1"), 400),
    ("a space in the target", head_of(line=b"GET /a b HTTP/1.1"), 400),
    ("no method", head_of(line=b"/ HTTP/1.1"), 400),
    ("no target", head_of(line=b"GET HTTP/1.1"), 400),
    ("a method with a bracket", head_of(line=b"GE(T / HTTP/1.1"), 400),
    ("a method of many letters", head_of(line=b"A" * 25 + b" / HTTP/1.1"), 400),
    ("a method that nobody knows", head_of(line=b"BREW / HTTP/1.1"), 405),
    ("a method in lower case", head_of(line=b"get / HTTP/1.1"), 405),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\n", 400),
    ("the method of that preface", head_of(line=b"PRI * HTTP/1.1"), 400),
    ("a method of another protocol", head_of(line=b"FLUSH / HTTP/1.1"), 400),
    ("CONNECT", head_of(line=b"CONNECT h:80 HTTP/1.1"), 400),
    ("CONNECT with a path", head_of(line=b"CONNECT / HTTP/1.1"), 400),
    ("a target that is a word", head_of(line=b"GET v2 HTTP/1.1"), 400),
    ("a target of another scheme", head_of(line=b"GET ftp://h/ HTTP/1.1"), 400),
    ("an absolute target without a host", head_of(line=b"GET http:///v2 HTTP/1.1"), 400),
    ("a fragment in the target", head_of(line=b"GET /v2#x HTTP/1.1"), 400),
    ("a NUL in the target", head_of(line=b"GET /\0 HTTP/1.1"), 400),
    ("a raw byte above ASCII in the target", head_of(line=b"GET /\xff HTTP/1.1"), 400),
    ("a DEL in the target", head_of(line=b"GET /\x7f HTTP/1.1"), 400),
    ("a CR in the request line", head_of(line=b"GET /\r HTTP/1.1"), 400),
    ("a bare LF behind the request line", b"GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
    ("bare LFs everywhere", b"GET / HTTP/1.1\nHost: h\n\n", 400),
    ("a bare LF behind a field", b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400),
    ("a bare LF for the blank line", b"GET / HTTP/1.1\r\nHost: h\r\n\n", 400),
    ("a bare CR behind a field", head_of(b"X: y\rZ: z"), 400),
    ("a CR before CRLF", head_of(b"X: y\r"), 400),
    ("a NUL in a value", head_of(b"X: a\0b"), 400),
    ("a control character in a value", head_of(b"X: a\x01b"), 400),
    ("an escape character in a value", head_of(b"X: \x1b[31m"), 400),
    ("a DEL in a value", head_of(b"X: a\x7f"), 400),
    ("a NUL in a name", head_of(b"X\0Y: a"), 400),
    ("a space in a name", head_of(b"X Y: a"), 400),
    ("a byte above ASCII in a name", head_of(b"X\xe9: a"), 400),
    ("a bracket in a name", head_of(b"X(Y): a"), 400),
    ("a space before the colon", head_of(b"Content-Length : 5"), 400),
    ("a tab before the colon", head_of(b"Content-Length\t: 5"), 400),
    ("a folded line", head_of(b"X: a", b" b"), 400),
    ("a line folded by a tab", head_of(b"X: a", b"\tb"), 400),
    ("a first field that is folded", head_of(b"Host: h", host=b" X: y"), 400),
    ("an empty name", head_of(b": a"), 400),
    ("a line without a colon", head_of(b"X"), 400),
    ("no Host in HTTP/1.1", head_of(host=None), 400),
    ("an empty Host", head_of(host=b"Host:"), 400),
    ("two Hosts", head_of(b"Host: g"), 400),
    ("two equal Hosts", head_of(b"host: h"), 400),
    ("a Host with a path", head_of(host=b"Host: h/v2"), 400),
    ("a Host with a user", head_of(host=b"Host: u@h"), 400),
    ("a Host with a space", head_of(host=b"Host: a b"), 400),
    ("a Host with a bad port", head_of(host=b"Host: h:http"), 400),
    ("a list of Hosts", head_of(host=b"Host: a,b"), 400),
    ("a bad Host in HTTP/1.0", head_of(line=b"GET / HTTP/1.0", host=b"Host: a b"), 400),
    ("a length with a plus", head_of(b"Content-Length: +5"), 400),
    ("a negative length", head_of(b"Content-Length: -5"), 400),
    ("a hex length", head_of(b"Content-Length: 0x5"), 400),
    ("a length with a space", head_of(b"Content-Length: 1 0"), 400),
    ("a length with an underscore", head_of(b"Content-Length: 1_0"), 400),
    ("a length with a fraction", head_of(b"Content-Length: 5.0"), 400),
    ("a length with an exponent", head_of(b"Content-Length: 1e3"), 400),
    ("a length of other digits", head_of("Content-Length: \u0665".encode()), 400),
    ("an empty length", head_of(b"Content-Length:"), 400),
    ("a length beyond 64 bits", head_of(b"Content-Length: 18446744073709551621"), 400),
    ("a list of lengths", head_of(b"Content-Length: 5, 5"), 400),
    ("two differing lengths", head_of(b"Content-Length: 5", b"Content-Length: 6"), 400),
    ("two equal lengths", head_of(b"Content-Length: 5", b"content-length: 5"), 400),
    ("a length and an empty one", head_of(b"Content-Length: 5", b"Content-Length:"), 400),
    ("a length and chunked", head_of(b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
    ("chunked and a length", head_of(b"Transfer-Encoding: chunked", b"Content-Length: 5"), 400),
    (
        "a length of 0 and chunked",
        head_of(b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        400,
    ),
    ("the coding identity", head_of(b"Transfer-Encoding: identity"), 400),
    ("an unknown coding", head_of(b"Transfer-Encoding: gzip"), 400),
    ("an empty coding", head_of(b"Transfer-Encoding:"), 400),
    ("a coding before chunked", head_of(b"Transfer-Encoding: gzip, chunked"), 400),
    ("a coding behind chunked", head_of(b"Transfer-Encoding: chunked, gzip"), 400),
    ("chunked twice", head_of(b"Transfer-Encoding: chunked, chunked"), 400),
    ("chunked in two fields", head_of(*[b"Transfer-Encoding: chunked"] * 2), 400),
    ("chunked with a parameter", head_of(b"Transfer-Encoding: chunked;q=1"), 400),
    ("chunked in quotes", head_of(b'Transfer-Encoding: "chunked"'), 400),
    ("chunked behind a vertical tab", head_of(b"Transfer-Encoding: \x0bchunked"), 400),
    ("nearly chunked", head_of(b"Transfer-Encoding: xchunked"), 400),
    ("chunked and a comma", head_of(b"Transfer-Encoding: chunked,"), 400),
    (
        "chunked in HTTP/1.0",
        head_of(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"),
        400,
    ),
    ("another expectation", head_of(b"Expect: a-miracle"), 417),
    ("an empty expectation", head_of(b"Expect:"), 417),
    ("two expectations", head_of(*[b"Expect: 100-continue"] * 2), 417),
    ("a target of 8193 bytes", head_of(line=b"GET /" + b"a" * 8192 + b" HTTP/1.1"), 414),
    ("a target of 60000 bytes", head_of(line=b"GET /" + b"a" * 60000 + b" HTTP/1.1"), 414),
    ("a target of 70000 bytes", head_of(line=b"GET /" + b"a" * 70000 + b" HTTP/1.1"), 414),
    ("101 fields", head_of(*[b"X: y"] * 100), 431),
    ("one field above 64 KiB", head_of(b"X: " + b"y" * 65536), 431),
    ("many fields above 64 KiB", head_of(*[b"X: " + b"y" * 1000] * 66), 431),
]


@pytest.mark.parametrize(
    ("raw", "status"), [pytest.param(raw, status, id=name) for name, raw, status in MALFORMED]
)
def test_a_malformed_head_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(Refused) as refused:
        parse(raw, LIMITS)
    assert (refused.value.status, bool(str(refused.value))) == (status, True)


def test_an_unknown_method_hears_which_methods_there_are() -> None:
    with pytest.raises(Refused) as refused:
        read(line=b"BREW / HTTP/1.1")
    assert refused.value.code == "method_not_allowed"
    assert refused.value.headers == (("allow", "GET, HEAD, OPTIONS, POST"),)


def test_heads_at_the_limits_are_read() -> None:
    assert len(read(line=b"GET /" + b"a" * 8191 + b" HTTP/1.1").target) == 8192
    assert len(read(*[b"X: y"] * 99).headers) == 100
    spare = 65536 - len(head_of(b"X: "))
    assert len(head_of(b"X: " + b"y" * spare)) == 65536
    assert len(read(b"X: " + b"y" * spare).headers[1][1]) == spare


def test_the_limits_are_those_that_are_set() -> None:
    raw = head_of(b"X: y")
    for limits, status in [
        (HeadLimits(max_target_bytes=8), 414),
        (HeadLimits(max_head_bytes=len(raw) - 1), 431),
        (HeadLimits(max_fields=1), 431),
    ]:
        with pytest.raises(Refused) as refused:
            parse(raw, limits)
        assert refused.value.status == status
    assert parse(raw, HeadLimits(23, len(raw), 2)).length == 0


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (b"Content-Encoding: br", 415),
        (b"X-Request-Timeout-Ms: soon", 400),
        (b"X-Request-Priority: -1", 400),
        (b"Inference-Header-Content-Length: x", 400),
    ],
)
def test_a_header_that_inference_may_not_carry_is_a_fault_and_the_framing_stays_sound(
    field: bytes, status: int
) -> None:
    found = read(field, b"Content-Length: 5")
    assert found.fault is not None
    assert status_of(found.fault) == status
    assert (found.length, found.keeps_alive) == (5, True)
    assert found.infer == InferTarget("digits", None)


def test_json_lengths_that_differ_are_a_fault_and_equal_ones_are_not() -> None:
    five, six = b"Inference-Header-Content-Length: 5", b"inference-header-content-length: 6"
    assert isinstance(read(five, six).fault, errors.Malformed)
    assert (read(five, five).terms.json_length, read(five, five).fault) == (5, None)


def test_a_request_that_infers_nothing_may_carry_any_of_these_headers() -> None:
    found = read(b"Content-Encoding: br", b"X-Request-Priority: x", line=b"GET /v2 HTTP/1.1")
    assert (found.fault, found.terms) == (None, NO_TERMS)


def test_the_routes_that_a_port_has_say_what_infers() -> None:
    routes = Routes("digits", predict=("predict",))
    read_line = partial(read_request_line, routes=routes)
    for path, dialect in (("invocations", Dialect.INVOCATIONS), ("predict", Dialect.VERTEX)):
        raw = head_of(b"Content-Type: x/y", line=f"POST /{path} HTTP/1.1".encode())
        found = parse(raw, LIMITS, read_line)
        assert found.infer == InferTarget("digits", None, dialect)
        assert (found.terms.media, found.terms.is_plain) == (b"x/y", False)
        assert parse(raw, LIMITS).infer is None


def test_a_bad_escape_is_a_fault_and_the_connection_is_kept() -> None:
    found = read(line=b"POST /v2/models/%zz/infer HTTP/1.1")
    assert isinstance(found.fault, Refused)
    assert (found.fault.status, found.path, found.infer) == (400, (), None)
    assert found.keeps_alive


def test_a_fault_keeps_no_frames() -> None:
    fault = read(b"X-Request-Timeout-Ms: soon").fault
    assert fault is not None
    assert fault.__traceback__ is None


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\nHost: h", 400, id="a bare LF"),
        pytest.param(b"\n", 400, id="a bare LF at the start"),
        pytest.param(b"\x16\x03\x01\x02\x00", 400, id="TLS on a plain port"),
        pytest.param(b"GET /" + b"a" * 8300, 414, id="a target without an end"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 65536, 431, id="a field without an end"),
    ],
)
def test_an_unfinished_head_is_refused_as_soon_as_nothing_can_save_it(
    raw: bytes, status: int
) -> None:
    with pytest.raises(Refused) as refused:
        check_unfinished(bytearray(raw), LIMITS)
    assert refused.value.status == status


@pytest.mark.parametrize("raw", [b"", b"\r", b"G", b"GET / HT", head_of()[:-1], head_of()[:-3]])
def test_an_unfinished_head_that_may_become_good_is_left_alone(raw: bytes) -> None:
    check_unfinished(raw, LIMITS)


def test_an_unfinished_head_is_checked_from_where_the_last_check_ended() -> None:
    raw = b"GET / HTTP/1.1\r\n"
    check_unfinished(raw, LIMITS, raw.index(b"\n"))
    with pytest.raises(Refused):
        check_unfinished(raw + b"X: y\n", LIMITS, len(raw))


def test_the_cache_gives_the_same_head_for_the_same_bytes() -> None:
    cache = HeadCache(LIMITS)
    first = cache.get(head_of())
    assert first == parse(head_of(), LIMITS)
    assert cache.get(bytes(bytearray(head_of()))) is first


def test_the_cache_is_bounded_and_keeps_what_is_asked_for() -> None:
    cache = HeadCache(LIMITS, max_heads=8)
    wanted = cache.get(head_of())
    for number in range(1000):
        assert cache.get(head_of(b"X-Request-Id: %d" % number)).request_id == b"%d" % number
        assert cache.get(head_of()) is wanted
        assert len(cache) <= 16


def test_the_cache_forgets_what_nobody_asks_for() -> None:
    cache = HeadCache(LIMITS, max_heads=4)
    first = cache.get(head_of())
    for number in range(8):
        cache.get(head_of(b"X: %d" % number))
    assert cache.get(head_of()) is not first
    assert cache.get(head_of()) == first


def test_the_cache_keeps_no_long_heads_no_refusals_and_no_faults() -> None:
    cache = HeadCache(LIMITS)
    assert cache.get(head_of(b"X: " + b"y" * 2048)).fault is None
    assert cache.get(head_of(b"X-Request-Priority: x")).fault is not None
    assert cache.get(head_of(line=b"GET /%zz HTTP/1.1")).fault is not None
    for _ in range(2):
        with pytest.raises(Refused):
            cache.get(head_of(host=None))
    assert len(cache) == 0


def test_a_port_without_inference_reads_its_paths_as_any_other() -> None:
    raw = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: h\r\nx-request-priority: odd\r\n\r\n"
    cache = HeadCache(LIMITS, read_line=lambda line: read_request_line(line)._replace(infer=None))
    head = cache.get(raw)
    assert (head.infer, head.fault) == (None, None)
    assert head.path == ("v2", "models", "m", "infer")
    assert isinstance(HeadCache(LIMITS).get(raw).fault, errors.Malformed)


def test_faults_of_one_request_line_are_never_the_same_object() -> None:
    cache = HeadCache(LIMITS)
    raw = head_of(line=b"GET /%zz HTTP/1.1")
    assert cache.get(raw).fault is not cache.get(raw).fault


@given(st.binary(max_size=200))
@example(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
def test_any_bytes_give_a_head_or_a_refusal(raw: bytes) -> None:
    assert status_after(raw) in (200, 400, 405, 414, 417, 431)


def status_after(raw: bytes) -> int:
    """Return 200 for a head that is read, else the refusal's status."""
    try:
        parse(raw, LIMITS)
    except Refused as refused:
        return refused.status
    return 200


@st.composite
def damaged_heads(draw: st.DrawFn) -> bytes:
    """Return a good head with one stretch of it replaced by odd bytes."""
    raw = head_of(b"Content-Length: 5", b"Connection: close", b"X-Request-Id: a")
    start = draw(st.integers(0, len(raw)))
    stop = draw(st.integers(start, min(len(raw), start + 3)))
    odd = st.sampled_from(
        [b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b":", b",", b"%", b"\xff", b"0"]
    )
    return raw[:start] + b"".join(draw(st.lists(odd, max_size=3))) + raw[stop:]


@given(damaged_heads())
@settings(max_examples=300)
def test_a_damaged_head_that_is_read_at_all_is_read_as_h11_reads_it(raw: bytes) -> None:
    """h11 forgives more (bare LFs, folds), so nothing is asked of what we refuse."""
    try:
        found = parse(raw, LIMITS)
    except Refused:
        return
    event = h11_reads(raw)
    if isinstance(event, h11.Request):
        assert (event.method.decode(), event.target) == (found.method, found.target)
        assert tuple(event.headers) == found.headers


_NAMES = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
_VALUES = st.from_regex(
    rb"([!-~\x80-\xff]([ \t!-~\x80-\xff]{0,20}[!-~\x80-\xff])?)?", fullmatch=True
)
_SPACES = st.sampled_from([b"", b" ", b"\t", b"  \t"])
_FRAMING = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"))


@st.composite
def good_heads(draw: st.DrawFn) -> bytes:
    """Return a head that everybody must read alike."""
    fields = []
    for name, value in draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=8)):
        if name.lower() not in _FRAMING and name.lower() != b"connection":
            fields.append(name + b":" + draw(_SPACES) + value + draw(_SPACES))
    body = draw(
        st.sampled_from([b"Content-Length: 12", b"Transfer-Encoding: chunked", b"X-No: body"])
    )
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"]))
    target = b"/" + draw(st.from_regex(rb"[!$&'()*+,./0-9:;=@A-Z_a-z~-]{0,20}", fullmatch=True))
    return head_of(*fields, body, line=method + b" " + target + b" HTTP/1.1")


def h11_reads(raw: bytes) -> object:
    """Return h11's event, or None where it refuses."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    try:
        return connection.next_event()
    except h11.RemoteProtocolError:
        return None


class Listener:
    """Keeps what llhttp says."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))


@given(good_heads())
@settings(max_examples=200)
def test_a_good_head_is_read_as_h11_and_llhttp_read_it(raw: bytes) -> None:
    found = parse(raw, LIMITS)
    event = h11_reads(raw)
    assert isinstance(event, h11.Request)
    assert (event.method.decode(), event.target) == (found.method, found.target)
    assert tuple(event.headers) == found.headers
    listener = Listener()
    parser = httptools.HttpRequestParser(listener)
    parser.feed_data(raw)
    assert (parser.get_method().decode(), listener.url) == (found.method, found.target)
    assert tuple(listener.headers) == found.headers
    assert parser.should_keep_alive() == found.keeps_alive


@given(good_heads())
@settings(max_examples=50)
def test_a_cached_head_equals_a_fresh_one(raw: bytes) -> None:
    cache = HeadCache(LIMITS)
    assert cache.get(raw) == cache.get(raw) == parse(raw, LIMITS)
