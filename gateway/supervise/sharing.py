"""Sharing: one answer at a time, for all who asked the same before work on it began.

Job    have what takes long worked out once for many, and never two at once.
Life   as long as whoever answers by it.
Never  gives anybody an answer on which work had begun before they asked: it may lack what
       they have seen happen.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class _Awaited(Generic[Answer]):
    """An answer; `given` has none in it until it is worked out."""

    given: list[Answer] = field(default_factory=list)


class Sharing(Generic[Question, Answer]):
    """However many ask at once, a turn of the loop begins one piece of work at most.

    Mutable state: the answers on which work has not begun (`_next`), by their questions.
    """

    def __init__(self, work: Callable[[Question], Awaitable[Answer]]) -> None:
        self._work = work
        self._turn = asyncio.Lock()
        self._next: dict[Question, _Awaited[Answer]] = {}

    async def ask(self, question: Question) -> Answer:
        """Return the answer to `question`, worked out after it came.

        Cancel: safe; the next of those who share the answer works it out. So does the next
        where the work raises, which is told to the one for whom it was done.
        """
        awaited = self._next.setdefault(question, _Awaited())
        async with self._turn:
            if not awaited.given:
                if self._next.get(question) is awaited:
                    del self._next[question]  # whoever comes from now on needs a later one
                awaited.given.append(await self._work(question))
            return awaited.given[0]
