"""Codings: what a compressed body holds, or why it cannot be read."""

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed, TooLarge
from gateway.wire.codings import Coding, read_coding, unpack, unpack_little

PACK: dict[Coding, Callable[[bytes], bytes]] = {
    Coding.GZIP: gzip.compress,
    Coding.DEFLATE: zlib.compress,
}
codings = pytest.mark.parametrize("coding", list(Coding))


def raw_deflate(held: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(held) + packer.flush()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", None),
        (b"identity", None),
        (b"gzip", Coding.GZIP),
        (b"GZIP", Coding.GZIP),
        (b"x-gzip", Coding.GZIP),
        (b" deflate , identity", Coding.DEFLATE),
    ],
)
def test_a_coding_is_known_by_its_name_in_any_case(value: bytes, expected: Coding | None) -> None:
    assert read_coding(value) is expected


@given(st.binary(max_size=2000), st.sampled_from(list(Coding)), st.integers(0, 2000))
def test_what_was_packed_comes_out_if_it_is_not_too_large(
    held: bytes, coding: Coding, most: int
) -> None:
    packed = PACK[coding](held)
    little = unpack_little(packed, coding, most)
    if len(held) <= most:
        assert unpack(packed, coding, most) == held
    else:
        with pytest.raises(TooLarge):
            unpack(packed, coding, most)
    assert little in (held, None)
    if len(held) < most:
        assert little == held


@given(st.binary(max_size=300), st.sampled_from(list(Coding)))
def test_what_nobody_packed_is_malformed_or_small(body: bytes, coding: Coding) -> None:
    with suppress(Malformed, TooLarge):
        assert len(unpack(body, coding, 1000)) <= 1000
    little = unpack_little(body, coding, 1000)
    assert little is None or little == unpack(body, coding, 1000)


@codings
@pytest.mark.parametrize("cut", [0, 1, 5, 15])
def test_what_is_cut_short_is_malformed_and_its_coding_named(coding: Coding, cut: int) -> None:
    packed = PACK[coding](b"some text that is long enough to be cut")[:cut]
    with pytest.raises(Malformed, match=coding.name.lower()):
        unpack(packed, coding, 1000)
    assert unpack_little(packed, coding, 1000) is None


@codings
def test_what_is_broken_inside_is_malformed(coding: Coding) -> None:
    packed = bytearray(PACK[coding](bytes(range(200))))
    packed[-3] ^= 255  # of the checksum
    with pytest.raises(Malformed, match="as header content-encoding says"):
        unpack(packed, coding, 1000)


def test_deflate_without_its_wrapper_is_malformed() -> None:
    with pytest.raises(Malformed, match="expected deflate"):
        unpack(raw_deflate(b"text"), Coding.DEFLATE, 1000)


@codings
def test_what_follows_the_end_is_malformed(coding: Coding) -> None:
    packed = PACK[coding](b"text") + b"more"
    assert unpack_little(packed, coding, 1000) is None
    with pytest.raises(Malformed):
        unpack(packed, coding, 1000)


def test_members_of_gzip_are_one_body_and_so_large_together() -> None:
    packed = gzip.compress(b"one,") + gzip.compress(b"two")
    assert unpack(packed, Coding.GZIP, 7) == b"one,two"
    with pytest.raises(TooLarge):
        unpack(packed, Coding.GZIP, 6)


def test_endless_members_are_not_followed() -> None:
    with pytest.raises(Malformed, match="more than 1024 members"):
        unpack(gzip.compress(b"") * 2000, Coding.GZIP, 1000)


@codings
def test_a_bomb_stops_at_the_limit(coding: Coding) -> None:
    bomb = PACK[coding](bytes(50 << 20))
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge, match="exceeds the maximum allowed input size of 1000000 bytes"):
        unpack(bomb, coding, 1_000_000)
    assert unpack_little(bomb, coding, 1_000_000) is None
