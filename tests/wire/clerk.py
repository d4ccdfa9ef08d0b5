"""A desk that answers what a test told it to, and remembers what it was asked."""

from typing import NamedTuple

from gateway.wire.desk import About


class Question(NamedTuple):
    about: About
    model: str | None
    version: str | None
    parameters: bytes


class Clerk:
    """Answers every question with `says`, or raises it."""

    def __init__(self, says: bytes | Exception = b"{}") -> None:
        self.says = says
        self.asked: list[Question] = []

    async def ask(
        self, about: About, model: str | None, version: str | None, parameters: bytes
    ) -> bytes:
        self.asked.append(Question(about, model, version, parameters))
        if isinstance(self.says, Exception):
            raise self.says
        return self.says
