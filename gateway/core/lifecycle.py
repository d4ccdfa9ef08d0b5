"""Lifecycle: what state is a version in, and what may happen to it next?

Job    one table of (state, event) -> state; whatever is not in it is illegal.
Life   frozen values; the inventory holds one a version.
Never  knows a file, a process or a clock.

                 Load              Loaded
    Unavailable ------> Loading ---------> Ready <--> Reloading
       ^   ^               |                 |
       |   +---- Refused --+                 | Unload
       |                                     v
       +------------- Unloaded --------- Unloading

A version that is being reloaded is ready all the while. One that is quarantined is
unavailable at once; if a load was under way, that load goes on. One that an operator
took out stays so whatever is found on disk; a quarantine ends with a load or an unload.
"""

from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """Why a version is unavailable."""

    UNASKED = "unasked"  # nobody wanted it yet
    UNLOADED = "unloaded"  # somebody wanted it gone
    FAILED = "failed"  # it was refused somewhere
    QUARANTINED = "quarantined"  # it killed who executed it


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Known, and nobody can ask for it."""

    cause: Cause = Cause.UNASKED
    reason: str = "not loaded"


@dataclass(frozen=True, slots=True)
class Loading:
    """Nobody can ask for it yet. `was` is what it was before."""

    was: Unavailable


@dataclass(frozen=True, slots=True)
class Ready:
    """Callers are answered. `reason` is why its replacement was refused, if one was."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reloading:
    """Callers are answered by what is loaded, and a replacement is on its way."""

    was: Ready


@dataclass(frozen=True, slots=True)
class Unloading:
    """Nobody can ask for it any more; somebody may still wait for an answer."""


State = Unavailable | Loading | Ready | Reloading | Unloading


@dataclass(frozen=True, slots=True)
class Load:
    """An attempt to load it begins."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The attempt succeeded everywhere."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The attempt failed, or what lies on disk can never succeed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unload:
    """It is taken out."""


@dataclass(frozen=True, slots=True)
class Unloaded:
    """Nobody serves it any more."""

    cause: Cause = Cause.UNLOADED
    reason: str = "unloaded"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """It was executing whenever replicas died."""

    reason: str


Event = Load | Loaded | Refused | Unload | Unloaded | Quarantined


class Illegal(Exception):
    """An event that cannot happen in this state: a fault of ours."""


def after(state: State, event: Event) -> State:
    """Return the state after `event`. Raises: Illegal."""
    match state, event:
        case Unavailable(), Load():
            return Loading(state)
        case Unavailable(cause), Refused(reason):
            return _failed(cause, reason) if cause is not Cause.UNLOADED else state
        case Loading(), Loaded():
            return Ready()
        case Loading(Unavailable(cause)), Refused(reason):
            return _failed(cause, reason)
        case Ready(), Load():
            return Reloading(state)
        case Ready(), Refused(reason):
            return Ready(reason)
        case Reloading(), Loaded():
            return Ready()
        case Reloading(), Refused(reason):
            return Ready(reason)
        case ((Ready() | Unavailable()), Unload()):
            return Unloading()
        case Unloading(), Unloaded(cause, reason):
            return Unavailable(cause, reason)
        case ((Ready() | Reloading()), Quarantined(reason)):
            gone = Unavailable(Cause.QUARANTINED, reason)
            return Loading(gone) if isinstance(state, Reloading) else gone
        case _:
            raise Illegal(f"{type(event).__name__} cannot happen to a version that is {state}")


def _failed(cause: Cause, reason: str) -> Unavailable:
    """A quarantine outlives failures to load: only success, or an unload, ends it."""
    kept = cause if cause is Cause.QUARANTINED else Cause.FAILED
    return Unavailable(kept, reason)


def is_ready(state: State) -> bool:
    """Say whether callers are answered."""
    return isinstance(state, Ready | Reloading)


def is_quarantined(state: State) -> bool:
    """Say whether it is out of service for having killed, a load under way included."""
    known = state.was if isinstance(state, Loading) else state
    return isinstance(known, Unavailable) and known.cause is Cause.QUARANTINED


def name_of(state: State) -> str:
    """Return the protocol's word for a state."""
    match state:
        case Unavailable():
            return "UNAVAILABLE"
        case Loading():
            return "LOADING"
        case Ready() | Reloading():
            return "READY"
        case Unloading():
            return "UNLOADING"


def reason_of(state: State) -> str:
    """Return why a version is not ready, or why its replacement was refused; "" if neither."""
    match state:
        case Unavailable(_, reason) | Ready(reason) | Reloading(Ready(reason)):
            return reason
        case Loading(Unavailable(Cause.QUARANTINED, reason)):
            return reason
        case Loading():
            return "being loaded"
        case Unloading():
            return "being unloaded"
