"""Asking: what a replica does not know, it asks; nobody waits for ever."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

import pytest

from gateway.app.asking import MOST_BYTES, MOST_QUESTIONS, RemoteDesk
from gateway.control.channel import Broken, TooLong
from gateway.control.messages import Ask, Reply
from gateway.errors import (
    CannotPrepare,
    GatewayError,
    NotReady,
    Overloaded,
    TooLarge,
    UnknownModel,
)
from gateway.wire.desk import About
from tests.clock import play

T = TypeVar("T")


class Supervisor:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.heard: list[Ask] = []
        self.desk = RemoteDesk(self.heard.append)

    def asked(self, about: About = "index", parameters: bytes = b"{}") -> "asyncio.Task[bytes]":
        asking = self.desk.ask(about, None, None, parameters)
        return asyncio.create_task(asking)


def staged(scene: Callable[[Supervisor], Coroutine[object, object, T]]) -> T:
    async def stage() -> T:
        return await scene(Supervisor())

    return play(stage)


def test_each_answer_reaches_who_asked() -> None:
    async def scene(supervisor: Supervisor) -> list[bytes]:
        tasks = [supervisor.asked(), supervisor.asked()]
        await asyncio.sleep(0)
        first, second = supervisor.heard
        supervisor.desk.answer(Reply(second.ticket, "[2]"))
        supervisor.desk.answer(Reply(first.ticket, "[1]"))
        return list(await asyncio.gather(*tasks))

    assert staged(scene) == [b"[1]", b"[2]"]


def test_a_question_says_what_it_is_about() -> None:
    async def scene(supervisor: Supervisor) -> Ask:
        asking = supervisor.desk.ask("load", "m", "3", b'{"parameters": {}}')
        task = asyncio.create_task(asking)
        await asyncio.sleep(0)
        supervisor.desk.answer(Reply(supervisor.heard[0].ticket, "{}"))
        await task
        return supervisor.heard[0]

    assert staged(scene) == Ask(1, "load", "m", "3", b'{"parameters": {}}')


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("unknown_model", UnknownModel),
        ("cannot_prepare", CannotPrepare),
        ("internal", GatewayError),
        ("of a later release", GatewayError),
    ],
)
def test_a_refusal_is_raised_as_what_it_is(code: str, error: type[GatewayError]) -> None:
    async def scene(supervisor: Supervisor) -> None:
        task = supervisor.asked()
        await asyncio.sleep(0)
        supervisor.desk.answer(Reply(1, "why", code))
        with pytest.raises(GatewayError, match="why") as caught:
            await task
        assert type(caught.value) is error

    staged(scene)


@pytest.mark.parametrize(("about", "within_s"), [("statistics", 60.0), ("load", 600.0)])
def test_a_silent_supervisor_is_waited_for_so_long(about: About, within_s: float) -> None:
    async def scene(supervisor: Supervisor) -> float:
        with pytest.raises(NotReady, match=f"did not answer within {within_s:g} s"):
            await supervisor.asked(about)
        supervisor.desk.answer(Reply(1, "{}"))  # too late: nobody minds
        return asyncio.get_running_loop().time()

    assert staged(scene) == within_s


def test_questions_do_not_pile_up() -> None:
    async def scene(supervisor: Supervisor) -> None:
        tasks = [supervisor.asked() for _ in range(MOST_QUESTIONS)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match=f"at most {MOST_QUESTIONS} questions"):
            await supervisor.asked()
        supervisor.desk.answer(Reply(1, "{}"))
        await tasks.pop(0)
        tasks.append(supervisor.asked())  # there is room again
        await asyncio.sleep(0)
        assert len(supervisor.heard) == MOST_QUESTIONS + 1
        supervisor.desk.hang_up()
        await asyncio.wait(tasks)
        assert all(isinstance(task.exception(), NotReady) for task in tasks)

    staged(scene)


def test_nor_do_their_bytes() -> None:
    async def scene(supervisor: Supervisor) -> None:
        large = bytes(MOST_BYTES // 2 + 1)
        first = supervisor.asked("load", large)
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="bytes in all questions"):
            await supervisor.asked("load", large)
        supervisor.desk.answer(Reply(1, "{}"))
        await first
        second = supervisor.asked("load", large)
        await asyncio.sleep(0)
        supervisor.desk.answer(Reply(2, "{}"))
        assert await second == b"{}"

    staged(scene)


def test_a_caller_that_leaves_takes_its_question_back() -> None:
    async def scene(supervisor: Supervisor) -> None:
        tasks = [supervisor.asked() for _ in range(MOST_QUESTIONS)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        task = supervisor.asked()
        await asyncio.sleep(0)
        supervisor.desk.answer(Reply(MOST_QUESTIONS + 1, "{}"))
        await task

    staged(scene)


def test_who_waits_hears_of_the_end_and_nobody_is_asked_after_it() -> None:
    async def scene(supervisor: Supervisor) -> None:
        task = supervisor.asked()
        await asyncio.sleep(0)
        supervisor.desk.hang_up()
        with pytest.raises(NotReady, match="ended before it answered"):
            await task
        with pytest.raises(NotReady, match="gone"):
            await supervisor.asked()
        assert len(supervisor.heard) == 1

    staged(scene)


def test_a_question_that_is_too_long_to_be_asked_is_refused_and_the_next_is_asked() -> None:
    said: list[Ask] = []

    def send(ask: Ask) -> None:
        if len(ask.parameters) > 10:
            raise TooLong
        said.append(ask)
        desk.answer(Reply(ask.ticket, "{}"))

    desk = RemoteDesk(send)

    async def scene() -> None:
        with pytest.raises(TooLarge, match="11 bytes are too many"):
            await desk.ask("load", "m", None, bytes(11))
        assert await desk.ask("load", "m", None, b"{}") == b"{}"

    play(scene)
    assert said == [Ask(2, "load", "m", None, b"{}")]


def test_a_broken_channel_is_a_supervisor_that_is_gone() -> None:
    def send(_ask: Ask) -> None:
        raise Broken

    async def scene() -> None:
        desk = RemoteDesk(send)
        with pytest.raises(NotReady, match="gone"):
            await desk.ask("index", None, None, b"")

    play(scene)
