"""Rows: what a table of bad requests is made of.

A row is a sentence, the bytes that go out, and what must come back: the status, the code,
and words that `error` must contain. `keeps` says whether the connection goes on: it does
where the framing is sound.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.server import request

MAX_BODY_BYTES = 1 << 20
MAX_ELEMENTS = 1 << 16
ECHO = "/v2/models/echo/infer"
LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Row:
    """One bad request and its refusal."""

    sentence: str
    request: bytes
    status: int
    code: str
    words: tuple[str, ...]
    keeps: bool


def ends(sentence: str, raw: bytes, *words: str, status: int = 400, code: str = "malformed") -> Row:
    """A request after which nobody knows where the next one would begin."""
    return Row(sentence, raw, status, code, words, keeps=False)


def goes_on(
    sentence: str, raw: bytes, *words: str, status: int = 400, code: str = "malformed"
) -> Row:
    """A request that is refused and was well framed."""
    return Row(sentence, raw, status, code, words, keeps=True)


def text(sentence: str, body: bytes | str, *words: str, model: str = "echo") -> Row:
    """A body that is no request at all."""
    raw = body.encode() if isinstance(body, str) else body
    return goes_on(sentence, request(f"/v2/models/{model}/infer", raw), *words)


def one(**changes: Any) -> dict[str, Any]:
    """The one input of `echo`, with members changed; None takes one away."""
    member: dict[str, Any] = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
    member["data"] = [1, 2.5, -3, 0]
    return {key: value for key, value in (member | changes).items() if value is not None}


def body(inputs: Sequence[Any] | None = None, **members: Any) -> bytes:
    """A request on `echo`, as it should be but for what is given."""
    return json.dumps({"inputs": [one()] if inputs is None else list(inputs)} | members).encode()


def member(sentence: str, *words: str, model: str = "echo", **members: Any) -> Row:
    """A request whose own members are at fault."""
    return text(sentence, body(**members), *words, model=model)


def unfit(sentence: str, *words: str, model: str = "echo", **members: Any) -> Row:
    """A request that can be read, and does not fit the model."""
    raw = request(f"/v2/models/{model}/infer", body(**members))
    return goes_on(sentence, raw, *words, code="invalid_tensor")


def values(sentence: str, kind: str, given: Sequence[Any], *words: str) -> Row:
    """Two elements of which one is not of the datatype."""
    tensor = {"name": "x", "shape": [1, 2], "datatype": kind, "data": list(given)}
    return unfit(sentence, *words, model=f"of_{kind.lower()}", inputs=[tensor])


def blob(
    sentence: str,
    tensors: Sequence[Any],
    tail: bytes,
    *words: str,
    model: str = "echo",
    code: str = "malformed",
    length: str | None = "",
    **members: Any,
) -> Row:
    """A binary request. `length` "" is the true one, None sends no header."""
    head = json.dumps({"inputs": list(tensors)} | members).encode()
    header = [] if length is None else [f"{LENGTH}: {length or len(head)}"]
    raw = request(f"/v2/models/{model}/infer", head + tail, header)
    return goes_on(sentence, raw, *words, code=code)


def binary(size: Any, **changes: Any) -> dict[str, Any]:
    """The one input of `echo`, its elements behind the JSON part."""
    return one(data=None, parameters={"binary_data_size": size}, **changes)
