"""Healthy callers, known by their numbers: whatever others do, each must get its own answer."""

import random

from tests.server import Answer, Server, Wire, infer, tensor

KINDS = ("echo", "patient", "shelf")
_SHELF = 10  # numbers on it


def ask_for(kind: str, number: int) -> bytes:
    """A request whose answer only this number has."""
    if kind == "echo":
        return infer("echo", tensor("x", "FP32", [1, 4], [number] * 4), id=str(number))
    if kind == "patient":
        return infer("patient", tensor("x", "INT64", [1], [number]), id=str(number))
    return infer("shelf", tensor("x", "INT64", [1, 1], [number % _SHELF]), id=str(number))


def check(answer: Answer, kind: str, number: int) -> None:
    outputs = {"echo": [float(number)] * 4, "patient": [number], "shelf": [number % _SHELF * 10]}
    assert answer.outputs == {"y": outputs[kind]}
    assert answer.json["id"] == str(number)


class Caller:
    """One connection with a few requests on their way."""

    def __init__(self, wire: Wire, dice: random.Random, number: int) -> None:
        self.wire = wire
        self.asked = [
            (dice.choice(KINDS), number * 100 + turn) for turn in range(dice.randint(1, 5))
        ]
        self.raw = b"".join(ask_for(kind, one) for kind, one in self.asked)

    def hear(self) -> None:
        for kind, number in self.asked:
            check(self.wire.answer(), kind, number)


def check_health(server: Server, count: int = 20) -> None:
    """Ask on new connections and on one kept alive."""
    with server.connect() as wire:
        for number in range(count):
            check(wire.ask(ask_for("echo", number)), "echo", number)
            check(server.ask(ask_for("shelf", number)), "shelf", number)
