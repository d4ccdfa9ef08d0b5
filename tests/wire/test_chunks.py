"""Chunks: however a body is cut, it is the same body; whatever is odd is refused."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.wire.chunks import ChunkDecoder
from gateway.wire.failures import Refused


def encoded(*chunks: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n" + trailers + b"\r\n"


def decoded(raw: bytes, max_body_bytes: int = 1000) -> bytes:
    """Return the body of exactly these bytes."""
    decoder = ChunkDecoder(max_body_bytes)
    assert decoder.feed(raw) == len(raw)
    assert decoder.done
    return bytes(decoder.body)


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        pytest.param(b"0\r\n\r\n", b"", id="no chunk at all"),
        pytest.param(b"5\r\nhello\r\n0\r\n\r\n", b"hello", id="one chunk"),
        pytest.param(b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!", id="two chunks"),
        pytest.param(b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", id="hex in lower case"),
        pytest.param(b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", id="hex in upper case"),
        pytest.param(b"0005\r\nhello\r\n000\r\n\r\n", b"hello", id="leading zeros"),
        pytest.param(b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", id="data that is a line end"),
        pytest.param(b"5;a=b\r\nhello\r\n0;c\r\n\r\n", b"hello", id="extensions"),
        pytest.param(b'5;a="b;c"\r\nhello\r\n0\r\n\r\n', b"hello", id="a quoted extension"),
        pytest.param(b"1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", b"x", id="trailers are dropped"),
        pytest.param(b"1;" + b"a" * 4095 + b"\r\nx\r\n0\r\n\r\n", b"x", id="an extension of 4 KiB"),
        pytest.param(b"0\r\nA: " + b"b" * 8185 + b"\r\n\r\n", b"", id="trailers of 8 KiB"),
    ],
)
def test_a_chunked_body_is_decoded(raw: bytes, body: bytes) -> None:
    assert decoded(raw) == body


MALFORMED = [
    ("a size with a minus", b"-1\r\nx"),
    ("a size with a plus", b"+1\r\nx"),
    ("a size with 0x", b"0x1\r\nx"),
    ("a size with an underscore", b"1_0\r\nx"),
    ("a size that is not hex", b"g\r\nx"),
    ("a size of other digits", "\u0661\r\nx".encode()),
    ("an empty size", b"\r\n"),
    ("an extension alone", b";a\r\n"),
    ("a space before the size", b" 1\r\nx"),
    ("a space behind the size", b"1 \r\nx"),
    ("a space before an extension", b"1 ;a\r\nx"),
    ("a size of 17 digits", b"10000000000000000\r\nx"),
    ("a size of endless zeros", b"0" * 17 + b"1\r\nx"),
    ("digits without an end", b"0" * 5000),
    ("an extension without an end", b"1;" + b"a" * 5000),
    ("an extension above 4 KiB", b"1;" + b"a" * 4096 + b"\r\nx"),
    ("extensions above 4 KiB in total", (b"1;" + b"a" * 2047 + b"\r\nx\r\n") * 3),
    ("a size line with a bare LF", b"1\nx\r\n0\r\n\r\n"),
    ("a bare LF for the last size", b"1\r\nx\r\n0\n\r\n"),
    ("a bare CR in an extension", b"1;a\rb\r\nx"),
    ("a NUL in an extension", b"1;a\0\r\nx"),
    ("a bare LF behind the data", b"1\r\nx\n0\r\n\r\n"),
    ("a bare CR behind the data", b"1\r\nx\r0\r\n\r\n"),
    ("nothing behind the data", b"1\r\nx0\r\n\r\n"),
    ("data longer than its size", b"1\r\nxy\r\n0\r\n\r\n"),
    ("a bare LF for the last line", b"0\r\n\n"),
    ("a trailer with a bare LF", b"0\r\nA: b\n\r\n"),
    ("a trailer without a colon", b"0\r\nA\r\n\r\n"),
    ("a folded trailer", b"0\r\nA: b\r\n c\r\n\r\n"),
    ("a trailer without a name", b"0\r\n: b\r\n\r\n"),
    ("a trailer with a space before its colon", b"0\r\nA : b\r\n\r\n"),
    ("a trailer with a NUL", b"0\r\nA: \0\r\n\r\n"),
    ("a trailer named Content-Length", b"0\r\nContent-Length: 5\r\n\r\n"),
    ("a trailer named Transfer-Encoding", b"0\r\nTRANSFER-ENCODING: chunked\r\n\r\n"),
    ("a trailer named Host", b"0\r\nA: b\r\nhost: h\r\n\r\n"),
    ("a trailer without an end", b"0\r\nA: " + b"b" * 9000),
    ("trailers above 8 KiB", b"0\r\n" + b"A: bcd\r\n" * 1025),
    ("a body that is not chunked", b'{"inputs":[]}\r\n'),
]


@pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw in MALFORMED])
@pytest.mark.parametrize("piece_bytes", [1, 7, 10_000])
def test_a_malformed_body_is_refused(raw: bytes, piece_bytes: int) -> None:
    decoder = ChunkDecoder(1000)
    pieces = [raw[start : start + piece_bytes] for start in range(0, len(raw), piece_bytes)]
    with pytest.raises(Refused) as refused:
        sum(map(decoder.feed, pieces))
    assert refused.value.status == 400
    assert not decoder.done


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        (b"b\r\n", 11),
        (b"5\r\nhello\r\n6\r\n", 11),
        (b"5\r\nhello\r\n5\r\nhello\r\n1\r\n", 11),
        (b"FFFFFFFFFFFFFFFF\r\n", 2**64 - 1),
        (b"8000000000000000\r\n", 2**63),
    ],
)
def test_a_body_above_the_limit_is_refused_before_its_data_comes(raw: bytes, size: int) -> None:
    with pytest.raises(errors.TooLarge) as refused:
        ChunkDecoder(10).feed(raw)
    assert str(refused.value) == (
        f"request JSON size of {size} bytes exceeds the maximum allowed input size of 10 bytes "
        "(limits.max_body_bytes)"
    )


def test_a_body_at_the_limit_is_taken() -> None:
    assert decoded(encoded(b"hello", b"hello"), max_body_bytes=10) == b"hellohello"
    assert decoded(encoded(), max_body_bytes=0) == b""


def test_more_chunks_than_the_limit_are_refused() -> None:
    assert decoded(encoded(*[b"x"] * 65536), max_body_bytes=100_000) == b"x" * 65536
    message = "^Chunked request body exceeds maximum of 65536 non-empty chunks$"
    with pytest.raises(Refused, match=message):
        ChunkDecoder(100_000).feed(encoded(*[b"x"] * 65537))


def test_the_limit_of_chunks_can_be_set() -> None:
    with pytest.raises(Refused, match="maximum of 2 non-empty chunks"):
        ChunkDecoder(100, max_chunks=2).feed(encoded(b"a", b"b", b"c"))


def test_what_follows_the_body_is_left_to_the_next_request() -> None:
    raw = encoded(b"hello", trailers=b"A: b\r\n")
    decoder = ChunkDecoder(10)
    assert decoder.feed(raw + b"GET / HTTP/1.1\r\n") == len(raw)
    assert decoder.feed(b"GET /") == 0
    assert decoder.body == b"hello"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_piece_may_be_any_kind_of_bytes(kind: type[bytes | bytearray | memoryview]) -> None:
    decoder = ChunkDecoder(10)
    assert decoder.feed(kind(encoded(b"hello"))) == len(encoded(b"hello"))
    assert decoder.body == b"hello"


def test_pipelined_bodies_are_taken_from_one_buffer_that_may_grow_after() -> None:
    """No view of the buffer is left behind: a bytearray with one cannot be resized."""
    data = bytearray(b"".join(encoded(b"%d" % at, b"!") for at in range(500)))
    start = 0
    for at in range(500):
        decoder = ChunkDecoder(10)
        with memoryview(data) as view:
            start += decoder.feed(view[start:])
        data += b"x"
        assert decoder.done
        assert decoder.body == b"%d!" % at
    assert data[start:] == b"x" * 500


def test_whole_chunks_are_counted_and_summed_as_those_in_pieces_are() -> None:
    raw = encoded(*[b"ab"] * 6)
    with pytest.raises(errors.TooLarge, match="size of 12 bytes"):
        ChunkDecoder(11).feed(raw)
    with pytest.raises(Refused, match="maximum of 5 non-empty chunks"):
        ChunkDecoder(100, max_chunks=5).feed(raw)


def test_an_empty_piece_changes_nothing() -> None:
    decoder = ChunkDecoder(10)
    assert decoder.feed(b"") == 0
    assert not decoder.done


def test_a_body_is_not_done_before_its_last_byte() -> None:
    raw = encoded(b"hello", trailers=b"A: b\r\n")
    decoder = ChunkDecoder(10)
    for index in range(len(raw)):
        assert not decoder.done
        assert decoder.feed(raw[index : index + 1]) == 1
    assert decoder.done


_CHUNKS = st.lists(st.binary(min_size=1, max_size=30), max_size=8)
_TRAILERS = st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nLong-Name:\tvalue \r\n"])


@given(_CHUNKS, _TRAILERS)
def test_encoding_and_decoding_give_the_body_back(chunks: list[bytes], trailers: bytes) -> None:
    assert decoded(encoded(*chunks, trailers=trailers)) == b"".join(chunks)


@given(_CHUNKS, _TRAILERS, st.binary(max_size=9), st.data())
def test_any_cuts_give_the_same_body_and_the_same_end(
    chunks: list[bytes], trailers: bytes, rest: bytes, data: st.DataObject
) -> None:
    raw = encoded(*chunks, trailers=trailers)
    whole = raw + rest
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=10).map(sorted))
    decoder = ChunkDecoder(1000)
    taken = sum(
        decoder.feed(whole[start:stop])
        for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True)
    )
    assert (taken, bytes(decoder.body), decoder.done) == (len(raw), b"".join(chunks), True)


_ODD = st.lists(
    st.sampled_from(
        [b"0", b"1", b"a", b"F", b"\r\n", b"\r", b"\n", b";", b"A: b", b"-", b"\0", b" "]
    )
    | st.binary(max_size=3),
    max_size=20,
).map(b"".join)


@given(_ODD, st.integers(1, 8))
@settings(max_examples=300)
def test_any_bytes_are_taken_or_refused_alike_in_any_pieces(raw: bytes, piece_bytes: int) -> None:
    def ending(pieces: list[bytes]) -> tuple[object, ...]:
        decoder = ChunkDecoder(100)
        try:
            taken = sum(decoder.feed(piece) for piece in pieces)
        except (Refused, errors.TooLarge) as error:
            return type(error), bytes(decoder.body)
        return taken, bytes(decoder.body), decoder.done

    cut = [raw[start : start + piece_bytes] for start in range(0, len(raw), piece_bytes)]
    assert ending([raw]) == ending(cut)


@given(_CHUNKS, _TRAILERS)
def test_a_body_is_decoded_as_h11_decodes_it(chunks: list[bytes], trailers: bytes) -> None:
    raw = encoded(*chunks, trailers=trailers)
    connection = h11.Connection(h11.SERVER)
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.receive_data(head + raw)
    body = bytearray()
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            body += event.data
    assert bytes(body) == decoded(raw)
