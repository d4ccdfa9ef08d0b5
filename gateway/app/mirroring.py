"""Mirroring: a shadow's mirror, introduced to what it counts in and what it tells.

Job    give each shadow of a document its mirror.
Life   pure but for what it opens.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from operator import not_

from gateway.app.opened import Opened
from gateway.batch.batcher import Busy
from gateway.control.messages import Disagreed
from gateway.core.documents import Document, Shadow
from gateway.execute.executors import yield_to_the_loop
from gateway.observe.record import Record
from gateway.route.asking import Disagreement
from gateway.route.mirror import Mirror, Policy


def open_mirror(
    on_worst: Callable[[Disagreed], None],
    busy: Busy,
    document: Document,
    shadow: Shadow,
    opened: Opened,
    record: Record,
) -> Mirror:
    """Return a mirror that is open; `on_worst` hears of the worst disagreements.

    Nothing is to spare while anybody is `busy`: what a shadow took then would be a caller's,
    whatever version, arm or revision that one asked for.
    """

    def tell(worst: Disagreement) -> None:
        distance = worst.distance if math.isfinite(worst.distance) else None
        on_worst(
            Disagreed(
                document.model,
                document.revision,
                shadow.name,
                worst.output,
                distance,
                {name: _shown(row) for name, row in worst.asked.items()},
                _shown(worst.primary),
                _shown(worst.shadow),
                round(time.time(), 3),
            )
        )

    mirror = Mirror(
        shadow,
        opened.version,
        opened.execute,
        record,
        tell,
        Policy(),
        partial(not_, busy),
        begin=yield_to_the_loop,
    )
    return mirror.open()


def _shown(row: Sequence[object]) -> tuple[str | int | float | bool, ...]:
    """Return a row that JSON can carry: what is no number is a text."""
    return tuple(_element(one) for one in row)


def _element(one: object) -> str | int | float | bool:
    if isinstance(one, float):
        return one if math.isfinite(one) else str(one)
    return one if isinstance(one, str | int | bool) else str(one)
