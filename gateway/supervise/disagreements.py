"""Disagreements: the worst that shadows of this host have said.

Job    keep, for each output of each shadow, the few rows that were furthest off.
Life   as long as the supervisor.
Never  grows with traffic: a new revision of a document begins anew, and what is kept is few.
"""

from gateway.control.messages import Disagreed
from gateway.core.comparing import Worst

_MOST_KEPT = 5
_MOST_SHADOWS = 1000  # models with shadows, of which the longest unheard is forgotten


class Disagreements:
    """Mutable state: what is kept, by model, of the newest revision heard of."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[int, dict[tuple[str, str], Worst[Disagreed]]]] = {}

    def note(self, one: Disagreed) -> None:
        """Keep what a shadow said, if it is among the worst."""
        revision, kept = self._models.pop(one.model, (0, {}))
        if one.revision > revision:
            revision, kept = one.revision, {}
        if one.revision == revision:
            worst = kept.setdefault((one.shadow, one.output), Worst(_MOST_KEPT))
            worst.add(float("inf") if one.distance is None else one.distance, one)
        self._models[one.model] = revision, kept
        if len(self._models) > _MOST_SHADOWS:
            del self._models[next(iter(self._models))]

    def worst(self, model: str, revision: int, shadow: str) -> tuple[Disagreed, ...]:
        """Return what is kept of a shadow, by output, the worst first."""
        known, kept = self._models.get(model, (0, {}))
        if known != revision:
            return ()
        return tuple(
            one
            for (name, _), worst in sorted(kept.items())
            if name == shadow
            for _, one in worst.kept()
        )
