"""The bodies of repository requests: what they say, or where their fault lies."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed, TooLarge
from gateway.wire.loading import MOST_BYTES, check_name, read_index, read_load, read_unload

READERS = (read_index, read_load, read_unload)
DEPTH = 10
CONFIG = '{"max_batch_size":"16"}'


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    ("body", "ready"),
    [
        (b"", False),
        (b"{}", False),
        (b'{"ready":true}', True),
        (b'{"ready":false}', False),
        (b' {"other": [1, null], "ready": true}', True),
    ],
)
def test_an_index_asks_for_all_or_for_what_is_ready(body: bytes, ready: bool) -> None:
    assert orjson.loads(read_index(bytearray(body), DEPTH)) == {"ready": ready}


@pytest.mark.parametrize("value", ["null", "1", '"true"', "[true]", '{"ready":true}', "[[[[1]]]]"])
def test_what_is_ready_is_a_boolean(value: str) -> None:
    expected = r"Invalid value for 'ready': expected a boolean \(\$\.ready\), got"
    with pytest.raises(Malformed, match=expected):
        read_index(f'{{"ready":{value}}}'.encode(), DEPTH)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "expected an object, got an array"),
        (b"null", "expected an object, got null"),
        (b'"x"', 'expected an object, got string "x"'),
        (b"{", "expected JSON text"),
        (b" ", "expected JSON text"),
        (b"\xff", "expected JSON text"),
        (b'{"a":1}{', "expected JSON text"),
        (b'{"ready":' + deep(100_000) + b"}", "JSON nesting depth exceeds maximum allowed limit"),
        (deep(1_000_000), "JSON nesting depth exceeds maximum allowed limit"),
    ],
)
def test_a_body_is_an_object(read: type, body: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        read(body, DEPTH)


@pytest.mark.parametrize("read", READERS)
def test_a_body_fits_into_one_message(read: type) -> None:
    assert read(b"{}" + b" " * (MOST_BYTES - 2), DEPTH)
    with pytest.raises(TooLarge, match=f"expected at most {MOST_BYTES} bytes"):
        read(b" " * (MOST_BYTES + 1), DEPTH)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {}),
        ({"other": 1}, {}),
        ({"parameters": {}}, {}),
        ({"parameters": {"config": CONFIG}}, {"config": CONFIG}),
        ({"parameters": {"file:1/model.onnx": "AAAA"}}, {"file:1/model.onnx": "AAAA"}),
    ],
)
def test_a_load_may_bring_a_configuration_and_files(
    asked: dict[str, object], expected: dict[str, str]
) -> None:
    assert orjson.loads(read_load(orjson.dumps(asked), DEPTH)) == {"parameters": expected}
    assert orjson.loads(read_load(b"", DEPTH)) == {"parameters": {}}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (None, r"\$\.parameters: expected an object, got null"),
        ([], r"\$\.parameters: expected an object, got an array"),
        ({"config": {}}, "parameter 'config' has invalid type"),
        ({"config": 1}, r"parameter 'config' has invalid type \(\$\.parameters\): expected a str"),
        ({"config": "{"}, r"parameter 'config' \(\$\.parameters\.config\): .*expected JSON text"),
        ({"config": "[]"}, "expected the JSON text of an object, got that of an array"),
        ({"config": deep(50_000).decode()}, "parameter 'config' .*JSON nesting depth exceeds"),
        ({"file:1/model.onnx": 3}, "parameter 'file:1/model.onnx' has invalid type"),
        ({"file:1/model.onnx": ["AAAA"]}, "parameter 'file:1/model.onnx' has invalid type"),
        ({"flie:1/model.onnx": "AAAA"}, "unrecognized load parameter 'flie:1/model.onnx'"),
        ({"unload_dependents": True}, "unrecognized load parameter 'unload_dependents'"),
        ({"triton_x": "1"}, "reserved for Triton usage"),
    ],
)
def test_a_load_that_cannot_be_understood_is_told_where(parameters: object, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        read_load(orjson.dumps({"parameters": parameters}), DEPTH)


@given(st.dictionaries(st.sampled_from(["config", "file:1/a"]), st.text(max_size=30)))
def test_what_is_passed_on_is_what_was_said(parameters: dict[str, str]) -> None:
    if "config" in parameters:
        parameters["config"] = json.dumps({"text": parameters["config"]})
    body = orjson.dumps({"parameters": parameters})
    passed = read_load(body, DEPTH)
    assert orjson.loads(passed) == {"parameters": parameters}
    assert len(json.dumps(passed.decode(), ensure_ascii=False).encode()) <= 2 * len(body) + 2


@pytest.mark.parametrize("value", [True, False])
def test_an_unload_may_speak_of_dependents(value: bool) -> None:
    body = orjson.dumps({"parameters": {"unload_dependents": value, "more": 1}})
    assert read_unload(body, DEPTH) == read_unload(b"", DEPTH) == b"{}"


@pytest.mark.parametrize("value", [b"null", b"1", b'"yes"', b"[]"])
def test_an_unload_speaks_of_dependents_by_a_boolean(value: bytes) -> None:
    with pytest.raises(Malformed, match="parameter 'unload_dependents' has invalid type"):
        read_unload(b'{"parameters":{"unload_dependents":' + value + b"}}", DEPTH)


@pytest.mark.parametrize("name", ["digits", "a b", "1", "é" * 256, "..."])
def test_a_name_is_taken(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name", ["..", ".", "stats", "../digits", "a/b", "a\\b", "a\0", "a\n", "x" * 257]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="model name must not contain path traversal characters"):
        check_name(name)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(Malformed, match=r"^Model name cannot be empty$"):
        check_name("")
