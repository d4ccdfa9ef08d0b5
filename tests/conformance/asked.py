"""Asked: rows of the protocol's checklist, and who asks them in both ways.

A row names the line of the checklist that it proves, is one request, and says what must
come back. Each is asked of the lane, over a socket, and of the ASGI app; they must agree
in every byte.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tests.laws.test_lane_equals_asgi import Asked, Both
from tests.wire.harness import Answer

Check = Callable[[Answer], bool]
LENGTH = "inference-header-content-length"
ECHO = "/v2/models/echo/infer"


@dataclass(frozen=True)
class Line:
    """One request of a line of the checklist."""

    line: str
    sentence: str
    asked: Asked
    status: int
    check: Check = lambda _: True

    @property
    def title(self) -> str:
        return f"{self.line} {self.sentence}"


def x(**changes: Any) -> dict[str, Any]:
    """The one input of `echo`, with members changed; None takes one away."""
    member: dict[str, Any] = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
    member["data"] = [1, 2.5, -3, 0]
    return {key: value for key, value in (member | changes).items() if value is not None}


def tensor(kind: str, data: Sequence[object], shape: Sequence[int] = (1, 2)) -> dict[str, Any]:
    return {"name": "x", "shape": list(shape), "datatype": kind, "data": list(data)}


def body(*inputs: dict[str, Any], **members: Any) -> bytes:
    """A request by JSON; without inputs, on `echo`."""
    return json.dumps({"inputs": list(inputs or (x(),))} | members).encode()


def post(target: str, said: bytes, **headers: str) -> Asked:
    pairs = tuple(
        (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
    )
    return Asked("POST", target.encode(), pairs, said)


def get(target: str, method: str = "GET", said: bytes = b"") -> Asked:
    return Asked(method, target.encode(), (), said)


def refused(
    line: str, sentence: str, asked: Asked, *words: str, status: int = 400, code: str = ""
) -> Line:
    """A row that is refused with these words, in the one form of all errors."""

    def check(answer: Answer) -> bool:
        told = answer.json
        return (
            set(told) == {"error", "code", "request_id"}
            and all(told.values())
            and answer.headers["content-type"] == "application/json"
            and all(word in told["error"] for word in words)
            and code in ("", told["code"])
            and ("retry-after" in answer.headers) == (status in (429, 503))
        )

    return Line(line, sentence, asked, status, check)


def answered(line: str, sentence: str, asked: Asked, expected: object) -> Line:
    """A row whose whole answer is this JSON."""
    return Line(line, sentence, asked, 200, lambda answer: bool(answer.json == expected))


def shows(line: str, sentence: str, asked: Asked, **members: object) -> Line:
    """A row whose answer has these members, perhaps among others."""

    def check(answer: Answer) -> bool:
        told = answer.json
        return all(told.get(name) == value for name, value in members.items())

    return Line(line, sentence, asked, 200, check)


def gives(line: str, sentence: str, asked: Asked, *data: object) -> Line:
    """A row whose outputs have these data, in this order."""

    def check(answer: Answer) -> bool:
        return [one["data"] for one in orjson.loads(answer.body)["outputs"]] == list(data)

    return Line(line, sentence, asked, 200, check)


def ask(runner: asyncio.Runner, both: Both, line: Line) -> Answer:
    """Ask both ways, prove that they agree, and that it is what the line says."""
    by_lane, by_app = runner.run(both.ask(line.asked))
    assert by_lane == by_app
    assert list(by_lane.headers) == list(by_app.headers)
    assert by_lane.status == line.status, by_lane.body
    assert line.check(by_lane), by_lane
    return by_lane
