"""Statistics: complete, in the table's order, and worked out beside the loop."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import orjson
import pytest

from gateway.control.messages import Ask, Disagreed, Entry, Table
from gateway.core.documents import WHOLE_BP, Document, Shadow, Variant
from gateway.observe import layout
from gateway.observe.counts import Counts
from gateway.observe.memory import Memory
from gateway.supervise.accounts import Accounts
from gateway.supervise.breakers import BreakersView
from gateway.supervise.fleet import Fleet
from gateway.supervise.front import Front
from gateway.supervise.inventory import Inventory
from gateway.supervise.ledger import Image, Ledger, Names, RowKey
from gateway.supervise.register import Known
from gateway.supervise.traffic import Traffic
from tests.supervise.cells import execute

WATCHDOG_S = 30.0
MANY = 1000
MODELS = {
    "m": Entry("2", {"1": "a", "2": "b"}),
    "n": Entry("1", {"1": "c"}, {"2": "no memory"}),
    "o": Entry(None),
}
ALL = [("m", "1"), ("m", "2"), ("n", "1")]


class FakeInventory:
    """Serves what it is told to."""

    def __init__(self, models: Mapping[str, Entry]) -> None:
        self.models = models
        self.fault: Exception | None = None

    def table(self) -> Table:
        if self.fault is not None:
            raise self.fault
        return Table(1, self.models)

    def views(self) -> Sequence[object]:
        return ()

    def documents(self) -> Mapping[str, Document]:
        return {}

    def known(self, model: str) -> Mapping[str, Known]:
        return {}


class FakeTraffic:
    """Knows the documents that it is given."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}

    def document(self, model: str) -> Document:
        return self.documents[model]


class FakeFleet:
    """Has no replicas."""

    reasons: Mapping[str, int] = {}

    def views(self) -> Sequence[object]:
        return ()


class WatchedImage:
    """An image that says when and where its counts are worked out."""

    def __init__(self, image: Image, work: Callable[[], None]) -> None:
        self._image = image
        self._work = work

    def counts(self) -> Mapping[RowKey, Counts]:
        self._work()
        return self._image.counts()


class WatchedLedger(Ledger):
    """A ledger that writes down of what, and in which turn of the loop, images are taken.

    Work on an image waits at the gate, which lets one pass for each release.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Names | None] = []
        self.turn = 0
        self.turns: list[int] = []
        self.taken_on: list[int] = []
        self.worked_on: list[int] = []
        self.gate = threading.Semaphore(MANY)
        self.begun = threading.Semaphore(0)

    def image(self, names: Names | None = None) -> Image:
        self.asked.append(names)
        self.turns.append(self.turn)
        self.taken_on.append(threading.get_ident())
        return cast("Image", WatchedImage(super().image(names), self._work))

    def _work(self) -> None:
        self.worked_on.append(threading.get_ident())
        self.begun.release()
        assert self.gate.acquire(timeout=WATCHDOG_S)

    def count_turns(self) -> None:
        """Count the turns of the running loop, from now on."""
        self.turn += 1
        asyncio.get_running_loop().call_soon(self.count_turns)


class Office:
    """A front of `models`, and one replica's rows, by (model, version)."""

    def __init__(self, memory: Memory, models: Mapping[str, Entry] = MODELS) -> None:
        self.ledger = WatchedLedger()
        self.ledger.attach(memory)
        self.memory = memory
        self.numbers = {
            (model, version): self.ledger.assign(model, version, digest)
            for model, entry in models.items()
            for version, digest in entry.served.items()
        }
        self.inventory = FakeInventory(models)
        self.traffic, accounts = FakeTraffic(), Accounts(self.ledger, str)
        self.disagreements = accounts.disagreements
        self.front = Front(
            cast("Inventory", self.inventory),
            cast("Fleet", FakeFleet()),
            self.ledger,
            cast("Traffic", self.traffic),
            accounts,
            lambda: None,
        )

    def execute(self, model: str, version: str, rows: int) -> None:
        execute(self.memory.row(self.numbers[model, version]), rows)

    async def rows(self, model: str | None = None, version: str | None = None) -> list[Any]:
        """Ask for statistics; return (name, version, inference_count) of each."""
        body = await self.front.answer(Ask(1, "statistics", model, version))
        found = orjson.loads(body)["model_stats"]
        return [(one["name"], one["version"], one["inference_count"]) for one in found]

    async def asked(self, model: str) -> "asyncio.Task[list[Any]]":
        """Ask for statistics of a model; return when the question has come."""
        task = asyncio.create_task(self.rows(model))
        await asyncio.sleep(0)
        return task

    async def next_is_begun(self) -> None:
        """Wait until work on an image, one more each time, stands at the gate."""
        assert await asyncio.to_thread(self.ledger.begun.acquire, timeout=WATCHDOG_S)


