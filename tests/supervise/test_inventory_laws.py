"""What is true of the inventory after any story."""

import asyncio
import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.supervise.commits import Commits
from gateway.supervise.inventory import Policy
from gateway.supervise.sights import Sights
from gateway.supervise.traffic import Traffic
from tests.supervise.steered import MemoryAudit, MemoryStore, proposal
from tests.supervise.stock import Stock, digest_of, during, settle, shared

MODELS = st.sampled_from(["a", "b", "t"])
VERSIONS = st.sampled_from(["1", "2", "3"])
TEXTS = st.sampled_from(["one", "two", "three", "heavy", "bad"])
TOMLS = st.sampled_from([None, None, "nonsense = 1", "[batching]\nmax_batch_size = 4"])
PARAMETERS = st.sampled_from(
    [
        {"config": '{"max_batch_size": 2}'},
        {"config": "{}", "file:4/model.onnx": "Zml2ZQ=="},
        {"file:../x": "Zml2ZQ=="},
    ]
)
DIGESTS = st.builds(digest_of, TEXTS, st.sampled_from([0, 4]))
STEPS = st.one_of(
    st.tuples(st.just("put"), MODELS, VERSIONS, TEXTS, TOMLS),
    st.tuples(st.just("take"), MODELS, VERSIONS),
    st.tuples(st.just("load"), MODELS, st.none() | VERSIONS),
    st.tuples(st.just("bring"), MODELS, PARAMETERS),
    st.tuples(st.just("unload"), MODELS, st.none() | VERSIONS),
    st.tuples(st.just("refresh")),
    st.tuples(st.just("quarantine"), DIGESTS),
    st.tuples(st.just("refuse"), DIGESTS),
    st.tuples(st.just("accept")),
    st.tuples(st.just("adopt"), MODELS, st.lists(VERSIONS, min_size=1, max_size=2)),
)


class Story:
    """A stock to which things happen; orders may overlap with what follows them."""

    def __init__(self, stock: Stock) -> None:
        self.stock = stock
        self.orders: list[asyncio.Task[None]] = []
        self._revision = 0

    def tell(self, step: tuple[object, ...]) -> None:
        getattr(self, f"_{step[0]}")(*step[1:])

    async def end(self) -> None:
        """Let every order end: done, or refused by a sentence."""
        for outcome in await asyncio.gather(*self.orders, return_exceptions=True):
            assert outcome is None or (isinstance(outcome, GatewayError) and str(outcome))
        self.orders.clear()
        await settle()

    def _put(self, model: str, version: str, text: str, toml: str | None) -> None:
        self.stock.put(model, version, text, toml)
        if model == "t":  # laid out as Triton's: the latest version only
            (self.stock.root / "t" / "config.pbtxt").write_text('backend: "onnxruntime"')

    def _take(self, model: str, version: str) -> None:
        if (self.stock.root / model / version).exists():
            self.stock.take(model, version)

    def _load(self, model: str, version: str | None) -> None:
        self.orders.append(asyncio.create_task(self.stock.inventory.load(model, version)))

    def _bring(self, model: str, parameters: Mapping[str, object]) -> None:
        self.orders.append(asyncio.create_task(self.stock.inventory.load(model, None, parameters)))

    def _unload(self, model: str, version: str | None) -> None:
        self.orders.append(asyncio.create_task(self.stock.inventory.unload(model, version)))

    def _adopt(self, model: str, versions: list[str]) -> None:
        self._revision += 1
        shares = {f"arm{at}": (one, 10_000 // len(versions)) for at, one in enumerate(versions)}
        adopting = self.stock.inventory.adopt(shared(model, self._revision, shares))
        self.orders.append(asyncio.create_task(adopting))

    def _refresh(self) -> None:
        self.orders.append(asyncio.create_task(self.stock.inventory.refresh()))

    def _quarantine(self, digest: str) -> None:
        self.stock.inventory.quarantine(digest, "it killed")

    def _refuse(self, digest: str) -> None:
        self.stock.fleet.refuses[digest] = "refused"

    def _accept(self) -> None:
        self.stock.fleet.refuses.clear()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([Policy(), Policy("explicit", ("a",))]),
    st.lists(st.tuples(STEPS, st.integers(0, 12)), max_size=25),
)
def test_after_any_story_callers_reach_what_is_ready_and_no_row_is_lost(
    policy: Policy, steps: list[tuple[tuple[object, ...], int]]
) -> None:
    """The fakes assert on the way: nothing unprepared is published, no revision goes back."""
    with tempfile.TemporaryDirectory() as folder:
        stock = Stock(Path(folder), policy, most_rows=6)
        stock.put("a", "1", "one")

        async def scene() -> None:
            story = Story(stock)
            for step, ticks in steps:
                story.tell(step)
                for _ in range(ticks):  # lets orders get somewhere, or not
                    await asyncio.sleep(0)
            await story.end()
            stock.check()

        during(stock, scene)


class Steering(Story):
    """A story in which documents are changed by the real traffic, and written at first sight."""

    def __init__(self, stock: Stock, traffic: Traffic) -> None:
        super().__init__(stock)
        self._traffic = traffic

    def _adopt(self, model: str, versions: list[str]) -> None:
        self._revision += 1
        weights = {f"arm{at}": (one, 100 / len(versions)) for at, one in enumerate(versions)}
        raw = proposal(f"change {self._revision}", weights)
        self.orders.append(asyncio.create_task(self._change(model, raw)))

    async def _change(self, model: str, raw: dict[str, Any]) -> None:
        await self._traffic.put(self._traffic.document(model), raw, "ann")


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.lists(st.tuples(STEPS, st.integers(0, 12)), max_size=25))
def test_after_any_story_what_is_kept_is_in_force(
    serves_new: bool, steps: list[tuple[tuple[object, ...], int]]
) -> None:
    """And every ready model has a document, whoever races whom."""
    store, audit = MemoryStore(), MemoryAudit()
    commits = Commits(store, audit)
    sights = Sights(commits, str, serves_new_versions=serves_new)
    traffic = Traffic(commits, sights, str)
    with tempfile.TemporaryDirectory() as folder:
        stock = Stock(Path(folder), most_rows=12, sight=traffic.see)
        for model, version in itertools.product("ab", "123"):
            stock.put(model, version, f"it is {version}")
        traffic.introduce(stock.inventory, stock.fleet.lacking)

        async def scene() -> None:
            async with sights, traffic:
                story = Steering(stock, traffic)
                for step, ticks in steps:
                    story.tell(step)
                    for _ in range(ticks):
                        await asyncio.sleep(0)
                await story.end()
                stock.check()
                known = stock.inventory.documents()
                assert known == {model: store.kept[model][-1] for model in known}
                ready = {one.model for one in stock.inventory.views() if one.state == "READY"}
                assert ready <= set(known)
                told = {(one.model, one.after) for one in audit.entries}
                kept = [one for some in store.kept.values() for one in some]
                assert told == {(one.model, one.revision) for one in kept}
                assert len(audit.entries) == len(kept)

        during(stock, scene)
