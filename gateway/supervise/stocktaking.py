"""Stocktaking: what lies on disk, compared with what is known.

Job    note what is new, faulty or gone; say what should be loaded because of it.
Life   functions over the register, during one order.
Never  changes what callers are answered by.

A version that its policy does not choose is known only when somebody asked for it; it
stays then, whatever is on disk besides, until it is taken out or its files go. What the
model's routing document names is chosen, whatever its policy says.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace

from gateway.core.lifecycle import Cause, Refused, Unavailable
from gateway.core.versions import is_model_name
from gateway.errors import CannotPrepare, Malformed, UnknownModel, UnknownVersion
from gateway.supervise.attempts import Attempt
from gateway.supervise.register import Known, Register
from gateway.supervise.selection import OnDisk, Shelf, is_due, sentence

_log = logging.getLogger(__name__)


def note(register: Register, model: str, shelf: Shelf) -> None:
    """Know every version that should be there, and the reasons of those that cannot be served.

    What their configuration says in vain is told when it is seen for the first time.
    """
    known = register.of(model)
    if "" in known and "" not in shelf.faults:
        register.forget(known[""])
    named = _named(register, model)
    _tell_notes(known, model, shelf)
    for version, seen in shelf.versions.items():
        if seen.is_chosen or version in known or version in named:
            _see(register.know(model, version), seen)
    should_be_there = {*shelf.refused(), *shelf.absent, *known}
    for version, reason in shelf.faults.items():
        if version and version not in should_be_there:
            continue
        concerned = [version]
        if not version:  # the whole model: whatever is known of it and was not seen
            concerned = [one for one in register.of(model) if one and one not in shelf.versions]
        for one in concerned or [""]:
            _blame(register, register.know(model, one), reason)


def _tell_notes(known: Mapping[str, Known], model: str, shelf: Shelf) -> None:
    told = {note for one in known.values() if one.on_disk for note in _notes(one.on_disk)}
    new = dict.fromkeys(note for seen in shelf.versions.values() for note in _notes(seen))
    for one in new:
        if one not in told:
            _log.warning("%s: %s", model, one)


def _notes(seen: OnDisk) -> tuple[str, ...]:
    return seen.found.settings.notes


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
    """Return the known versions of which nothing is there any more, not even a fault, and
    those that are served because their policy chose them, and that it does not choose now,
    unless what it chooses instead is faulty, or the routing document names them.
    """
    if "" in shelf.faults:
        return []  # whatever was not seen may be there
    named = _named(register, model)
    return [known for known in register.of(model).values() if _is_gone(known, shelf, named)]


def _named(register: Register, model: str) -> tuple[str, ...]:
    """Return the versions that get calls, or may, whatever their policy says."""
    document = register.document(model)
    return () if document is None else document.versions()


def _is_gone(known: Known, shelf: Shelf, named: Collection[str]) -> bool:
    seen = shelf.versions.get(known.version)
    if seen is not None:
        is_wanted = _was_asked_for(known) or known.version in named
        is_left_over = known.assigned is not None and not is_wanted
        return is_left_over and not seen.is_chosen and not shelf.refused()
    if known.version in shelf.absent:
        return known.assigned is not None
    return known.version not in shelf.faults


def _was_asked_for(known: Known) -> bool:
    """Say whether a version is served though its policy did not choose it."""
    seen = known.on_disk
    return known.assigned is not None and seen is not None and not seen.is_chosen


def due(register: Register, model: str, shelf: Shelf) -> list[Attempt]:
    """Return what should be loaded, or loaded again, unasked."""
    attempts = []
    named = _named(register, model)
    wanted = {*shelf.selected(), *named}
    wanted |= {one.version for one in register.of(model).values() if _was_asked_for(one)}
    for version in (one for one in shelf.versions if one in wanted):
        known, seen = register.know(model, version), shelf.versions[version]
        if version in named and not _was_asked_for(known):
            seen = replace(seen, is_chosen=True)  # by the document: it goes when none does
        if is_due(known.state, known.on_disk, seen):
            known.on_disk = seen
            attempts.append(Attempt(known, seen.found))
    return attempts


def asked(model: str, version: str | None, shelf: Shelf) -> tuple[str, ...]:
    """Return the versions that a request to load means: one, whatever its policy says, or
    what their policy selects of what is there.

    Raises: UnknownModel, UnknownVersion, CannotPrepare.
    """
    if not shelf.versions and not shelf.faults:
        raise UnknownModel(
            f"failed to load '{model}', failed to poll from model repository: "
            f"there is no model '{model}'"
        )
    if version is None:
        if refused := shelf.refused():
            raise CannotPrepare(f"failed to load '{model}': {sentence(refused.items())}")
        if not shelf.selected():
            why = sentence((one, shelf.faults[one]) for one in sorted(shelf.absent))
            text = f"failed to load '{model}', no version is available"
            raise CannotPrepare(f"{text}: {why}" if why else text)
        return shelf.selected()
    if version not in shelf.versions:
        reason = shelf.faults.get(version, shelf.faults.get(""))
        if reason is not None:
            raise CannotPrepare(f"failed to load '{model}': version {version}: {reason}")
        raise UnknownVersion(f"Request for unknown model: '{model}' version {version} is not found")
    return (version,)


def check_name(model: str) -> None:
    """Return if a model may be called so. Raises: Malformed."""
    if not model:
        raise Malformed("Model name cannot be empty")
    if not is_model_name(model):
        raise Malformed(
            "model name must not contain path traversal characters: expected 1 to 256 "
            f"characters without / \\ and control characters, and not 'stats', got {model!a}"
        )


def has_files(known: Known) -> bool:
    """Say whether the model of what is served is still on disk. Blocks."""
    return known.proof is not None and known.proof.found.onnx.is_file()
