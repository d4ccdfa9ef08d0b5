"""Recording: what a batcher tells of its executions.

Job    the seam between batching and whoever counts.
Never  hears of refusals: whoever answers a request counts those.
"""

from collections.abc import Sequence
from typing import Protocol

from gateway.types import Call, Outputs


class Recording(Protocol):
    """Hears of each execution twice, and of calls in parts; it must not raise.

    Units: `started` and `ended` are seconds on the batcher's clock.
    """

    def begin(self) -> None:
        """An execution starts now."""

    def finish(
        self, calls: Sequence[Call], outputs: Outputs | None, started: float, ended: float
    ) -> None:
        """It ended; those of `calls` that are not done will be answered with `outputs`.

        None: it failed, or nobody waits for it any longer.
        """

    def complete(self, call: Call, outputs: Outputs, started: float, ended: float) -> None:
        """A call that was cut into parts will be answered, the last of which were in `outputs`."""
