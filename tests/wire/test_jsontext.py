"""JSON text is read strictly, but for the tokens; and nobody nests deeper than allowed."""

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed
from gateway.wire import jsontext

ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
)


def loaded(text: bytes) -> object:
    return jsontext.load(text, 100)


def depth(value: object) -> int:
    """How deep a value nests, counted the slow way."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


BROKEN = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"   ", id="white space"),
    pytest.param(b"\xef\xbb\xbf{}", id="a byte order mark"),
    pytest.param(b"{", id="an open object"),
    pytest.param(b"[1,]", id="a comma too many"),
    pytest.param(b'{"a":1}{"a":1}', id="two documents"),
    pytest.param(b'{"a":1}\0', id="a NUL behind the document"),
    pytest.param(b"{'a':1}", id="single quotes"),
    pytest.param(b"{a:1}", id="a key without quotes"),
    pytest.param(b"[01]", id="a leading zero"),
    pytest.param(b"[1.]", id="a point without digits"),
    pytest.param(b"[+1]", id="a plus sign"),
    pytest.param(b"[0x10]", id="hexadecimal"),
    pytest.param(b"[1e999]", id="a number beyond every float"),
    pytest.param(b"[" + b"9" * 400 + b"]", id="an integer beyond every float"),
    pytest.param(b"[" + b"9" * 5000 + b"]", id="an integer beyond Python's digits"),
    pytest.param(b'["\\ud800"]', id="a lone high surrogate"),
    pytest.param(b'["\\udc00"]', id="a lone low surrogate"),
    pytest.param(b'["\xff"]', id="bytes that are no UTF-8"),
    pytest.param(b'["\xed\xa0\x80"]', id="a surrogate in UTF-8"),
    pytest.param(b'["\xc0\x80"]', id="an overlong NUL"),
    pytest.param(b'["\n"]', id="a raw line feed in a string"),
    pytest.param(b'["\\x41"]', id="an unknown escape"),
    pytest.param(b"[tru]", id="half a literal"),
    pytest.param(b"[nan]", id="nan in small letters"),
    pytest.param(b"[-NaN]", id="a negative NaN"),
    pytest.param(b"[1NaN]", id="a number that runs into a token"),
    pytest.param(b"[NaN1]", id="a token that runs into a number"),
    pytest.param(b"[+Infinity]", id="infinity with a plus sign"),
    pytest.param(b"[Infinity", id="an open array with a token"),
    pytest.param(b"[NaN,1e999]", id="a number beyond every float beside a token"),
    pytest.param(b'[NaN,"\\ud800"]', id="a lone surrogate beside a token"),
    pytest.param(b'[NaN,"\xff"]', id="no UTF-8 beside a token"),
    pytest.param(b'[NaN,"\\uNaN0"]', id="a token inside an escape"),
    pytest.param(b"\xef\xbb\xbf[NaN]", id="a byte order mark before a token"),
    pytest.param(b"[NaN," + b"9" * 5000 + b"]", id="endless digits beside a token"),
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_not_json_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed, match=r"expected JSON text, got .*line 1 column"):
        loaded(text)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        (b"[1,x]", 4),
        (b'{"a": 1, "b" 2}', 14),
        (b"[NaN,Infinity,x]", 15),
        (b'["NaN",-Infinity,]', 17),
    ],
)
def test_an_error_names_the_position(text: bytes, column: int) -> None:
    with pytest.raises(Malformed, match=rf"line 1 column {column} "):
        loaded(text)


def test_tokens_are_numbers() -> None:
    found = loaded(b"[NaN, Infinity, -Infinity]")
    assert isinstance(found, list)
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf]


def test_tokens_inside_strings_stay_text() -> None:
    assert loaded(b'["NaN","a\\\\NaN","-Infinity",{"NaN":Infinity}]') == [
        "NaN",
        "a\\NaN",
        "-Infinity",
        {"NaN": math.inf},
    ]


@pytest.mark.parametrize("value", [b"1", b"NaN"], ids=["orjson", "with tokens"])
def test_the_last_of_duplicate_keys_wins(value: bytes) -> None:
    found = loaded(b'{"a":' + value + b',"b":0,"a":2}')
    assert isinstance(found, dict)
    assert found["a"] == 2


@given(ANY_JSON)
def test_whatever_python_writes_is_read_back(value: object) -> None:
    text = json.dumps(value).encode()
    with suppress(Malformed):  # Python writes lone surrogates
        assert json.dumps(loaded(text)) == json.dumps(value)


@given(st.text(st.sampled_from('[]{}",:\\a1 '), max_size=60))
def test_any_text_is_read_or_malformed(text: str) -> None:
    with suppress(Malformed):
        jsontext.load(text.encode(), 2)


@given(ANY_JSON, st.integers(0, 6))
def test_depth_is_measured_exactly(value: object, limit: int) -> None:
    text = json.dumps(value).encode()
    if depth(value) > limit:
        with pytest.raises(Malformed, match="JSON nesting depth exceeds maximum allowed limit"):
            jsontext.check_depth(text, limit)
    else:
        jsontext.check_depth(text, limit)


@pytest.mark.parametrize("levels", [50, 100])
def test_a_depth_within_the_limit_is_read(levels: int) -> None:
    assert depth(loaded(b"[" * levels + b"]" * levels)) == levels


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[" * 101 + b"]" * 101, id="arrays"),
        pytest.param(b'{"a":' * 101 + b"1" + b"}" * 101, id="objects"),
        pytest.param(b'[{"a":' * 51 + b"1" + b"}]" * 51, id="both in turn"),
        pytest.param(b"[" + b"[]," * 500 + b"[" * 100 + b"]" * 101, id="behind shallow ones"),
        pytest.param(b"[" * 250_000, id="brackets that never close"),
        pytest.param(b"[" * 250_000 + b"]" * 250_000, id="brackets that all close"),
        pytest.param(b'{"a":' * 250_000, id="objects that never close"),
        pytest.param(b"[NaN," * 250_000, id="brackets and tokens"),
    ],
)
def test_a_depth_beyond_the_limit_is_malformed(text: bytes) -> None:
    with pytest.raises(
        Malformed, match=r"JSON nesting depth exceeds maximum allowed limit \(100\)"
    ):
        loaded(text)


@pytest.mark.parametrize(
    "string",
    [
        pytest.param("[" * 300, id="brackets"),
        pytest.param('"' + "[" * 300, id="a quote, then brackets"),
        pytest.param("\\" + "{" * 300, id="a backslash, then braces"),
        pytest.param("\\\\\\" + "[" * 300, id="three backslashes, then brackets"),
        pytest.param("[" * 150 + '"\\"' + "[" * 150, id="brackets around quotes"),
        pytest.param("", id="an empty string"),
    ],
)
def test_brackets_inside_strings_do_not_count(string: str) -> None:
    value = [[string, "]" * 300, string], {string: [string] * 60}]
    assert loaded(json.dumps(value).encode()) == value


def test_levels_are_carried_from_chunk_to_chunk() -> None:
    """A body of brackets is measured a chunk at a time; here the deep ones straddle two."""
    shallow = b"[]," * ((1 << 19) - 30)  # two brackets each
    jsontext.check_depth(b"[" + shallow + b"[" * 99 + b"]" * 99 + b"]", 100)
    with pytest.raises(Malformed, match="depth"):
        jsontext.check_depth(b"[" + shallow + b"[" * 100 + b"]" * 100 + b"]", 100)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (jsontext.MISSING, "nothing"),
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.0, "1.0"),
        ("1", 'string "1"'),
        ("é" * 200, f'string "{"é" * 128}…"'),
        ([1, 2], "an array"),
        ({}, "an object"),
    ],
)
def test_a_message_calls_a_value_by_its_kind(value: object, expected: str) -> None:
    assert jsontext.got(value) == expected
