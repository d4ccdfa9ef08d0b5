"""Port: the limits that a connection has when nobody says otherwise."""

import time

from gateway.config import Config
from gateway.wire.port import Policy
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
