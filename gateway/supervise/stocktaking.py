"""Stocktaking: what lies on disk, compared with what is known.

Job    note what is new, faulty or gone; say what should be loaded because of it.
Life   functions over the register, during one order.
Never  changes what callers are answered by.
"""

import logging

from gateway.core.lifecycle import Cause, Refused, Unavailable
from gateway.errors import CannotPrepare, UnknownModel, UnknownVersion
from gateway.supervise.attempts import Attempt
from gateway.supervise.register import Known, Register
from gateway.supervise.selection import OnDisk, Shelf, is_due, sentence

_log = logging.getLogger(__name__)


def note(register: Register, model: str, shelf: Shelf) -> None:
    """Know every version that is there, and the reasons of those that cannot be served."""
    known = register.of(model)
    if "" in known and "" not in shelf.faults:
        register.forget(known[""])
    for version, seen in shelf.versions.items():
        _see(register.know(model, version), seen)
    for version, reason in shelf.faults.items():
        concerned = [version]
        if not version:  # the whole model: whatever is known of it and was not seen
            concerned = [one for one in register.of(model) if one and one not in shelf.versions]
        for one in concerned or [""]:
            _blame(register, register.know(model, one), reason)


def _see(known: Known, seen: OnDisk) -> None:
    """Remember what is on disk, unless a later comparison needs what was there before."""
    state = known.state
    if isinstance(state, Unavailable) and state.cause is not Cause.QUARANTINED:
        known.on_disk = seen


def _blame(register: Register, known: Known, reason: str) -> None:
    known.on_disk = None
    register.step(known, Refused(reason))
    _log.warning("%s version %s cannot be loaded: %s", known.model, known.version, reason)


def gone(register: Register, model: str, shelf: Shelf) -> list[Known]:
    """Return the known versions of which nothing is there any more, not even a fault."""
    if "" in shelf.faults:
        return []  # whatever was not seen may be there
    return [
        known
        for version, known in register.of(model).items()
        if version not in shelf.versions and version not in shelf.faults
    ]


def due(register: Register, model: str, shelf: Shelf) -> list[Attempt]:
    """Return what should be loaded, or loaded again, unasked."""
    attempts = []
    for version in shelf.selected():
        known, seen = register.know(model, version), shelf.versions[version]
        if is_due(known.state, known.on_disk, seen):
            known.on_disk = seen
            attempts.append(Attempt(known, seen.found))
    return attempts


def asked(model: str, version: str | None, shelf: Shelf) -> tuple[str, ...]:
    """Return the versions that a request to load means: one, or what their policy selects.

    Raises: UnknownModel, UnknownVersion, CannotPrepare.
    """
    if not shelf.versions and not shelf.faults:
        raise UnknownModel(
            f"failed to load '{model}', failed to poll from model repository: "
            f"there is no model '{model}'"
        )
    if version is None:
        if shelf.faults:
            raise CannotPrepare(f"failed to load '{model}': {sentence(shelf.faults.items())}")
        if not shelf.selected():
            raise CannotPrepare(f"failed to load '{model}', no version is available")
        return shelf.selected()
    if version not in shelf.versions:
        reason = shelf.faults.get(version, shelf.faults.get(""))
        if reason is not None:
            raise CannotPrepare(f"failed to load '{model}': version {version}: {reason}")
        raise UnknownVersion(f"Request for unknown model: '{model}' version {version} is not found")
    return (version,)
