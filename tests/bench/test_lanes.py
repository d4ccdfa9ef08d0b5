import asyncio
from pathlib import Path

import pytest

from bench.lanes import KINDS, Silent, fed_s, group, open_bank
from bench.requests import INFER, Target, v2_body
from gateway.execute.session import Session, SessionSettings
from gateway.observe.counts import read
from gateway.observe.record import Record
from tests.fakes import a_row

MODEL = Path(__file__).parents[2] / "models" / "digits" / "1" / "model.onnx"


@pytest.fixture
def requests(tmp_path: Path) -> list[bytes]:
    rows = [[float((pixel + shift) % 17) for pixel in range(64)] for shift in range(4)]
    bodies = tmp_path / "bodies"
    bodies.write_bytes(b"".join(v2_body([row]) + b"\n" for row in rows))
    return Target(INFER, bodies).formatted()


def session() -> Session:
    return Session(MODEL, SessionSettings(max_batch_rows=1024))


def test_a_window_answers_every_request_and_its_record_has_them(requests: list[bytes]) -> None:
    async def scene() -> None:
        row = a_row()
        async with open_bank(session(), 16, Record(row), Silent()) as bank:
            assert await bank.window_s(requests) > 0
            answered = sum(sink.writes for sink in bank.sinks)
        counts = read(row)
        assert answered == counts.inferences == 256
        assert counts.executions == 16  # each turn's requests ran together

    asyncio.run(scene())


def test_a_record_that_does_nothing_serves_as_well(requests: list[bytes]) -> None:
    async def scene() -> int:
        async with open_bank(session(), 4, Silent(), Silent()) as bank:
            await bank.window_s(requests)
            return sum(sink.writes for sink in bank.sinks)

    assert asyncio.run(scene()) == 256


def test_reading_clocks_takes_time() -> None:
    assert fed_s() > 0


@pytest.mark.slow
def test_a_group_compares_both_kinds(requests: list[bytes]) -> None:
    shortest = asyncio.run(group(session(), 64, requests))
    assert set(shortest) == set(KINDS)
    assert all(seconds > 0 for seconds in shortest.values())
