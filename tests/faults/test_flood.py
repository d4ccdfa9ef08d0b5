"""More than the server can use, good or bad: it stays as large as it was, and says when to come."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.badinput.bodies import BODIES
from tests.badinput.framing import FRAMING
from tests.badinput.rows import Row
from tests.badinput.targets import TARGETS
from tests.badinput.tensors import TENSORS
from tests.faults.crowd import check_health
from tests.server import Server, infer, serving, tensor
from tests.zoo import write_zoo

pytestmark = pytest.mark.slow

AT_ONCE = 16
KEEPING = [r for r in (*TARGETS, *BODIES, *TENSORS) if r.keeps and len(r.request) < 1000]
ENDING = [row for row in FRAMING if row.status == 400 and len(row.request) < 1000]


def flood(server: Server, rows: Iterator[Row], count: int) -> None:
    """Send `count` bad requests: nine in ten on a kept connection, the others on their own."""
    with server.connect() as wire:
        for _ in range(count // (AT_ONCE + 2)):
            turn = [next(rows) for _ in range(AT_ONCE)]
            wire.send(b"".join(row.request for row in turn))
            assert [wire.answer().status for _ in turn] == [row.status for row in turn]
            for row in (next(ends), next(ends)):
                assert server.ask(row.request).status == row.status


ends = itertools.cycle(ENDING)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose memory nobody else has used."""
    folder = tmp_path_factory.mktemp("flood")
    with serving(write_zoo(folder / "models"), folder) as running:
        yield running


def test_10000_bad_requests_in_a_row_leave_no_trace(fresh: Server) -> None:
    rows = itertools.cycle(KEEPING)
    flood(fresh, rows, 2000)
    before = fresh.rss_bytes()
    flood(fresh, rows, 10_000)
    assert fresh.rss_bytes() - before < 6 << 20
    assert fresh.complaints() == ""
    check_health(fresh)


def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    """The thread holds one, four wait, and the rest is refused at once."""
    models = write_zoo(tmp_path / "models")
    slow = infer("patient", tensor("x", "INT64", [1], [300_000]))
    with serving(models, tmp_path, limits__max_queue_rows=4) as server, server.connect() as wire:
        wire.send(slow)
        check_health(server, 1)  # asked after it, so it runs now
        wire.send(slow * 8)
        answers = [wire.answer() for _ in range(9)]
        assert [answer.status for answer in answers] == [200] * 5 + [429] * 4
        for answer in answers[5:]:
            assert answer.json["code"] == "overloaded"
            assert "Exceeds maximum queue size" in answer.json["error"]
            assert int(answer.headers["retry-after"]) >= 1
        check_health(server)
