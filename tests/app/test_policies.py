"""Policies: the rest is tests/app/test_rooms.py, where their effects are seen."""

from gateway.app.policies import intake_policy, port_policy
from gateway.config import Config
from gateway.wire.decode import Limits
from gateway.wire.intake import Policy as IntakePolicy
from gateway.wire.port import Policy as PortPolicy


def test_an_empty_configuration_says_what_the_rooms_say_themselves() -> None:
    config = Config()
    assert port_policy(config, 1 << 20) == PortPolicy()
    limits = Limits(simd_from_bytes=config.limits.simd_from_bytes)
    assert intake_policy(config) == IntakePolicy(limits=limits)


def test_a_body_that_is_allowed_finds_room() -> None:
    limits = {"max_body_bytes": 2000, "max_unfinished_bytes": 1000}
    policy = port_policy(Config.model_validate({"limits": limits}), 1 << 20)
    assert policy.max_unfinished_bytes == 2000
