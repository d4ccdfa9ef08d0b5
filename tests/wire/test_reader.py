"""Reader: the requests that come out do not depend on how the bytes were cut up."""

import tracemalloc
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import Forbidden, GatewayError, Overloaded, TooLarge, Unauthenticated
from gateway.wire.failures import Refused, status_of
from gateway.wire.heads import HeadCache, HeadLimits
from gateway.wire.reader import Reader, Room, Stage
from tests.wire.harness import request
from tests.wire.splitting import GUARDED

LIMITS = HeadLimits(max_target_bytes=100, max_head_bytes=300, max_fields=6)
MOST = 50  # bytes of a body
HEAD = b"POST /a HTTP/1.1\r\nhost: h\r\n"
EMPTY = HEAD + b"\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"

Seen = tuple[bytes, bytes]  # target, body
Story = tuple[list[Seen], Stage | int]  # all requests; the stage at the end, or a status


def reader() -> Reader:
    return Reader(HeadCache(LIMITS), LIMITS, MOST, Room(1 << 30))


def fixed(body: bytes, target: bytes = b"/a") -> bytes:
    head = b"POST %b HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"
    return head % (target, len(body)) + body


def chunked(*chunks: bytes) -> bytes:
    sized = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    return CHUNKED + b"".join(sized) + b"0\r\n\r\n"


def tell(pieces: Iterable[bytes]) -> Story:
    """Feed the pieces, taking after each all that is whole."""
    reading = reader()
    found: list[Seen] = []
    try:
        for piece in pieces:
            reading.feed(piece)
            while (request := reading.take()) is not None:
                head, body = request
                found.append((head.target, bytes(body)))
    except GatewayError as error:
        return found, status_of(error)
    return found, reading.stage()


