"""Policies: what the configuration means to each room.

No room imports the configuration; here its keys become what they ask for.
"""

from gateway.config import Config
from gateway.config.bounds import connections_of
from gateway.core.breaker import Policy as BreakerPolicy
from gateway.core.breaker import State
from gateway.core.costs import Cost
from gateway.core.slowness import Slowness, is_telling
from gateway.types import Signature
from gateway.wire.decode import Limits
from gateway.wire.heads import HeadLimits
from gateway.wire.intake import Policy as IntakePolicy
from gateway.wire.paths import Routes
from gateway.wire.port import Policy as PortPolicy


def intake_policy(config: Config) -> IntakePolicy:
    """Return what a request may ask for."""
    limits = config.limits
    return IntakePolicy(
        default_deadline_s=config.default_deadline_s,
        priority_levels=config.batching.priority_levels,
        default_priority=config.batching.default_priority,
        v1=config.dialects.v1,
        limits=Limits(
            max_tensors=limits.max_tensors,
            max_rank=limits.max_rank,
            max_elements=limits.max_elements,
            max_json_depth=limits.max_json_depth,
            simd_from_bytes=limits.simd_from_bytes,
        ),
    )


def routes_of(config: Config) -> Routes:
    """Return which paths there are beyond those of V2 and V1."""
    dialects = config.dialects
    return Routes.told(dialects.default_model, dialects.predict_route, dialects.health_route)


_SLOW_FLOOR_RATIO = 0.1  # of the longest deadline
_STATES = {"on": State.CLOSED, "metrics_only": State.METRICS_ONLY, "off": State.DISABLED}


def breaker_policy(config: Config) -> tuple[BreakerPolicy, State]:
    """Return when breakers open and close, and the state in which they begin."""
    breaker = config.breaker
    policy = BreakerPolicy(
        window_s=breaker.window_s,
        minimum_calls=breaker.minimum_calls,
        failure_ratio=breaker.failure_ratio,
        slow_ratio=breaker.slow_ratio,
        open_s=breaker.open_s,
        max_open_s=breaker.max_open_s,
        probes=breaker.probes,
        half_open_s=breaker.half_open_s,
        slow_start_s=breaker.slow_start_s,
    )
    return policy, _STATES[breaker.mode]


def slowness_of(config: Config, signature: Signature, cost: Cost, instances: int) -> Slowness:
    """Return when an execution is slow; instances beside each other may share one processor."""
    factor, most_s = config.breaker.slow_factor * instances, config.default_deadline_s
    floor_s = _SLOW_FLOOR_RATIO * most_s
    return Slowness(cost if is_telling(signature) else None, factor, floor_s, most_s)


def port_policy(config: Config, descriptors: int) -> PortPolicy:
    """Return the limits of a connection, where the process may have so many descriptors."""
    limits = config.limits
    return PortPolicy(
        max_body_bytes=limits.max_body_bytes,
        max_pipeline_depth=limits.max_pipeline_depth,
        max_connections=connections_of(config, descriptors),
        max_connections_per_address=limits.max_connections_per_address,
        # a body that is allowed must find room
        max_unfinished_bytes=max(limits.max_unfinished_bytes, limits.max_body_bytes),
        header_timeout_s=limits.header_timeout_s,
        body_timeout_s=limits.body_timeout_s,
        write_timeout_s=limits.write_timeout_s,
        keep_alive_s=limits.keep_alive_s,
        connection_max_age_s=config.connection_max_age_s,
        heads=HeadLimits(limits.max_target_bytes, limits.max_head_bytes, limits.max_fields),
    )
