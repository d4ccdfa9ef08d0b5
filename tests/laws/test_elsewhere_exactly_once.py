"""Whatever servers elsewhere do, and whenever callers leave: calls and requests end once each."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gateway.batch.batcher import Batcher
from gateway.core.batching import Policy
from gateway.core.retrying import SPARE
from gateway.errors import ClientGone
from gateway.execute.upstream import Outcome, Reply
from gateway.types import Call
from tests.clock import play
from tests.elsewhere import Asked
from tests.execute.test_remote import Far, Stage, cut, lost, saying, well
from tests.fakes import a_call, a_record, answer_of, now

CALLS = 24


@dataclass(frozen=True, slots=True)
class Deed:
    """What one request is answered with, and after how long."""

    kind: str
    cost_s: float


DEEDS = st.builds(
    Deed,
    st.sampled_from(["well", "lost", "cut", "429", "503", "500", "400", "204", "raises"]),
    st.sampled_from([0.0, 0.01, 0.2, 3.0, 1e6]),
)


class Fickle(Far):
    """Does one deed after the other, over and over."""

    def __init__(self, deeds: list[Deed]) -> None:
        super().__init__()
        self.deeds = deeds
        self.under_way = 0

    async def ask(self, method: str, url: str, *more: object) -> Reply:
        deed = self.deeds[len(self.asked) % len(self.deeds)]
        self.cost_s = deed.cost_s
        self.says = dict.fromkeys(("a", "b"), lambda asked: told(deed.kind, asked))
        self.under_way += 1
        try:
            return await super().ask(method, url, *more)  # type: ignore[arg-type]  # passed on
        finally:
            self.under_way -= 1


def told(kind: str, asked: Asked) -> Reply | Exception:
    if kind == "well":
        return well(asked)
    if kind in ("lost", "cut"):
        return (lost if kind == "lost" else cut)(asked)
    if kind == "raises":
        return ZeroDivisionError("!")  # nobody has named it
    return (saying(429, retry_after="1") if kind == "429" else saying(int(kind)))(asked)


class Watch:
    """Counts what it permits, and what it hears of each."""

    def __init__(self) -> None:
        self.heard_of: Counter[int] = Counter()
        self.permitted = 0

    def may_send(self, endpoint: str) -> object | None:
        self.permitted += 1
        return self.permitted

    def heard(
        self, endpoint: str, permit: object, outcome: Outcome, seconds: float, rows: int
    ) -> None:
        assert isinstance(permit, int)
        self.heard_of[permit] += 1


@given(
    st.lists(DEEDS, min_size=1, max_size=12),
    st.lists(st.sampled_from([0.0, 0.005, 0.1, 1.0, None]), min_size=CALLS, max_size=CALLS),
    st.lists(st.sampled_from([0.02, 0.5, 5.0, 1e9]), min_size=CALLS, max_size=CALLS),
    st.integers(1, 8),
)
def test_each_call_and_each_request_ends_once(
    deeds: list[Deed], leaves: list[float | None], deadlines: list[float], max_rows: int
) -> None:
    heard: Counter[int] = Counter()
    far, watch = Fickle(deeds), Watch()

    async def scene() -> list[Call]:
        stage = Stage(far, watch=watch)
        loop = asyncio.get_running_loop()
        calls = []
        async with stage.remote:
            policy = Policy(max_rows=max_rows, max_running=4, drain_s=100.0)
            async with Batcher(stage.remote.run, policy, a_record(), now) as batcher:
                for at in range(CALLS):
                    call = a_call(float(at), deadline=now() + deadlines[at])
                    call.on_done = lambda _, at=at: heard.update([at])  # type: ignore[misc]  # a default
                    calls.append(call)
                    batcher.offer(call)
                    leave_s = leaves[at]
                    if leave_s is not None:
                        loop.call_later(leave_s, call.fail, ClientGone("gone"))
                    await asyncio.sleep(0.003)
        await asyncio.sleep(0)
        assert stage.remote.statistics() == (0, 0)
        assert stage.retries <= 0.1 * len(far.asked) + SPARE * (1 + now() / 9)
        return calls

    calls = play(scene)
    assert heard == Counter(range(CALLS))
    assert far.under_way == 0
    assert watch.heard_of == Counter(range(1, watch.permitted + 1))
    for at, call in enumerate(calls):
        assert call.error is not None or answer_of(call) == [2.0 * at]
