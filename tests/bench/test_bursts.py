from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.bursts import bursts_of, due_offsets
from bench.courses import Clients

PHASES_S = (1.0, 2.0, 1.0)


@pytest.fixture
def clients(tmp_path: Path) -> Clients:
    bodies = tmp_path / "bodies"
    bodies.write_bytes(b"one\ntwo\nthree\n")
    return Clients("some", "/infer", str(bodies), 4, (100.0, 400.0, 0.0), 0.25)


def test_a_request_tells_its_deadline_and_who_asks(clients: Clients) -> None:
    first, *_ = bursts_of(replace(clients, headers=("x-api-key: me",)))
    head, _, body = first.partition(b"\r\n\r\n")
    assert b"\r\nx-request-timeout-ms: 250" in head
    assert b"\r\nx-api-key: me" in head
    assert b"\r\ncontent-length: 3" in head
    assert body == b"one"


def test_every_body_is_in_as_many_bursts(clients: Clients) -> None:
    bursts = bursts_of(replace(clients, burst=2))
    assert [one.count(b"POST ") for one in bursts] == [2, 2, 2]
    together = b"".join(bursts)
    assert [together.count(b"\r\n" + body) for body in (b"one", b"two", b"three")] == [2, 2, 2]


def test_each_phase_has_its_rate(clients: Clients) -> None:
    due = due_offsets(replace(clients, is_regular=True), PHASES_S)
    assert due is not None
    bounds = ((0, 1), (1, 3), (3, 4))
    assert [int(((due >= begin) & (due < end)).sum()) for begin, end in bounds] == [100, 800, 0]


def test_bursts_are_due_as_many_times_less_often(clients: Clients) -> None:
    due = due_offsets(replace(clients, is_regular=True, burst=4), PHASES_S)
    assert due is not None
    assert len(due) == 225


def test_poisson_moments_ascend_and_the_seed_decides_them(clients: Clients) -> None:
    first, again, other = (due_offsets(replace(clients, seed=seed), PHASES_S) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert (np.diff(first) >= 0).all()
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:50], other[:50])
    assert 700 < len(first) < 1100


def test_a_closed_loop_has_no_moments(clients: Clients) -> None:
    assert due_offsets(replace(clients, rates_per_s=None), PHASES_S) is None
