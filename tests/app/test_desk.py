"""A replica alone: it counts itself, knows its table, and loads nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.app.desk import LocalDesk
from gateway.control.messages import Assigned
from gateway.core.costs import Cost, Placement
from gateway.errors import Forbidden
from gateway.flow import Flow, Served
from gateway.observe import layout
from gateway.observe.memory import Memory
from gateway.repository.proof import Found, Proof
from gateway.repository.settings import ModelSettings
from gateway.types import Arm, Version
from gateway.wire.desk import About, Desk
from tests.fakes import TWICE

ONE = Version("digits", "9", TWICE.signature)
TWO = Version("digits", "10", TWICE.signature)
OTHER = Version("cancer", "1", TWICE.signature)
MODELS = {
    "digits": Served(Arm(TWO), {"9": Arm(ONE), "10": Arm(TWO)}, {"2": "quarantined"}),
    "cancer": Served(Arm(OTHER), {"1": Arm(OTHER)}),
}


def assigned(version: Version, row: int) -> Assigned:
    folder = Path(version.model) / version.version
    found = Found(version.model, version.version, folder, folder / "model.onnx", ModelSettings())
    placement = Placement(is_inline=True, max_rows=1)
    return Assigned(Proof(found, "0" * 64, version.signature, Cost(0.0, 0.0), placement), row)


@pytest.fixture
def memory() -> Iterator[Memory]:
    with Memory.create() as made:
        yield made


def ask(memory: Memory, about: About, *named: str | None, parameters: bytes = b"{}") -> Any:
    rows = [assigned(ONE, 1), assigned(TWO, 2), assigned(OTHER, 7)]
    desk: Desk = LocalDesk(Flow(MODELS, {}), lambda: rows, memory)
    model, version = named or (None, None)
    return orjson.loads(asyncio.run(desk.ask(about, model, version, parameters)))


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ((), [("digits", "9"), ("digits", "10"), ("cancer", "1")]),
        (("digits", None), [("digits", "9"), ("digits", "10")]),
        (("digits", "10"), [("digits", "10")]),
    ],
)
def test_statistics_are_of_what_is_served(
    memory: Memory, named: tuple[str | None, ...], expected: list[tuple[str, str]]
) -> None:
    rows = ask(memory, "statistics", *named)["model_stats"]
    assert [(row["name"], row["version"]) for row in rows] == expected
    assert {row["inference_stats"]["success"]["count"] for row in rows} == {0}


def test_a_version_is_counted_in_its_own_row(memory: Memory) -> None:
    memory.row(2)[layout.OUTCOMES + layout.OUTCOME_NAMES.index("success")] = 3
    rows = ask(memory, "statistics", "digits", None)["model_stats"]
    assert [row["inference_stats"]["success"]["count"] for row in rows] == [0, 3]


def test_the_index_has_a_row_for_every_version_ascending(memory: Memory) -> None:
    ready = {"state": "READY", "reason": ""}
    assert ask(memory, "index", parameters=b'{"ready":false}') == [
        {"name": "digits", "version": "2", "state": "UNAVAILABLE", "reason": "quarantined"},
        {"name": "digits", "version": "9", **ready},
        {"name": "digits", "version": "10", **ready},
        {"name": "cancer", "version": "1", **ready},
    ]
    found = ask(memory, "index", parameters=b'{"ready":true}')
    assert [row["version"] for row in found] == ["9", "10", "1"]


@pytest.mark.parametrize("about", ["load", "unload"])
def test_nothing_is_loaded_without_a_supervisor(memory: Memory, about: About) -> None:
    with pytest.raises(Forbidden, match="explicit model load / unload is not allowed"):
        ask(memory, about, "digits", None)
