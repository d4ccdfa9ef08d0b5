"""Breakers: how a version's executor instances are, in the cells of its row.

Job    write a state and a count into one number, and read them again.
Life   pure functions.

A cell is 0, or

    times it opened << 16  |  number of the instance << 8  |  kind << 4  |  state

with kind and state from 1 up; state 0: the instance is there no more, and what it counted is.
An instance is called by its kind, or `kind/number` where there may be several.
"""

from collections.abc import Iterable, Mapping

from gateway.core.breaker import State

KINDS = ("inline", "thread", "process", "remote")
_NUMBERED = ("process", "remote")
_MOST_NUMBER = 255
_SHIFT = 1 - min(State)  # the lowest state is 1 in a cell


def cell_of(name: str, state: State | None, openings: int) -> int | None:
    """Return what a cell says of an instance; None: its name is none that can be told."""
    kind, _, number = name.partition("/")
    if kind not in KINDS or not (number or "0").isdecimal() or int(number or 0) > _MOST_NUMBER:
        return None
    mark = 0 if state is None else state + _SHIFT
    return openings << 16 | int(number or 0) << 8 | KINDS.index(kind) + 1 << 4 | mark


def states(cells: Iterable[int]) -> Mapping[str, State]:
    """Return the worst state of each instance that is there, by name."""
    found: dict[str, State] = {}
    for cell in cells:
        if cell & 15:
            kind = KINDS[(cell >> 4 & 15) - 1]
            name = f"{kind}/{cell >> 8 & 255}" if kind in _NUMBERED else kind
            state = State((cell & 15) - _SHIFT)
            found[name] = max(state, found.get(name, state))
    return found


def worst(one: Mapping[str, State], other: Mapping[str, State]) -> Mapping[str, State]:
    """Return the worst state of each instance that either knows."""
    if not one or not other:
        return one or other
    return {
        name: max(state for state in (one.get(name), other.get(name)) if state is not None)
        for name in {**one, **other}
    }


def openings(cells: Iterable[int]) -> int:
    """Return how often breakers opened."""
    return sum(cell >> 16 for cell in cells)
