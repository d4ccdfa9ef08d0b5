"""Flow: the life of a call on one page.

    wire      makes a Call out of a request: its tensors fit the version's signature
    choose    which arm answers: the version asked for, the operator's pin, or what the
              model's routing document decides
    infer     the arm's batcher queues it, cuts it into a batch when an executor is free,
              runs it, and answers it; then the arm's shadows hear of it
    fall_back a call that failed on an arm, or found its breaker open, is given to another one,
              within its deadline
    wire      hears `on_done` and writes the answer

Everything here is synchronous: rooms hand over by plain calls, and nobody waits.
"""

import random
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from gateway.batch.batcher import Batcher
from gateway.core.routing import Pairs, Parameters, Split
from gateway.core.versions import canonical_version
from gateway.errors import (
    BreakerOpen,
    Malformed,
    ModelFailed,
    NotReady,
    Shed,
    UnknownModel,
    UnknownVersion,
)
from gateway.types import Arm, Call

_draw = partial(random.getrandbits, 32)
_MADE_GOOD = (ModelFailed, BreakerOpen)
_UNKNOWN = "Request for unknown model:"  # clients look for it, whatever follows


class Mirror(Protocol):
    """A shadow."""

    def offer(self, call: Call) -> None:
        """Ask the shadow as well, at leisure; it must not raise."""


class Exposures(Protocol):
    """Who writes down which unit was given to which variant."""

    def meet(self, met: tuple[str, int, str, int]) -> None:
        """Hear of a model, a revision, a variant and the hash of a unit; it must not raise."""


class Tally(Protocol):
    """Where it is counted what an arm did not answer; it must not raise."""

    def refuse(self, code: str, elapsed_s: float, rows: int = 0) -> None:
        """Count a call that got an error instead of an answer, by the error's stable name."""

    def shed(self, reason: Shed) -> None:
        """Count what there was no room for."""

    def fell_back(self) -> None:
        """Count that another arm was asked in its stead."""


@dataclass(frozen=True, slots=True, eq=False)
class Absent:
    """A variant whose version cannot be asked here; `tally` counts what others answer for it."""

    model: str
    variant: str
    reason: str
    tally: Tally
    fallback: Arm | None


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A model's split, where there is something to decide.

    Shapes: `arms` in the order of the split's variants.
    """

    model: str
    revision: int
    split: Split
    arms: tuple[Arm | Absent, ...]


@dataclass(frozen=True, slots=True)
class Served:
    """One known model.

    `default` answers where no version is asked for and there is no route; None: nothing
    does. `versions` answer who asks for them. `pinned` are its variants by name, for those
    who may choose one. `unready` are reasons, by canonical version, for what is known and
    cannot be asked.
    """

    default: Arm | None
    versions: Mapping[str, Arm]  # by canonical version, ascending
    unready: Mapping[str, str] = field(default_factory=dict)
    pinned: Mapping[str, Arm | Absent] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that calls are answered by; replaced whole."""

    models: Mapping[str, Served] = field(default_factory=dict)
    batchers: Mapping[Arm, Batcher] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)
    mirrors: Mapping[Arm, Sequence[Mirror]] = field(default_factory=dict)


