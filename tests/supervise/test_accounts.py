import asyncio
import signal
from typing import cast

import pytest

from gateway.control.messages import (
    Ask,
    Disagreed,
    Hello,
    Reply,
)
from gateway.control.reports import BreakerTold, Report, Reported
from gateway.errors import UnknownModel
from gateway.observe.layout import EXECUTING
from gateway.observe.memory import Memory
from gateway.supervise.accounts import Accounts
from gateway.supervise.ledger import Ledger
from gateway.supervise.replica import Phase, Replica
from tests.clock import play
from tests.supervise.fakes import FakeReplica


class Condemned:
    """An inventory that writes down what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def quarantine(self, digest: str, reason: str) -> bool:
        self.said.append((digest, reason))
        return True


class Scene:
    """Accounts with a ledger, in which version `aa` has a row."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.row = self.ledger.assign("m", "1", "aa")
        self.condemned = Condemned()
        self.accounts = Accounts(self.ledger, lambda: "{}")
        self.accounts.introduce(self.condemned, self.answer)
        self.memories: list[Memory] = []

    async def answer(self, ask: Ask) -> bytes:
        if ask.model is None:
            raise RuntimeError("a secret")
        raise UnknownModel(f"no {ask.model}")

    def born(self, *, executes: bool = False) -> FakeReplica:
        memory = Memory.create()
        self.memories.append(memory)
        fake = FakeReplica(Hello(0, 1, "{}"), lambda *_: None, 7)
        fake.memory = memory  # type: ignore[assignment]  # a real one
        self.accounts.began(cast("Replica", fake))
        memory.row(self.row)[EXECUTING] = int(executes)
        return fake

    async def end(self, fake: FakeReplica, code: int) -> str:
        return await self.accounts.ended(cast("Replica", fake), code)


@pytest.mark.parametrize(
    ("code", "was_silent", "expected"),
    [
        (0, False, "retired"),
        (-signal.SIGSEGV, False, "crashed"),
        (-signal.SIGKILL, False, "killed"),
        (-signal.SIGKILL, True, "unresponsive"),
        (1, False, "exited"),
    ],
)
def test_an_end_has_its_word(code: int, was_silent: bool, expected: str) -> None:
    async def scene() -> None:
        made = Scene()
        fake = made.born()
        fake.was_silent, fake.was_told_to_end = was_silent, code == 0
        assert await made.end(fake, code) == expected

    play(scene)


def test_two_crashes_condemn_what_was_executing() -> None:
    async def scene() -> None:
        made = Scene()
        for _ in range(2):
            assert made.condemned.said == []
            await made.end(made.born(executes=True), -signal.SIGSEGV)
        assert made.condemned.said == [("aa", "replicas that executed it died: killed by SIGSEGV")]

    play(scene)


def test_two_crashes_condemn_what_was_being_loaded() -> None:
    """Nobody executes it yet; without this its replicas would be started for ever."""

    async def scene() -> None:
        made = Scene()
        for _ in range(2):
            fake = made.born()
            fake.loads = ("bb",)
            await made.end(fake, -signal.SIGSEGV)
        assert made.condemned.said == [("bb", "replicas that loaded it died: killed by SIGSEGV")]

    play(scene)


def test_who_hangs_in_a_model_that_it_loads_accuses_it() -> None:
    async def scene() -> None:
        made = Scene()
        for _ in range(2):
            fake = made.born()
            fake.loads, fake.was_silent = ("bb",), True
            fake.kill_reason = "it was not loaded within 10 s"
            await made.end(fake, -signal.SIGKILL)
        [(digest, reason)] = made.condemned.said
        assert (digest, reason) == (
            "bb",
            "replicas that loaded it died: it was not loaded within 10 s",
        )

    play(scene)


def test_a_kill_of_ours_that_is_nobody_s_fault_accuses_nobody() -> None:
    async def scene() -> None:
        made = Scene()
        for _ in range(3):
            fake = made.born(executes=True)
            fake.kill_reason = "it said what is no message"
            await made.end(fake, -signal.SIGKILL)
        assert made.condemned.said == []

    play(scene)


def test_who_was_told_to_end_accuses_nobody() -> None:
    async def scene() -> None:
        made = Scene()
        for _ in range(3):
            fake = made.born(executes=True)
            fake.was_told_to_end = True
            await made.end(fake, -signal.SIGSEGV)
        assert made.condemned.said == []

    play(scene)


def test_what_the_dead_wrote_is_counted_once_and_for_all() -> None:
    async def scene() -> None:
        made = Scene()
        fake = made.born(executes=True)
        await made.end(fake, -signal.SIGSEGV)
        assert made.ledger.executing(made.memories[0]) == ()
        assert all(one.executing == 0 for one in made.ledger.counts().values())

    play(scene)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("m", Reply(1, "no m", "unknown_model")),
        (None, Reply(1, "internal error", "internal")),  # its text is nobody's business
    ],
)
def test_every_question_is_answered(model: str | None, expected: Reply) -> None:
    async def scene() -> None:
        made = Scene()
        fake = made.born()
        async with made.accounts:
            made.accounts.heard(cast("Replica", fake), Ask(1, "statistics", model))
            await asyncio.sleep(0.1)
            assert fake.told == [expected]

    play(scene)


def test_what_a_shadow_has_said_is_kept() -> None:
    async def scene() -> None:
        made = Scene()
        said = Disagreed("m", 3, "next", "y", 1.5, {"x": (0.5,)}, (0,), (1,), 1.0)
        made.accounts.heard(cast("Replica", made.born()), said)
        assert made.accounts.disagreements.worst("m", 3, "next") == (said,)

    play(scene)


def test_how_executors_are_is_asked_of_whoever_lives() -> None:
    async def scene() -> None:
        made = Scene()
        fakes = [made.born(), made.born()]
        for one in fakes:
            one.phase = Phase.SERVING
        asking = asyncio.create_task(made.accounts.breakers.ask())
        await asyncio.sleep(0)
        assert [one.told for one in fakes] == [[Report(1)], [Report(1)]]
        told = BreakerTold("m", "1", "thread", "OPEN", 1.5, 20, 1.0, 0.0, 6.5)
        made.accounts.heard(cast("Replica", fakes[0]), Reported(1, (told,)))
        await made.end(fakes[1], 0)
        assert [found.told for found in (await asking).breakers] == [told]

    play(scene)
