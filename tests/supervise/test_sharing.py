"""Sharing: one answer at a time, and never one that is older than its question."""

import asyncio

import pytest

from gateway.supervise.sharing import Sharing
from tests.clock import play
from tests.wire.harness import turns

WORK_S = 1.0


class Clerk:
    """Works out answers, a second each: a question, and what had happened when it began."""

    def __init__(self) -> None:
        self.happened = 0
        self.begun: list[str] = []
        self.at_work = self.most_at_work = 0
        self.fault: Exception | None = None
        self.sharing = Sharing(self.work)

    async def work(self, question: str) -> tuple[str, int]:
        self.begun.append(question)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        seen = self.happened
        try:
            await asyncio.sleep(WORK_S)
            if self.fault is not None:
                raise self.fault
        finally:
            self.at_work -= 1
        return question, seen

    def asked(self, question: str) -> "asyncio.Task[tuple[str, int]]":
        return asyncio.create_task(self.sharing.ask(question))


def test_an_answer_is_worked_out_once_for_all_who_asked_before_work_on_it_began() -> None:
    async def scene() -> None:
        clerk = Clerk()
        answers = await asyncio.gather(*(clerk.asked("q") for _ in range(64)))
        assert answers == [("q", 0)] * 64
        assert clerk.begun == ["q", "q"]  # work for the first began before the others had come

    play(scene)


def test_who_asks_while_an_answer_is_worked_out_gets_a_later_one() -> None:
    async def scene() -> None:
        clerk = Clerk()
        first = clerk.asked("q")
        await turns()
        clerk.happened = 1
        second = clerk.asked("q")
        await first
        clerk.happened = 2
        assert await first == ("q", 0)
        assert (await second)[1] >= 1

    play(scene)


def test_different_questions_wait_for_one_another_and_share_nothing() -> None:
    async def scene() -> None:
        clerk = Clerk()
        answers = await asyncio.gather(*(clerk.asked(one) for one in "abcabc"))
        assert [question for question, _ in answers] == list("abcabc")
        assert clerk.most_at_work == 1
        assert sorted(clerk.begun) == list("aabc")

    play(scene)


@pytest.mark.parametrize("leaver", [0, 1, 2, 3])
def test_who_leaves_takes_the_answer_from_nobody(leaver: int) -> None:
    async def scene() -> None:
        clerk = Clerk()
        asked = [clerk.asked("q") for _ in range(4)]
        await asyncio.sleep(WORK_S / 2)
        asked[leaver].cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(answers.pop(leaver), asyncio.CancelledError)
        assert answers == [("q", 0)] * 3

    play(scene)


def test_who_leaves_while_the_shared_answer_is_worked_out_has_the_next_work_it_out() -> None:
    async def scene() -> None:
        clerk = Clerk()
        asked = [clerk.asked("q") for _ in range(4)]
        await asyncio.sleep(WORK_S * 1.5)
        asked[1].cancel()
        assert await asyncio.gather(*asked[2:]) == [("q", 0)] * 2
        assert clerk.begun == ["q", "q", "q"]

    play(scene)


def test_a_failure_is_told_to_one_and_the_next_tries_again() -> None:
    async def scene() -> None:
        clerk = Clerk()
        clerk.fault = OSError("no disk")
        first, second, third = (clerk.asked("q") for _ in range(3))
        with pytest.raises(OSError, match="no disk"):
            await first
        clerk.fault = None
        assert [await second, await third] == [("q", 0)] * 2

    play(scene)


def test_an_answer_may_be_nothing_at_all() -> None:
    async def scene() -> None:
        asked: list[int] = []

        async def work(question: int) -> None:
            asked.append(question)
            await turns()

        sharing = Sharing(work)
        await asyncio.gather(*(sharing.ask(1) for _ in range(5)))
        assert asked == [1, 1]

    play(scene)