def cut(text: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut a text at these places, each taken modulo its length; no piece is empty."""
    ends = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:stop] for start, stop in pairwise(ends)]


bodies = st.binary(max_size=MOST)
targets = st.sampled_from([b"/", b"/a", b"/v2/models/m/infer", b"/%zz", b"*"])
requests = st.one_of(
    st.builds(fixed, bodies, targets),
    st.builds(lambda parts: chunked(*parts), st.lists(st.binary(min_size=1, max_size=9))),
    st.sampled_from([EMPTY, b"\r\n" + EMPTY, b"\r\n\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"]),
)
# What ends a story: nothing, less than a request, or a fault.
endings = st.sampled_from(
    [
        b"", b"\r", b"P", HEAD, HEAD + b"\r", EMPTY[:-1], fixed(b"12345")[:-1],
        CHUNKED + b"5\r\nab",
        b" POST", b"POST / HTTP/1.1\nhost: h\r\n\r\n", HEAD + b"a b: c\r\n\r\n", CHUNKED + b"x\r\n",
        fixed(b"x" * (MOST + 1)), HEAD + b"x: " + b"y" * 400 + b"\r\n\r\n",
        b"GET /" + b"x" * 200 + b" HTTP/1.1\r\nhost: h\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
        HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", CHUNKED + b"33\r\n",
    ]
)  # fmt: skip
streams = st.builds(
    lambda parts, end: b"".join(parts) + end, st.lists(requests, max_size=6), endings
)


@given(streams, st.lists(st.integers(0, 2000), max_size=12))
@example(b"\r\n" + EMPTY + b"\r\n" + fixed(b"ab") + EMPTY, [1, 3, 40, 41])
def test_any_cut_gives_the_same_requests_and_the_same_end(text: bytes, places: list[int]) -> None:
    assert tell(cut(text, places)) == tell([text] if text else [])


@given(streams)
def test_single_bytes_give_the_same_requests_and_the_same_end(text: bytes) -> None:
    assert tell([text[at : at + 1] for at in range(len(text))]) == tell([text] if text else [])


@given(requests | streams)
@example(fixed(b"x" * (MOST + 1)))
def test_what_is_whole_at_once_is_what_would_have_been_taken(text: bytes) -> None:
    story: Story | None = None
    try:
        if text and (request := reader().whole(text)):
            story = [(request[0].target, bytes(request[1]))], Stage.NOTHING
    except GatewayError as error:
        story = [], status_of(error)
    assert story in (None, tell([text]))


@pytest.mark.parametrize("text", [EMPTY, fixed(b"abc"), fixed(b"x" * MOST)])
def test_one_request_in_one_piece_is_whole(text: bytes) -> None:
    request = reader().whole(text)
    assert request is not None
    head, body = request
    assert text.endswith(b"\r\n\r\n" + body)
    assert head.length == len(body)


@pytest.mark.parametrize(
    "text",
    [
        EMPTY[:-1],
        EMPTY + b"x",
        EMPTY + EMPTY,
        fixed(b"abc")[:-1],
        fixed(b"abc") + b"\r\n",
        chunked(b"abc"),
        b"\r\n" + EMPTY,
        fixed(b"x" * (MOST + 1)),  # too large: `take` says so
    ],
)
def test_more_less_or_other_than_one_request_is_left_to_take(text: bytes) -> None:
    assert reader().whole(text) is None


def test_nothing_is_whole_while_something_is_held() -> None:
    reading = reader()
    reading.feed(HEAD)
    assert reading.take() is None
    assert reading.whole(EMPTY) is None
    reading.feed(b"content-length: 2\r\n\r\n")
    assert reading.take() is None
    assert reading.whole(EMPTY) is None
    reading.feed(b"ab")
    assert reading.take() is not None
    assert reading.whole(EMPTY) is not None


def test_the_stage_says_what_is_unfinished() -> None:
    reading = reader()
    stages = []
    for piece in (b"\r\n", b"PO", HEAD[2:], b"content-length: 2\r\n\r\n", b"a", b"b"):
        reading.feed(piece)
        reading.take()
        stages.append((reading.stage(), reading.unfinished))
    assert stages == [
        (Stage.NOTHING, False),
        (Stage.HEAD, True),
        (Stage.HEAD, True),
        (Stage.BODY, True),
        (Stage.BODY, True),
        (Stage.NOTHING, False),
    ]


def test_empty_lines_before_a_request_are_skipped() -> None:
    assert tell([b"\r\n\r\n\r\n" + EMPTY + b"\r\n" + EMPTY]) == ([(b"/a", b"")] * 2, Stage.NOTHING)


@pytest.mark.parametrize("before", [b"\n", b"\r\n\n", b" ", b"\r\n \r\n", b"\0"])
def test_nothing_but_empty_lines_may_stand_before_a_request(before: bytes) -> None:
    assert tell([before + EMPTY]) == ([], 400)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GET /" + b"x" * 100 + b" HTTP/1.1\r\nhost: h\r\n\r\n", 414),
        (b"GET /" + b"x" * 200, 414),
        (HEAD + b"x: " + b"y" * 300 + b"\r\n\r\n", 431),
        (HEAD + b"x: " + b"y" * 300, 431),
        (HEAD + b"x: y\r\n" * 6 + b"\r\n", 431),
        (fixed(b"x" * (MOST + 1)), 413),
        (HEAD + b"content-length: 51\r\n\r\n", 413),
        (HEAD + b"content-length: 999999999999999999\r\n\r\n", 413),
        (CHUNKED + b"33\r\n", 413),
        (CHUNKED + b"20\r\n" + b"x" * 32 + b"\r\n13\r\n", 413),
    ],
)
def test_a_limit_is_kept_as_soon_as_it_is_known(text: bytes, status: int) -> None:
    assert tell([fixed(b"ok"), text]) == ([(b"/a", b"ok")], status)


# room

LARGE = b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 200000\r\n\r\n"


def sharing(room: Room) -> Reader:
    return Reader(HeadCache(LIMITS), LIMITS, 1 << 20, room)


def test_what_is_unfinished_takes_room_and_gives_it_back() -> None:
    room = Room(1 << 20)
    reading = sharing(room)
    reading.feed(LARGE + bytes(100_000))
    assert reading.take() is None
    assert room.held_bytes == 100_000
    reading.feed(bytes(50_000))
    assert reading.take() is None
    assert room.held_bytes == 150_000
    reading.feed(bytes(50_000) + b"POST")  # a whole body is its request's, and a head has begun
    assert reading.take() is not None
    assert room.held_bytes == len(b"POST")
    assert reading.take() is None
    reading.close()
    assert room.held_bytes == 0


def test_a_connection_that_ends_gives_its_room_back_once() -> None:
    room = Room(1 << 20)
    reading = sharing(room)
    reading.feed(LARGE + bytes(100_000))
    reading.take()
    reading.close()
    reading.close()
    assert room.held_bytes == 0


def test_without_room_who_holds_much_is_refused_and_holds_nothing_any_more() -> None:
    room = Room(250_000)
    readers = [sharing(room) for _ in range(3)]
    for reading in readers:
        reading.feed(LARGE + bytes(80_000))
        assert reading.take() is None
    readers[0].feed(bytes(80_000))
    with pytest.raises(
        Overloaded, match=r"250000 bytes \(limits\.max_unfinished_bytes\)"
    ) as caught:
        readers[0].take()
    assert caught.value.shed == "bytes"
    assert room.held_bytes == 160_000
    readers[1].feed(bytes(80_000))  # now there is room for others
    assert readers[1].take() is None


def test_without_room_who_holds_little_is_read_on() -> None:
    room = Room(100)
    reading = sharing(room)
    reading.feed(LARGE + bytes(65_536))
    assert reading.take() is None
    assert room.held_bytes == 65_536


def test_a_request_in_one_piece_needs_no_room() -> None:
    room = Room(1)
    assert sharing(room).whole(LARGE + bytes(200_000)) is not None
    reading = sharing(room)
    reading.feed(LARGE + bytes(200_000))
    assert reading.take() is not None
    assert room.held_bytes == 0


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_whatever_comes_no_room_is_lost(text: bytes, places: list[int]) -> None:
    room = Room(1 << 20)
    reading = sharing(room)
    try:
        for piece in cut(LARGE + text, places):
            reading.feed(piece)
            while reading.take() is not None:
                pass
    except GatewayError:
        pass  # it was refused: what is held must come back all the same
    assert room.held_bytes >= 0
    reading.close()
    assert room.held_bytes == 0


# strangers


def of_a_stranger(*fields: str, minor: int = 1) -> bytes:
    return request("POST", "/v2/models/m/infer", b"", *fields, minor=minor)


def guarded() -> Reader:
    return Reader(HeadCache(LIMITS, keys=GUARDED), LIMITS, 1 << 20, Room(1 << 30))


@pytest.mark.parametrize(
    "fields",
    [
        ("content-length: 65537",),
        ("transfer-encoding: chunked",),
        ("content-length: 1", "expect: 100-continue"),
        ("content-length: 65537", "x-api-key: nonsense"),
    ],
)
def test_a_long_body_of_a_stranger_is_refused_by_its_head(fields: tuple[str, ...]) -> None:
    reading = guarded()
    reading.feed(of_a_stranger(*fields))
    with pytest.raises(Unauthenticated):
        reading.take()


def test_a_long_body_of_somebody_who_may_do_less_is_refused_by_its_head() -> None:
    reading = guarded()
    reading.feed(of_a_stranger("content-length: 65537", "x-api-key: glass"))
    with pytest.raises(Forbidden):
        reading.take()


def test_a_long_body_of_a_stranger_is_no_whole_request() -> None:
    text = of_a_stranger("content-length: 65537") + bytes(65537)
    assert guarded().whole(text) is None


@pytest.mark.parametrize("size", [0, 1, 65536])
def test_a_short_body_of_a_stranger_is_read_and_the_connection_kept(size: int) -> None:
    text = of_a_stranger(f"content-length: {size}") + bytes(size)
    found = guarded().whole(text)
    reading = guarded()
    reading.feed(text)
    for read in (found, reading.take()):
        assert read is not None
        assert isinstance(read[0].fault, Unauthenticated)
        assert len(read[1]) == size
    assert reading.stage() is Stage.NOTHING


def test_a_long_body_of_somebody_who_may_is_read() -> None:
    reading = guarded()
    reading.feed(of_a_stranger("transfer-encoding: chunked", "x-api-key: ticket"))
    assert reading.take() is None
    assert reading.stage() is Stage.BODY
    text = of_a_stranger("content-length: 65537", "x-api-key: ticket") + bytes(65537)
    assert guarded().whole(text) is not None


def test_what_is_too_large_is_told_with_its_size_and_the_limit() -> None:
    reading = reader()
    reading.feed(HEAD + b"content-length: 51\r\n\r\n")
    with pytest.raises(TooLarge, match=r"51 bytes exceeds .* 50 bytes \(limits.max_body_bytes\)"):
        reading.take()


def test_a_refusal_comes_from_whole_too() -> None:
    with pytest.raises(Refused, match="header host"):
        reader().whole(b"GET / HTTP/1.1\r\n\r\n")


def test_a_client_waits_for_permission_from_its_head_to_its_first_body_byte() -> None:
    reading = reader()
    waits = [reading.awaits_permission()]
    expecting = HEAD + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    for piece in (expecting[:-1], expecting[-1:], b"a", b"b"):
        reading.feed(piece)
        reading.take()
        waits.append(reading.awaits_permission())
    assert waits == [False, False, True, False, False]


def test_a_client_that_did_not_ask_does_not_wait_for_permission() -> None:
    reading = reader()
    reading.feed(HEAD + b"content-length: 2\r\n\r\n")
    assert reading.take() is None
    assert not reading.awaits_permission()


def test_one_more_byte_of_a_head_does_not_copy_what_came_before() -> None:
    limits = HeadLimits()
    reading = Reader(HeadCache(limits), limits, MOST, Room(1 << 30))
    for piece in (HEAD, b"x: " + b"y" * 40_000, b"y", b"y"):
        reading.feed(piece)
        assert reading.take() is None
    tracemalloc.start()
    try:
        reading.feed(b"y")
        assert reading.take() is None
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20_000


def test_one_more_byte_of_a_body_does_not_copy_what_came_before() -> None:
    reading = Reader(HeadCache(LIMITS), LIMITS, 100_000, Room(1 << 30))
    for piece in (HEAD + b"content-length: 90000\r\n\r\n", b"y" * 40_000, b"y", b"y"):
        reading.feed(piece)
        assert reading.take() is None
    tracemalloc.start()
    try:
        reading.feed(b"y")
        assert reading.take() is None
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20_000


@pytest.mark.parametrize(
    ("pieces", "is_head"),
    [
        ([], False),
        ([b"HEAD"], False),
        ([b"HEAD /a"], True),
        ([b"\r\nHEAD /a"], True),
        ([EMPTY + b"HEAD /a"], True),
        ([b"HEAD /a HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n", b"x"], True),
        ([HEAD + b"content-length: 5\r\n\r\nHEAD "[:-1]], False),
    ],
)
def test_it_is_known_whether_a_head_request_is_held(pieces: list[bytes], is_head: bool) -> None:
    reading = reader()
    for piece in pieces:
        reading.feed(piece)
        while reading.take() is not None:
            pass
    assert reading.holds_head_request() is is_head
