import asyncio
from pathlib import Path

import pytest

from bench import deciding
from bench.deciding import KINDS, group, open_split, parted, requests_of
from bench.requests import v2_body
from gateway.core.documents import Document, Sticky
from gateway.execute.session import Session, SessionSettings
from gateway.observe.counts import read
from gateway.observe.memory import Memory

MODEL = Path(__file__).parents[2] / "models" / "digits" / "1" / "model.onnx"
FIRST_ROW = 1


@pytest.fixture
def requests(tmp_path: Path) -> dict[str, list[bytes]]:
    rows = [[float((pixel * shift) % 17) for pixel in range(64)] for shift in range(600)]
    bodies = tmp_path / "bodies"
    bodies.write_bytes(b"".join(v2_body([row]) + b"\n" for row in rows))
    return requests_of(bodies)


def session() -> Session:
    return Session(MODEL, SessionSettings(max_batch_rows=1024))


def counted(document: Document, requests: list[bytes]) -> tuple[list[int], list[int]]:
    """What each variant answered in a window of 256, and in how many batches."""

    async def scene() -> tuple[list[int], list[int]]:
        with Memory.create() as memory:
            async with open_split(session(), document, 16, memory, FIRST_ROW) as bank:
                await bank.window_s(requests)
            rows = [read(memory.row(FIRST_ROW + at)) for at in range(1, 1 + len(document.variants))]
            return [one.inferences for one in rows], [one.executions for one in rows]

    return asyncio.run(scene())


def test_without_a_split_one_variant_answers_each_turn_together(
    requests: dict[str, list[bytes]],
) -> None:
    assert counted(deciding.ONE, requests["plain"]) == ([256], [16])


def test_a_split_gives_both_variants_calls_and_each_a_batch_of_its_own(
    requests: dict[str, list[bytes]],
) -> None:
    answered, executed = counted(deciding.shared(5000), requests["plain"])
    assert sum(answered) == 256
    assert min(answered) > 64
    assert min(executed) > 8


@pytest.mark.parametrize(
    ("sticky", "sent"), [(deciding.BY_HEADER, "named"), (deciding.BY_PARAMETER, "told")]
)
def test_a_unit_is_read_where_it_is_sent(
    requests: dict[str, list[bytes]], sticky: Sticky, sent: str
) -> None:
    """The same users are dealt out alike, however often they come: no draw decides."""
    document = deciding.shared(5000, sticky)
    first, again = (counted(document, requests[sent])[0] for _ in range(2))
    assert first == again
    assert min(first) > 64


def test_a_rule_that_nobody_meets_leaves_all_to_stable(requests: dict[str, list[bytes]]) -> None:
    assert counted(KINDS["rule"].document, requests["plain"])[0] == [256, 0]
    beta = [one.replace(b"\r\n\r\n", b"\r\nx-tier: beta\r\n\r\n", 1) for one in requests["plain"]]
    assert counted(KINDS["rule"].document, beta)[0] == [0, 256]


def test_windows_together_have_each_request_once(requests: dict[str, list[bytes]]) -> None:
    parts = parted(requests["named"])
    assert [len(part) for part in parts] == [256, 256]
    assert len({request for part in parts for request in part}) == 512


@pytest.mark.slow
def test_a_group_has_a_figure_for_each_kind(requests: dict[str, list[bytes]]) -> None:
    parts = {sent: parted(some) for sent, some in requests.items()}
    shortest = asyncio.run(group(session(), 64, parts, windows=2))
    assert shortest.keys() == KINDS.keys()
    assert all(0 < seconds < 1 for seconds in shortest.values())
