"""Port: the limits that a connection has when nobody says otherwise, and the one drain."""

import asyncio
import time
from collections.abc import Callable

import pytest

from gateway.config import Config
from gateway.wire.port import Crowds, Drain, Policy, network_of
from tests.clock import play
from tests.wire.harness import Echo, port_of


def test_the_limits_are_those_of_an_empty_configuration() -> None:
    limits, policy = Config().limits, Policy()
    assert policy == Policy(
        max_body_bytes=limits.max_body_bytes,
        max_pipeline_depth=limits.max_pipeline_depth,
        max_connections=limits.max_connections,
        header_timeout_s=limits.header_timeout_s,
        body_timeout_s=limits.body_timeout_s,
        write_timeout_s=limits.write_timeout_s,
        keep_alive_s=limits.keep_alive_s,
        connection_max_age_s=Config().connection_max_age_s,
        max_connections_per_address=limits.max_connections_per_address,
        max_unfinished_bytes=limits.max_unfinished_bytes,
    )
    assert (
        policy.heads.max_target_bytes,
        policy.heads.max_head_bytes,
        policy.heads.max_fields,
    ) == (
        limits.max_target_bytes,
        limits.max_head_bytes,
        limits.max_fields,
    )


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
    ],
)
def test_a_client_is_known_by_its_address_or_its_network(host: str, network: str) -> None:
    assert network_of(host) == network


def test_a_crowd_is_bounded_where_it_comes_from_and_forgotten_when_it_leaves() -> None:
    crowds = Crowds()
    hosts = ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "::1"]
    assert [crowds.enter(at, host, 2) for at, host in enumerate(hosts)] == [1, 1, 0, 1, 1]
    for gone in (0, 0, 2, 99):
        crowds.leave(gone)
    assert [crowds.enter(9, "10.0.0.1", 2), crowds.enter(10, "10.0.0.1", 2)] == [True, False]
    for at in (1, 3, 4, 9):
        crowds.leave(at)
    assert vars(crowds) == vars(Crowds())


def test_a_port_goes_by_the_monotonic_clock() -> None:
    assert port_of(Echo()).clock is time.monotonic


def test_a_drain_begins_once_and_is_over_in_its_time() -> None:
    now = [100.0]
    drain = Drain(30.0, lambda: now[0])
    now[0] = 200.0
    assert (drain.has_begun(), drain.left_s()) == (False, 30.0)
    drain.begin()
    now[0] = 210.0
    drain.begin()
    assert (drain.has_begun(), drain.left_s()) == (True, 20.0)
    now[0] = 231.0
    assert drain.left_s() == 0.0


def test_a_drain_that_is_cut_short_leaves_no_time() -> None:
    drain = Drain(30.0)
    drain.cut_short()
    assert (drain.has_begun(), drain.left_s()) == (True, 0.0)


@pytest.mark.parametrize(
    ("ends", "left_s"), [((20.0,), 20.0), ((20.0, 25.0), 20.0), ((20.0, 5.0), 5.0), ((), 30.0)]
)
def test_the_end_of_a_drain_only_comes_nearer(ends: tuple[float, ...], left_s: float) -> None:
    drain = Drain(30.0, lambda: 100.0)
    for within_s in ends:
        drain.begin(within_s)
    drain.begin()
    assert drain.left_s() == left_s


def test_a_withdrawal_comes_before_a_drain() -> None:
    drain = Drain(30.0)
    assert not drain.is_leaving()
    drain.withdraw()
    assert (drain.is_leaving(), drain.has_begun(), drain.left_s()) == (True, False, 30.0)


def test_who_drains_leaves() -> None:
    drain = Drain(30.0)
    drain.begin()
    assert drain.is_leaving()


def ended_at(act: Callable[[Drain], None], block_s: float = 100.0) -> float:
    """How long a block may take whose drain began, after 2 s of it, in this way."""

    async def scene() -> float:
        loop = asyncio.get_running_loop()
        drain = Drain(30.0, loop.time)
        drain.begin()
        loop.call_later(2.0, act, drain)
        async with drain.limit():
            await asyncio.sleep(block_s)
        return loop.time()

    return play(scene)


def test_a_block_is_cut_off_at_the_end_of_the_drain() -> None:
    assert ended_at(lambda drain: None) == 30.0


def test_a_block_that_runs_already_is_hurried() -> None:
    assert ended_at(lambda drain: drain.begin(3.0)) == 5.0
    assert ended_at(Drain.cut_short) == 2.0
    assert ended_at(lambda drain: drain.begin(90.0)) == 30.0


def test_a_block_that_ends_in_time_is_left_alone() -> None:
    assert ended_at(Drain.cut_short, 1.0) == 1.0


def test_an_error_of_a_block_is_not_swallowed() -> None:
    async def scene() -> None:
        async with Drain(30.0).limit():
            raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        play(scene)
