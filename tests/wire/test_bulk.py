"""Bulk: what is long, base64 and between quotes is taken out of a text, and nothing else."""

import base64
import random
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import bulk
from gateway.wire.bulk import as_bytes, without_files

LONG = 16 << 10
FILE = base64.b64encode(random.Random(0).randbytes(LONG)).decode()


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Let eight characters be a long text, and four of them a piece, but where it matters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "_LONG_BYTES", 8)
        patch.setattr(bulk, "_PIECE_BYTES", 4)
        yield


def taken(text: bytes | bytearray) -> list[str]:
    return [bytes(file).decode() for file in without_files(text)[1].values()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"{}", []),
        (b'"', []),
        (b'"12345678', []),
        (b'"1234567"', []),
        (b'"12345678"', ["12345678"]),
        (b'"A+/9abc="', ["A+/9abc="]),
        (b'{"a":"AAAAAAAA","b":"BBBBBBBBBBBB"}', ["AAAAAAAA", "BBBBBBBBBBBB"]),
        (b'{"a":"x","AAAAAAAAAA":"y"}', ["AAAAAAAAAA"]),
        (b'"AAAA AAAA"', []),
        (b'"AAAA\\nAAA"', []),
        (b'"AAAAAAA-A"', []),
        ('"AAAAAAAAé"'.encode(), []),
        (b'"AAAA\\"BBBBBBBB"', ["BBBBBBBB"]),
        (b'["short",       "AAAAAAAA",123456789012,"B"]', ["AAAAAAAA"]),
        (b'"1"23456789"0"', ["23456789"]),
    ],
)
def test_what_is_long_and_base64_between_two_quotes_is_taken_out(
    text: bytes, expected: list[str]
) -> None:
    assert taken(text) == expected
    assert taken(bytearray(text)) == expected


def test_a_file_of_real_size_leaves_a_text_of_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_LONG_BYTES", LONG)
    text = orjson.dumps({"parameters": {"file:1/a": FILE, "config": "{}", "file:1/b": FILE}})
    rest, files = without_files(text)
    assert len(rest) < 200
    assert [bytes(file).decode() for file in files.values()] == [FILE, FILE]
    values = orjson.loads(rest)["parameters"]
    assert {**values, "file:1/a": FILE, "file:1/b": FILE} == orjson.loads(text)["parameters"]


def test_a_text_without_files_stays_as_it_is() -> None:
    text = b'{"a": 1}'
    rest, files = without_files(text)
    assert (bytes(rest), files) == (text, {})


def test_no_text_can_hold_a_mark_of_its_own_reading() -> None:
    text = b'["AAAAAAAA"]'
    first, second = without_files(text)[0], without_files(text)[0]
    assert first != second
    assert taken(bytes(first)) == []


@given(
    st.lists(st.sampled_from(['"', "\\", "A" * 8, "B" * 9, "C", "=", "é", " ", "~"])).map("".join)
)
def test_nothing_but_what_was_taken_out_is_missing(text: str) -> None:
    rest, files = without_files(text.encode())
    whole = rest.decode()
    for mark, file in files.items():
        assert whole.count(mark) == 1
        whole = whole.replace(mark, bytes(file).decode())
    assert whole == text


@given(st.binary(max_size=40))
def test_a_text_that_changes_no_more_is_the_same_text(text: bytes) -> None:
    changing = bytearray(text)
    kept = as_bytes(changing)
    changing += b"more"
    assert (type(kept), kept) == (bytes, text)
    assert as_bytes(text) is text
