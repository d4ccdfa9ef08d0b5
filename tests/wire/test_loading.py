"""The bodies of repository requests: what they say, or where their fault lies."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed, TooLarge
from gateway.wire import bulk, jsontext
from gateway.wire.loading import (
    MOST_BYTES,
    check_name,
    parameters_beside,
    read_index,
    read_load,
    read_load_beside,
    read_unload,
)

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


# files


FILE = base64.b64encode(bytes(range(256)) * 4096).decode()  # more than a megabyte
LOAD = orjson.dumps({"parameters": {"config": CONFIG, "file:1/model.onnx": FILE, "file:1/a": ""}})


class Reads:
    """Notes how long the texts are that are read as JSON, and where."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.threads: list[threading.Thread] = []
        self._load = jsontext.load
        patch.setattr(jsontext, "load", self.load)

    def load(self, text: bytes | bytearray, max_depth: int) -> object:
        self.sizes.append(len(text))
        self.threads.append(threading.current_thread())
        return self._load(text, max_depth)


def test_a_file_is_passed_on_without_being_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(monkeypatch)
    assert orjson.loads(read_load(LOAD, DEPTH)) == orjson.loads(LOAD)
    assert max(reads.sizes) < 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (LOAD + b"x", f"line 1 column {len(LOAD) + 1}"),
        (LOAD[:-1] + b',"parameters":{"file:1/a":1}}', "'file:1/a' has invalid type"),
        (LOAD.replace(b"file:1/m", b"flie:1/m"), "unrecognized load parameter 'flie:1/model.onnx'"),
        (LOAD.replace(FILE.encode(), b"~0~") + b'"' + FILE.encode() + b'"', "expected JSON text"),
    ],
)
def test_what_is_wrong_beside_a_file_is_told_with_its_place(body: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        read_load(body, DEPTH)


NAMES = st.sampled_from(['"file:1/a"', '"file:1/b"', '"config"', '"other"', '"AAAAAAAAAAAA"'])
LONG = 12
VALUES = st.sampled_from(
    [
        *(f'"{letter * LONG}"' for letter in "ABC"),
        *('"D"', '"{}"', '"~0~"', "{}", "NaN", "1" * LONG),
        f'"1\\"{"E" * LONG}"',
        f'"{"F" * LONG}\\n"',
        f'"{"G" * LONG}""{"H" * LONG}"',
        f'"{{\\"a\\":\\"{"I" * LONG}\\"}}"',
    ]
)
OBJECTS = st.lists(st.tuples(NAMES, VALUES).map(":".join), max_size=4).map(
    lambda members: "{" + ",".join(members) + "}"
)
BODIES = st.lists(
    st.tuples(st.sampled_from(['"parameters"', '"other"']), OBJECTS).map(":".join), max_size=3
).map(lambda members: ("{" + ",".join(members) + "}").encode())


def outcome(body: bytes) -> object:
    """What becomes of a body: its parameters as they are read in the end, or what is told."""

    async def scene() -> object:
        try:
            passed_on = await read_load_beside(body, DEPTH)
        except Malformed as error:
            return str(error)
        found = await parameters_beside(passed_on)
        return {
            key: one if isinstance(one, str) else bytes(one).decode() for key, one in found.items()
        }

    return asyncio.run(scene())


@contextmanager
def files_from(length: int) -> Iterator[None]:
    """Take so short a text for a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "_LONG_BYTES", length)
        patch.setattr(bulk, "_PIECE_BYTES", 4)
        yield


@given(BODIES)
def test_a_load_means_the_same_whether_its_files_are_taken_for_such_or_not(body: bytes) -> None:
    expected = outcome(body)
    with files_from(LONG):
        assert outcome(body) == expected


def test_these_files_are_taken_for_such() -> None:
    body = b'{"other":1,"parameters":{"file:1/b":"BBBBBBBBBBBB","file:1/a":"AAAAAAAAAAAA"}}'
    with files_from(LONG):
        assert read_load(body, DEPTH) is body
    assert read_load(body, DEPTH) == body.replace(b'"other":1,', b"")


@pytest.mark.parametrize("token", [b"NaN", b"-Infinity"])
def test_what_is_passed_on_is_json_whatever_was_said(token: bytes) -> None:
    passed_on = read_load(LOAD[:-1] + b',"other":' + token + b"}", DEPTH)
    assert orjson.loads(passed_on) == orjson.loads(LOAD)


def test_a_large_load_is_read_in_a_thread_and_a_small_one_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = Reads(monkeypatch)

    async def scene() -> None:
        assert await read_load_beside(b"{}", DEPTH) == b'{"parameters":{}}'
        assert set(reads.threads) == {threading.main_thread()}
        reads.threads.clear()
        passed_on = await read_load_beside(LOAD, DEPTH)
        assert threading.main_thread() not in reads.threads
        found = await parameters_beside(passed_on)
        assert found["config"] == CONFIG
        assert bytes(found["file:1/model.onnx"]).decode() == FILE  # type: ignore[arg-type]  # long
        assert found["file:1/a"] == ""
        with pytest.raises(TooLarge):
            await read_load_beside(bytes(MOST_BYTES + 1), DEPTH)

    asyncio.run(scene())


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
