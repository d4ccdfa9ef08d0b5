"""Port: the limits that a connection has when nobody says otherwise, and the one drain."""

import time

from gateway.config import Config
from gateway.wire.port import Drain, Policy
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