@pytest.fixture
def memory() -> Iterator[Memory]:
    with Memory.create() as memory:
        yield memory


@pytest.fixture
def office(memory: Memory) -> Office:
    return Office(memory)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Run a scene on an ordinary loop: threads wake it."""

    async def watched() -> None:
        async with asyncio.timeout(WATCHDOG_S):
            await scene()

    asyncio.run(watched())


@pytest.mark.parametrize(
    ("model", "version", "expected"),
    [
        (None, None, [("m", "1", 0), ("m", "2", 3), ("n", "1", 5)]),
        ("m", None, [("m", "1", 0), ("m", "2", 3)]),
        ("m", "2", [("m", "2", 3)]),
        ("n", "2", []),
        ("o", None, []),
        ("unknown", None, []),
    ],
)
def test_statistics_are_of_all_that_is_served_and_asked_for_in_the_table_s_order(
    office: Office, model: str | None, version: str | None, expected: list[object]
) -> None:
    async def scene() -> None:
        office.execute("n", "1", 5)
        office.execute("m", "2", 3)
        assert await office.rows(model, version) == expected

    play(scene)


def test_a_version_s_statistics_are_of_every_digest_it_ever_had(office: Office) -> None:
    async def scene() -> None:
        office.execute("m", "1", 2)
        before = office.numbers["m", "1"]
        office.numbers["m", "1"] = office.ledger.assign("m", "1", "another digest")
        office.ledger.retire(before)
        office.execute("m", "1", 3)
        assert await office.rows("m", "1") == [("m", "1", 5)]
        office.ledger.fold(office.memory, (before,))
        assert await office.rows("m", "1") == [("m", "1", 5)]

    play(scene)


def test_what_is_served_no_more_is_not_told(office: Office) -> None:
    async def scene() -> None:
        office.execute("m", "1", 2)
        office.inventory.models = {"m": Entry("2", {"2": "b"})}
        assert await office.rows() == [("m", "2", 0)]

    play(scene)


@pytest.mark.parametrize(("model", "wanted"), [(None, ALL), ("m", ALL[:2]), ("n", ALL[2:])])
def test_an_image_is_taken_of_what_is_wanted_alone(
    office: Office, model: str | None, wanted: list[tuple[str, str]]
) -> None:
    async def scene() -> None:
        await office.rows(model)
        (asked,) = office.ledger.asked
        assert asked is not None
        assert [name for name in ALL if name in asked] == wanted

    play(scene)


def test_an_image_is_taken_on_the_loop_and_worked_out_beside_it(office: Office) -> None:
    async def scene() -> None:
        await office.rows()
        assert office.ledger.taken_on == [threading.get_ident()]
        assert office.ledger.worked_on != [threading.get_ident()]

    play(scene)


def test_of_many_who_ask_for_different_things_at_once_each_has_a_turn_of_its_own(
    memory: Memory,
) -> None:
    models = {f"m{number}": Entry("1", {"1": str(number)}) for number in range(64)}
    office = Office(memory, models)

    async def scene() -> None:
        office.ledger.count_turns()
        answers = await asyncio.gather(*(office.rows(model) for model in models))
        assert answers == [[(model, "1", 0)] for model in models]
        assert len(set(office.ledger.turns)) == 64

    play(scene)


def test_of_many_who_ask_for_the_same_at_once_all_share_what_the_second_gets(
    office: Office,
) -> None:
    async def scene() -> None:
        office.ledger.count_turns()
        office.execute("m", "1", 2)
        answers = await asyncio.gather(*(office.rows("m", "1") for _ in range(64)))
        assert answers == 64 * [[("m", "1", 2)]]
        assert len(set(office.ledger.turns)) == len(office.ledger.turns) == 2

    play(scene)


def test_two_questions_of_different_things_never_share(office: Office) -> None:
    async def scene() -> None:
        asked = ((None, None), ("m", None), ("m", "1"), (None, "1")) * 3
        answers = await asyncio.gather(*(office.rows(*one) for one in asked))
        assert [[row[:2] for row in answer] for answer in answers] == 3 * [
            ALL,
            ALL[:2],
            ALL[:1],
            [ALL[0], ALL[2]],
        ]

    play(scene)


def test_who_asks_while_an_answer_is_worked_out_gets_one_of_later_counts(office: Office) -> None:
    async def scene() -> None:
        office.ledger.gate = threading.Semaphore(0)
        office.execute("m", "1", 1)
        first = await office.asked("m")
        await office.next_is_begun()
        office.execute("m", "1", 4)
        later = await office.asked("m")
        office.ledger.gate.release(MANY)
        assert (await first)[0] == ("m", "1", 1)
        assert (await later)[0] == ("m", "1", 5)

    play(scene)


def test_who_leaves_while_working_an_answer_out_takes_it_from_nobody(office: Office) -> None:
    async def scene() -> None:
        office.ledger.gate = threading.Semaphore(0)
        first, leaves, *others = [await office.asked("m") for _ in range(5)]
        await office.next_is_begun()
        office.ledger.gate.release()
        await first
        await office.next_is_begun()
        leaves.cancel()
        office.ledger.gate.release(MANY)
        assert await asyncio.gather(*others) == 3 * [[("m", "1", 0), ("m", "2", 0)]]
        assert leaves.cancelled()
        assert len(office.ledger.asked) == 3

    play(scene)


def test_who_leaves_before_its_turn_harms_nobody(office: Office) -> None:
    async def scene() -> None:
        office.ledger.gate = threading.Semaphore(0)
        first, leaves = await office.asked("m"), await office.asked("n")
        leaves.cancel()
        stays = await office.asked("n")
        office.ledger.gate.release(MANY)
        await first
        assert await stays == [("n", "1", 0)]
        office.execute("n", "1", 3)
        assert await office.rows("n") == [("n", "1", 3)]

    play(scene)


def test_after_a_failure_the_next_question_is_answered(office: Office) -> None:
    async def scene() -> None:
        office.inventory.fault = OSError("no table")
        with pytest.raises(OSError, match="no table"):
            await office.rows("m")
        office.inventory.fault = None
        assert await office.rows("n") == [("n", "1", 0)]

    play(scene)


def test_replicas_are_summed_the_dead_too(office: Office) -> None:
    async def scene() -> None:
        with Memory.create() as other:
            office.ledger.attach(other)
            execute(other.row(office.numbers["m", "1"]), 2)
            office.execute("m", "1", 3)
            assert await office.rows("m", "1") == [("m", "1", 5)]
            office.ledger.detach(other)
        assert await office.rows("m", "1") == [("m", "1", 5)]

    play(scene)


def test_shadows_are_counted_of_the_document_in_force_and_of_nobody_else(office: Office) -> None:
    document = Document("m", 3, (Variant("stable", "1", WHOLE_BP),), (Shadow("next", "2", 0.5),))
    office.traffic.documents["m"] = document
    office.disagreements.note(Disagreed("m", 3, "next", "y", 1.0, {}, (1,), (2,), 0.0))
    for revision in (2, 3):
        row = office.memory.row(office.ledger.assign("m", "2", "b", "next", revision))
        row[layout.SHADOWED] = revision
    (shadow,) = office.front.shadows("m")
    assert (shadow.name, shadow.version, shadow.is_noise_floor) == ("next", "2", False)
    assert shadow.calls == {"agreed": 3, "disagreed": 0, "failed": 0, "dropped": 0}
    assert [one.distance for one in shadow.worst] == [1.0]
    assert office.ledger.asked == [{("m", "2")}]


def test_without_shadows_nothing_is_counted(office: Office) -> None:
    office.traffic.documents["m"] = Document("m", 1, (Variant("stable", "1", WHOLE_BP),))
    assert office.front.shadows("m") == ()
    assert office.ledger.asked == []


def test_breakers_are_those_that_replicas_tell(memory: Memory) -> None:
    assert asyncio.run(Office(memory).front.breakers()) == BreakersView((), ())
