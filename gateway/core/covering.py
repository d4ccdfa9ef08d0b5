"""Covering: whose connections does each slot's socket feed?

A slot's own replica accepts from it. While that one is away, a live replica covers the
slot, so that no connection waits in a queue that nobody reads.

Everything is a function of who accepts from what; nothing here knows a socket.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet


def cover(serving: AbstractSet[int], slots: int, covering: Mapping[int, int]) -> dict[int, int]:
    """Return who covers each slot whose own replica is away: slot -> the slot of its cover.

    A cover that is alive stays: a change would help nobody. Else the one with the fewest
    slots takes it, the lowest of several. With nobody alive the slot waits.
    """
    wanted: dict[int, int] = {}
    load = dict.fromkeys(sorted(serving), 0)
    away = [slot for slot in range(slots) if slot not in serving]
    for slot in away:
        if covering.get(slot) in load:
            wanted[slot] = covering[slot]
            load[covering[slot]] += 1
    for slot in away:
        if slot not in wanted and load:
            wanted[slot] = min(load, key=lambda one: load[one])
            load[wanted[slot]] += 1
    return wanted


def changes(
    before: Mapping[int, int], after: Mapping[int, int], serving: AbstractSet[int]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return (accepts, releases), each as (who, which slot).

    One that is no longer serving is told nothing: it is gone.
    """
    accepts = [(who, slot) for slot, who in after.items() if before.get(slot) != who]
    releases = [
        (who, slot) for slot, who in before.items() if after.get(slot) != who and who in serving
    ]
    return accepts, releases
