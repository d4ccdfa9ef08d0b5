"""Unbuilt: values that are part of our contract before their effect exists.

Job    refuse each of them with its reason, rather than accept it and do nothing.
Life   a row leaves this table together with the commit that builds its feature.
Never  in the way of a default: what is off stays settable to off.
"""

from collections.abc import Callable, Mapping
from typing import Any

# (path, is this value one that needs the feature?, why it is refused). The predicate
# sees only values that the tables have found valid.
UNBUILT: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("with_sidecar", bool, "there is no sidecar"),
    ("cache.enabled", bool, "there is no cache"),
    ("cache.scope", lambda value: value == "key", "there is no cache"),
    ("cache.fleet_key", bool, "there is no shared cache"),
    ("feedback.keys", bool, "there is no feedback"),
    ("payload_log.enabled", bool, "requests are not logged"),
)


def refusals(raw: Mapping[str, object], at_fault: set[str]) -> list[tuple[str, str]]:
    """Return the faults, as (path, what), of valid values that have no effect yet.

    `at_fault` are the paths whose values are no valid ones.
    """
    faults = []
    for path, needs_it, reason in UNBUILT:
        found: object = raw
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        if found is not None and f"$.{path}" not in at_fault and needs_it(found):
            faults.append((f"$.{path}", f"not built yet: {reason}"))
    return faults
