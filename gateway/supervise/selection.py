"""Selection: what lies in the repository, and which of it should be served.

Job    one look at the files, and the choice that policies make of what was found.
Life   a survey is frozen; it is made in a thread, whenever somebody asks.
Never  opens a model.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gateway.core.lifecycle import Cause, State, Unavailable, is_ready
from gateway.core.versions import is_model_name
from gateway.repository.declared import chosen
from gateway.repository.digest import signature_of_files
from gateway.repository.discover import Discovery, Fault, Parse, discover
from gateway.repository.proof import Found


@dataclass(frozen=True, slots=True)
class Policy:
    """Who chooses what is loaded.

    `none`: everything that is found is. `explicit`: what somebody asks for, and the
    models of `startup` to begin with.
    """

    control: Literal["none", "explicit"] = "none"
    startup: tuple[str, ...] = ()

    def wants(self, model: str) -> bool:
        """Say whether a model is loaded at the start, unasked."""
        return self.control == "none" or model in self.startup


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A version as it was seen; equal stamps mean that its files did not change since."""

    found: Found
    stamp: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """One model as it was seen.

    `faults` are reasons by version, for those that are there and cannot be served; under
    "" stands what concerns the model as a whole.
    """

    versions: Mapping[str, OnDisk] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    def selected(self) -> tuple[str, ...]:
        """Return the versions that their own policy chooses of all that are there, ascending."""
        return tuple(
            version
            for version, seen in self.versions.items()
            if version in chosen(seen.found.settings.version_policy, self.versions)
        )


EMPTY = Shelf()


def survey(root: Path, parse: Parse) -> Mapping[str, Shelf]:
    """Return every model below `root`, by name.

    Raises: RepositoryError where the root itself cannot be read.
    """
    return shelves(discover(root, parse))


def survey_model(root: Path, model: str, parse: Parse) -> Shelf:
    """Return one model below `root`. Raises: RepositoryError."""
    seen = discover(root, parse)
    found = tuple(one for one in seen.found if one.model == model)
    faults = tuple(one for one in seen.faults if one.model == model)
    return shelves(Discovery(found, faults)).get(model, EMPTY)


def shelves(discovery: Discovery) -> Mapping[str, Shelf]:
    """Return what was discovered, model by model, with stamps."""
    versions: dict[str, dict[str, OnDisk]] = {}
    faults: dict[str, dict[str, str]] = {}
    for fault in discovery.faults:
        _add_fault(faults, fault.model, fault.version, fault)
    for found in discovery.found:
        try:
            seen = OnDisk(found, signature_of_files(found.folder))
        except OSError as error:  # it went while we looked, or may not be read
            what = f"cannot be read: {error.strerror}"
            _add_fault(faults, found.model, found.version, f"{found.folder}: {what}")
        else:
            versions.setdefault(found.model, {})[found.version] = seen
    models = sorted({*versions, *faults})
    return {one: Shelf(versions.get(one, {}), faults.get(one, {})) for one in models}


def _add_fault(
    faults: dict[str, dict[str, str]], model: str, version: str | None, what: Fault | str
) -> None:
    """File a fault under the version that it concerns, if its model can be asked for."""
    if not is_model_name(model):
        return
    reasons = faults.setdefault(model, {})
    key = "" if version is None else version
    reasons[key] = f"{reasons[key]}; {what}" if key in reasons else str(what)


def is_due(state: State, before: OnDisk | None, now: OnDisk) -> bool:
    """Say whether a version that should be served is to be loaded, or loaded again, unasked.

    What failed is tried again: its reason may have been somewhere else. What an operator
    took out stays out; what was quarantined does until its files change.
    """
    if isinstance(state, Unavailable):
        if state.cause is Cause.QUARANTINED:
            return before != now
        return state.cause is not Cause.UNLOADED
    return is_ready(state) and before != now


def sentence(reasons: Iterable[tuple[str, str]]) -> str:
    """Return the reasons of several versions as one text."""
    return "; ".join(f"version {version}: {why}" if version else why for version, why in reasons)
