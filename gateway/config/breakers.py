"""Breakers: the table of what keeps calls from versions that fail.

Job    the settings of circuit breakers.
Life   a part of the tree of tables.py.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.kinds import Count, Positive, Table

Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class BreakerConfig(Table):
    """When a version that fails is asked no more, and how it comes back."""

    mode: Literal["on", "metrics_only", "off"] = "on"
    """on: what fails is refused for a while; metrics_only: it is only counted; off: neither."""
    window_s: Annotated[int, Field(ge=1, le=600)] = 10
    """Over how long executions are judged."""
    minimum_calls: Count = 20
    """Fewer executions in the window are not judged."""
    failure_ratio: Share = 0.5
    """How many of them must fail, from 0 to 1."""
    slow_ratio: Share = 0.8
    """Or how many must be slow, from 0 to 1."""
    slow_factor: Positive = 10.0
    """An execution is slow beyond so many times what it cost when the version was tried."""
    open_s: Positive = 5.0
    """How long a version is refused before it is tried again; doubled each time it fails again."""
    max_open_s: Positive = 60.0
    """At most so long."""
    probes: Count = 3
    """Executions by which it is tried."""
    half_open_s: Positive = 10.0
    """What trying it may take."""
    slow_start_s: Positive = 10.0
    """Over how long it then gets more and more of its calls, from a tenth of them."""

    @model_validator(mode="after")
    def _opens_for_no_longer_than_it_may(self) -> Self:
        if self.open_s > self.max_open_s:
            raise ValueError(
                f"open_s must be at most max_open_s ({self.max_open_s}), got {self.open_s}"
            )
        return self
