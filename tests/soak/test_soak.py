"""A short soak in the gate; the long one is `make soak`."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import Server, serving
from tests.soak.asking import soak
from tests.soak.mutations import corpus, framed, mutate
from tests.zoo import write_zoo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("soak")
    settings: dict[str, Any] = {"limits__header_timeout_s": 1, "limits__body_timeout_s": 1}
    models: Path = write_zoo(folder / "models")
    with serving(models, folder, dialects__default_model="echo", **settings) as running:
        yield running


def test_every_seed_is_a_good_request(server: Server) -> None:
    for seed in corpus():
        assert server.ask(framed(seed, seed.body)).status == 200, seed


def test_the_same_dice_make_the_same_requests() -> None:
    made = [[mutate(corpus(), random.Random(5), 0.5) for _ in range(3)] for _ in range(2)]
    assert made[0] == made[1]
    dice = random.Random(5)
    assert len({mutate(corpus(), dice, 0.3).raw for _ in range(1000)}) > 600


def test_nothing_that_chance_makes_is_a_5xx_or_a_hang(server: Server) -> None:
    tally = asyncio.run(soak(server.port, 4000, seed=7, framing_ratio=0.1, callers=32))
    assert (tally.failed, tally.hung) == ([], [])
    assert tally.asked() == 4000
    assert {200, 400} < set(tally.statuses)
    assert server.complaints() == ""
