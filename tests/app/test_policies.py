"""Policies: the rest is tests/app/test_rooms.py, where their effects are seen."""

import pytest

from gateway.app.policies import breaker_policy, intake_policy, port_policy, slowness_of
from gateway.config import Config
from gateway.core.breaker import Policy as BreakerPolicy
from gateway.core.breaker import State
from gateway.core.costs import Cost
from gateway.core.slowness import Slowness
from gateway.types import Signature, TensorSpec
from gateway.wire.decode import Limits
from gateway.wire.intake import Policy as IntakePolicy
from gateway.wire.port import Policy as PortPolicy

FIXED = Signature((TensorSpec("x", "FP32", (-1, 4)),), (), 64)
OPEN = Signature((TensorSpec("x", "FP32", (-1, -1)),), (), 64)


def test_an_empty_configuration_says_what_the_rooms_say_themselves() -> None:
    config = Config()
    assert port_policy(config, 1 << 20) == PortPolicy()
    limits = Limits(simd_from_bytes=config.limits.simd_from_bytes)
    assert intake_policy(config) == IntakePolicy(limits=limits)


def test_a_body_that_is_allowed_finds_room() -> None:
    limits = {"max_body_bytes": 2000, "max_unfinished_bytes": 1000}
    policy = port_policy(Config.model_validate({"limits": limits}), 1 << 20)
    assert policy.max_unfinished_bytes == 2000


def test_breakers_are_as_they_are_by_default_and_begin_as_the_operator_says() -> None:
    assert breaker_policy(Config()) == (BreakerPolicy(), State.CLOSED)
    for mode, state in (("off", State.DISABLED), ("metrics_only", State.METRICS_ONLY)):
        config = Config.model_validate({"breaker": {"mode": mode, "probes": 7}})
        assert breaker_policy(config) == (BreakerPolicy(probes=7), state)


def test_an_execution_is_slow_by_what_it_cost_where_a_trial_can_tell() -> None:
    cost = Cost(0.01, 0.1)
    assert slowness_of(Config(), FIXED, cost, 1) == Slowness(cost)
    assert slowness_of(Config(), OPEN, cost, 1) == Slowness(None)


def test_instances_beside_each_other_take_longer() -> None:
    cost = Cost(0.01, 0.1)
    assert slowness_of(Config(), FIXED, cost, 4).slow_s(1) == pytest.approx(4.4)


def test_nothing_is_slow_below_a_tenth_of_the_longest_deadline() -> None:
    config = Config(default_deadline_s=2.0)
    slowness = slowness_of(config, FIXED, Cost(1e-6, 1e-5), 1)
    assert (slowness.slow_s(1), slowness.slow_s(10**9)) == (0.2, 2.0)
