"""One row that the model cannot bear: its caller alone is told, and its batchmates are served."""

import random
from collections.abc import Sequence

import pytest

from tests.server import Answer, Server, Wire, infer, tensor

POISON = 99
SHELVES = ["shelf", "waiting_shelf", "threaded_shelf"]

each_shelf = pytest.mark.parametrize("shelf", SHELVES)


def take(shelf: str, *numbers: int) -> bytes:
    return infer(shelf, tensor("x", "INT64", [len(numbers), 1], numbers))


def check(answer: Answer, *numbers: int) -> None:
    if POISON in numbers:
        assert (answer.status, answer.json["code"]) == (500, "model_failed")
        assert set(answer.json) == {"error", "code", "request_id"}
        assert answer.headers["content-type"] == "application/json"
        assert not answer.closes
    else:
        assert answer.outputs == {"y": [number * 10 for number in numbers]}


def check_in_one_batch(wire: Wire, shelf: str, calls: Sequence[Sequence[int]]) -> None:
    """Send all in one write: read in one tick, they are executed together."""
    wire.send(b"".join(take(shelf, *numbers) for numbers in calls))
    for numbers in calls:
        check(wire.answer(), *numbers)


@each_shelf
@pytest.mark.parametrize("at", [0, 7, 15])
def test_one_poisoned_row_fails_alone(server: Server, shelf: str, at: int) -> None:
    calls = [[number % 10] for number in range(16)]
    calls[at] = [POISON]
    with server.connect() as wire:
        check_in_one_batch(wire, shelf, calls)


@each_shelf
@pytest.mark.parametrize("seed", range(3))
def test_any_number_of_poisoned_rows_fail_alone(server: Server, shelf: str, seed: int) -> None:
    dice = random.Random(seed)
    with server.connect() as wire:
        for _ in range(5):
            numbers = [*range(10), POISON, POISON]
            calls = [dice.choices(numbers, k=dice.randint(1, 5)) for _ in range(16)]
            check_in_one_batch(wire, shelf, calls)


@each_shelf
def test_strangers_on_other_connections_are_served(server: Server, shelf: str) -> None:
    numbers = [3, 1, 4, POISON, 1, 5, 9, 2, 6, POISON, 5, 3]
    with server.connections(len(numbers)) as wires:
        for wire, number in zip(wires, numbers, strict=True):
            wire.send(take(shelf, number))
        for wire, number in zip(wires, numbers, strict=True):
            check(wire.answer(), number)


@each_shelf
def test_nothing_but_poison_fails_each(server: Server, shelf: str) -> None:
    with server.connect() as wire:
        check_in_one_batch(wire, shelf, [[POISON]] * 16)
        check(wire.ask(take(shelf, 7)), 7)
