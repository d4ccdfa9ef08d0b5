"""Mutations: requests that were good once, and what chance makes of them.

Job    a corpus of every dialect and form; changes of bytes, of JSON, of framing.
Life   pure but for the dice, which are seeded: a run can be told again.
Never  makes a request whose answer nobody could know: a body is framed as long as it is,
       unless framing itself is what is mutated.
"""

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

import orjson

ECHO = "/v2/models/echo/infer"
LENGTH = "Inference-Header-Content-Length"
_FLOATS = struct.pack("<4f", 1, 2.5, -3, 0)
_SPLINTERS = (
    b"", b"\0", b"\r\n", b"\r\n\r\n", b'"', b"[", b"]", b"{", b"}", b",", b":", b"-", b"1e999",
    b"NaN", b"null", b"true", b"\xff", b"\xc3\xa9", b"\\u0000", b"99999999999999999999", b" ",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"Host: x\r\n",
)  # fmt: skip
_VALUES: tuple[object, ...] = (
    None, True, 0, -1, 1.5, 2**63, 2**64, "", "x", [], {}, [[]], [1, [2]], {"b64": "!"}, 1e308,
    ["é"], [1] * 5, "FP16", "BYTES", {"binary_data_size": 16}, {"classification": 2},
)  # fmt: skip


class Made(NamedTuple):
    """A request; `is_framed`: exactly one answer must come, and the connection goes on."""

    raw: bytes
    is_framed: bool


class Seed(NamedTuple):
    """A good request, as what it is made of."""

    target: str
    headers: tuple[str, ...]
    body: bytes


def corpus() -> list[Seed]:
    """Return good requests of every dialect and form."""
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2.5, -3, 0]}
    texts = {"name": "x", "shape": [1, 2], "datatype": "BYTES", "data": ["a", "é"]}
    a = {"name": "a", "shape": [1, 2], "datatype": "INT32", "data": [1, 2]}
    b = {"name": "b", "shape": [1, 3], "datatype": "FP32", "data": [[1, 2, 3]]}
    blob: dict[str, object] = {key: value for key, value in x.items() if key != "data"}
    blob["parameters"] = {"binary_data_size": 16}
    head = orjson.dumps({"inputs": [blob], "parameters": {"binary_data_output": True}})
    json_media = ("Content-Type: application/json",)
    named = {"name": "y", "parameters": {"classification": 2}}
    return [
        Seed(ECHO, (), orjson.dumps({"inputs": [x]})),
        Seed(ECHO, (), orjson.dumps({"id": "7", "inputs": [x], "outputs": [{"name": "y"}]})),
        Seed(ECHO, (), orjson.dumps({"inputs": [x], "outputs": [named]})),
        Seed("/v2/models/of_bytes/infer", (), orjson.dumps({"inputs": [texts]})),
        Seed("/v2/models/pair/infer", (), orjson.dumps({"inputs": [a, b]})),
        Seed(ECHO, (f"{LENGTH}: {len(head)}",), head + _FLOATS),
        Seed(ECHO, (f"{LENGTH}: 0",), _FLOATS),
        Seed("/v1/models/echo:predict", (), b'{"instances":[[1,2.5,-3,0]]}'),
        Seed("/v1/models/pair:predict", (), b'{"instances":[{"a":[1,2],"b":[1,2,3]}]}'),
        Seed("/v1/models/echo:predict", (), b'{"inputs":{"x":[[1,2.5,-3,0]]}}'),
        Seed("/invocations", json_media, b'{"dataframe_split":{"columns":["a","b","c","d"],'
             b'"data":[[1,2,3,4]]}}'),
        Seed("/invocations", json_media, orjson.dumps({"inputs": [x]})),
        Seed("/v2/repository/index", (), b'{"ready":true}'),
        Seed("/v2/models/echo/versions/1/infer", ("X-Request-Timeout-Ms: 5000",),
             orjson.dumps({"inputs": [x], "parameters": {"priority": 1}})),
    ]  # fmt: skip


def framed(seed: Seed, body: bytes) -> bytes:
    """Return a request whose framing is sound, whatever its body is."""
    lines = [f"POST {seed.target} HTTP/1.1", "Host: h", *seed.headers]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def mutate(seeds: Sequence[Seed], dice: random.Random, framing_ratio: float) -> Made:
    """Return one request: its body mutated, or, so often, its framing."""
    seed = dice.choice(seeds)
    body = seed.body
    for _ in range(dice.randint(0, 3)):
        body = dice.choice(_BODY_CHANGES)(body, dice)
    raw = framed(seed, body)
    if dice.random() >= framing_ratio:
        return Made(raw, is_framed=True)
    broken = raw
    for _ in range(dice.randint(1, 3)):
        broken = _bytes(broken, dice)
    if not broken.strip(b"\r\n"):  # nothing was asked, so nothing is answered
        return Made(raw, is_framed=True)
    return Made(broken, is_framed=False)


def _bytes(raw: bytes, dice: random.Random) -> bytes:
    """Change, insert, take away or repeat some bytes."""
    at = dice.randint(0, len(raw))
    end = min(len(raw), at + dice.choice((0, 1, 1, 2, 8, 64)))
    kind = dice.randrange(4)
    if kind == 0:
        return raw[:at] + dice.choice(_SPLINTERS) + raw[end:]
    if kind == 1:
        return raw[:at] + raw[end:]
    if kind == 2:
        return raw[:end] + raw[at:]
    return raw[:at] + bytes([dice.randrange(256)]) + raw[at + 1 :]


def _member(body: bytes, dice: random.Random) -> bytes:
    """Change one value, or one name, somewhere in a body of JSON."""
    try:
        value = json.loads(body)
    except ValueError:
        return _bytes(body, dice)
    place: object = value
    while isinstance(place, dict | list) and place:
        key = dice.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or dice.random() < 0.3:
            _change(place, key, dice)
            break
        place = inner
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS) if _is_plain(value) else body


def _change(place: "dict[str, object] | list[object]", key: object, dice: random.Random) -> None:
    kind = dice.randrange(3)
    if isinstance(place, dict):
        inner = place.pop(str(key))
        if kind == 0:
            place[str(key)] = dice.choice(_VALUES)
        elif kind == 1:
            place[dice.choice(("x", "", "inputs", "data", "parameters", "id"))] = inner
    elif isinstance(key, int):
        if kind == 0:
            place[key] = dice.choice(_VALUES)
        elif kind == 1:
            place.insert(key, place[key])
        else:
            del place[key]


def _is_plain(value: object) -> bool:
    """Say whether orjson can write it: numbers beyond 64 bits it cannot."""
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**64


_BODY_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_bytes, _member, _member)
