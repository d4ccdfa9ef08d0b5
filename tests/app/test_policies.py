"""Policies: the rest is tests/app/test_rooms.py, where their effects are seen."""

from gateway.app.policies import intake_policy, port_policy
from gateway.config import Config
from gateway.wire.decode import Limits
from gateway.wire.intake import Policy as IntakePolicy
from gateway.wire.port import Policy as PortPolicy


def test_an_empty_configuration_says_what_the_rooms_say_themselves() -> None:
    config = Config()
    assert port_policy(config) == PortPolicy()
    limits = Limits(simd_from_bytes=config.limits.simd_from_bytes)
    assert intake_policy(config) == IntakePolicy(limits=limits)