class Flow:
    """Every call handed to `infer` is answered exactly once."""

    def __init__(
        self,
        models: Mapping[str, Served],
        batchers: Mapping[Arm, Batcher],
        draw: Callable[[], int] = _draw,
        exposures: Exposures | None = None,
    ) -> None:
        """`draw` gives 32 random bits; `exposures` hears of sticky decisions."""
        self.replace(Plan(models, batchers))
        self._draw = draw
        self._exposures = exposures

    def replace(self, plan: Plan) -> None:
        """Answer by another plan from now on: who asks sees all of the old, or all of the new."""
        self.models = plan.models
        self.routes = plan.routes
        self.usual = {  # who answers where nothing is asked for and nothing decides
            model: served.default
            for model, served in plan.models.items()
            if served.default is not None and model not in plan.routes
        }
        self._drawn = {
            model: dealt for model, route in plan.routes.items() if (dealt := _dealt(route))
        }
        self._batchers = plan.batchers
        self._mirrors = plan.mirrors

    def find(self, model: str, version: str | None) -> Arm:
        """Return who answers for a version, or by default.

        Raises: UnknownModel, UnknownVersion, NotReady.
        """
        served = self.models.get(model)
        if served is None:
            raise UnknownModel(f"{_UNKNOWN} '{model}' is not found")
        if version is None:
            if served.default is None:
                raise _nothing_by_default(model, served)
            return served.default
        canonical = canonical_version(version)
        found = served.versions.get(canonical)
        if found is None:
            reason = served.unready.get(canonical)
            if reason is None:
                raise UnknownVersion(f"{_UNKNOWN} '{model}' version {version} is not found")
            raise NotReady(
                f"{_UNKNOWN} '{model}' version {version} is not at ready state: {reason}"
            )
        return found

    def drawn(self, model: str) -> Arm | None:
        """Return who answers where a draw alone decides, else None: then `choose` does."""
        dealt = self._drawn.get(model)
        return None if dealt is None else dealt[1][bisect_right(dealt[0], self._draw())]

    def choose(self, route: Route, headers: Pairs, parameters: Parameters | None = None) -> Arm:
        """Return the arm that a route gives a call to. Raises: NotReady."""
        place, reason = route.split.choose(headers, parameters, self._draw)
        if self._exposures is not None and reason == "sticky":
            unit = route.split.hashed(headers, parameters)
            if unit is not None:
                name = route.split.variants[place]
                self._exposures.meet((route.model, route.revision, name, unit))
        arm = route.arms[place]
        if isinstance(arm, Arm):
            return arm
        if arm.fallback is None:
            raise _not_ready(arm, self.models[arm.model])
        arm.tally.refuse(NotReady.code, 0.0)
        arm.tally.fell_back()
        return arm.fallback

    def pinned(self, model: str, variant: str) -> Arm:
        """Return a variant, whatever the split says. Raises: UnknownModel, NotReady, Malformed."""
        served = self.models.get(model)
        if served is None:
            raise UnknownModel(f"{_UNKNOWN} '{model}' is not found")
        arm = served.pinned.get(variant)
        if arm is None:
            known = ", ".join(served.pinned) or "no variant, because it has no routing document"
            raise Malformed(f"variant of model '{model}': expected {known}, got {variant[:80]!a}")
        if isinstance(arm, Absent):
            raise _not_ready(arm, served)
        return arm

    def infer(self, call: Call) -> None:
        """Batch, execute and answer `call`; it is answered exactly once, at once or later."""
        batcher = self._batchers.get(call.arm)
        if batcher is None:
            call.fail(NotReady(f"model '{call.arm.version.model}' is not loaded"))
        else:
            batcher.offer(call)
            if self._mirrors:
                for mirror in self._mirrors.get(call.arm, ()):
                    mirror.offer(call)

    def fall_back(self, call: Call) -> Call | None:
        """Return the call that is to be inferred because `call` failed; None: nobody can.

        It has the same rows, deadline and listener. Only what the model did is made good, and
        what it is not asked for because it did too much of it: who was refused for anything
        else, left or came too late is not asked for again.
        """
        other = call.arm.fallback
        if other is None or not isinstance(call.error, _MADE_GOOD):
            return None
        if other not in self._batchers:  # another revision is in force
            version = other.version
            served = self.models.get(version.model)
            direct = None if served is None else served.versions.get(version.version)
            if direct is None or direct.version is not version:
                return None
            other = direct
        return replace(call, arm=other, error=None, done=False)


def _dealt(route: Route) -> tuple[Sequence[int], Sequence[Arm]] | None:
    """Return the arms by buckets, where a draw alone decides and each of them is there."""
    found = route.split.drawn()
    if found is None:
        return None
    stops, owners = found
    arms = [arm for arm in (route.arms[place] for place in owners) if isinstance(arm, Arm)]
    return (stops, arms) if len(arms) == len(owners) else None


def _not_ready(absent: Absent, served: Served) -> NotReady:
    if not served.versions:
        return _nothing_by_default(absent.model, served)
    where = f"'{absent.model}' variant {absent.variant}"
    return NotReady(f"{_UNKNOWN} {where} is not at ready state: {absent.reason}")


def _nothing_by_default(model: str, served: Served) -> NotReady:
    reason = "; ".join(f"version {version}: {why}" for version, why in served.unready.items())
    if served.versions:
        ready = ", ".join(served.versions)
        what = f"has no version at ready state that answers by default, only {ready} when asked for"
    else:
        what = "has no available versions"
    return NotReady(f"{_UNKNOWN} '{model}' {what}" + (f": {reason}" if reason else ""))
