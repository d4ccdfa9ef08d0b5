"""A short ruin in the gate, and proof that it would see what it looks for."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.server import serving
from tests.soak.ruin import Asked, Plan, Tally, an_asked, ruin, unaccounted, wrong_with
from tests.zoo import write_zoo

ECHO = Asked(b"", "7", frozenset({200}), [1.0])
RIGHT = b'{"id":"7","outputs":[{"name":"y","data":[1.0]}]}'


@pytest.mark.slow
def test_every_request_is_accounted_for_though_replicas_are_killed(tmp_path: Path) -> None:
    with serving(write_zoo(tmp_path / "models"), tmp_path, replicas=2) as server:
        tally = asyncio.run(ruin(server, Plan(4.0, 16, seed=3)))
        assert tally.faults + unaccounted(tally, server) == []
    assert tally.kills
    assert tally.left
    assert tally.answers.keys() >= {200, 500}


def test_the_same_dice_ask_the_same() -> None:
    first, again = ([an_asked(random.Random(at), at) for at in range(200)] for _ in range(2))
    assert first == again
    assert {one.statuses for one in first} >= {frozenset({200}), frozenset({500})}


@pytest.mark.parametrize(
    ("status", "body", "is_wrong"),
    [
        (200, RIGHT, False),
        (200, RIGHT.replace(b'"7"', b'"8"'), True),  # another's answer
        (200, RIGHT.replace(b"1.0", b"2.0"), True),
        (503, b"{}", True),
    ],
)
def test_an_answer_is_right_for_its_own_request_alone(
    status: int, body: bytes, is_wrong: bool
) -> None:
    assert (wrong_with(ECHO, status, body) is not None) == is_wrong


def test_a_refusal_that_was_to_be_expected_is_right() -> None:
    hopeless = Asked(b"", "7", frozenset({200, 504}), [1.0])
    assert wrong_with(hopeless, 504, b"{}") is None
    assert wrong_with(hopeless, 500, b"{}") is not None


def test_what_became_of_a_request_is_one_thing() -> None:
    tally = Tally(asked=10, left=2, cut=1)
    tally.answers.update({200: 6, 500: 1})
    assert tally.counted() == 10
