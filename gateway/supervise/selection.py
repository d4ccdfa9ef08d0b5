"""Selection: what lies in the repository, and which of it should be served.

Job    one look at the files, and the choice that policies make of what was found.
Life   a survey is frozen; it is made in a thread, whenever somebody asks.
Never  opens a model.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from gateway.core.lifecycle import Cause, State, Unavailable, is_ready, reason_of
from gateway.core.versions import is_model_name, is_version, version_key
from gateway.repository.declared import chosen
from gateway.repository.digest import signature_of_files
from gateway.repository.discover import Discovery, Parse, discover
from gateway.repository.proof import Found
from gateway.repository.reasons import reason
from gateway.repository.settings import VersionPolicy


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
    """A version as it was seen; equal stamps mean that its files did not change since.

    `is_chosen`: it was what its policy then chose to be served.
    """

    found: Found
    stamp: str
    is_chosen: bool = True


@dataclass(frozen=True, slots=True)
class Shelf:
    """One model as it was seen.

    `versions` are all that could be served, ascending, whatever their policy says. `faults`
    are reasons by version, for those that cannot be; under "" stands what concerns the
    model as a whole. Of those, `absent` are only named by a policy, and not there.
    """

    versions: Mapping[str, OnDisk] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()

    def selected(self) -> tuple[str, ...]:
        """Return the versions that their own policy chooses of all that are there, ascending."""
        choices = self._choices()
        return tuple(
            version
            for version, seen in self.versions.items()
            if version in choices[seen.found.settings.version_policy]
        )

    def refused(self) -> Mapping[str, str]:
        """Return the reasons of what is there, and chosen, and cannot be served.

        What concerns the whole model is part of it; so is all of it that has no version.
        """
        wanted = frozenset[str]().union(*self._choices().values()) - self.absent
        return {
            version: why
            for version, why in self.faults.items()
            if not version or not self.versions or version in wanted
        }

    def _choices(self) -> Mapping[VersionPolicy, frozenset[str]]:
        """Return what each policy chooses; one that is faulty is chosen like any other."""
        faulty = {version for version in self.faults if is_version(version)} - self.absent
        policies = {seen.found.settings.version_policy for seen in self.versions.values()}
        return {policy: chosen(policy, {*self.versions, *faulty}) for policy in policies}


EMPTY = Shelf()


def survey(root: Path, parse: Parse) -> Mapping[str, Shelf]:
    """Return every model below `root`, by name.

    Raises: RepositoryError where the root itself cannot be read.
    """
    return shelves(discover(root, parse))


def survey_model(root: Path, model: str, parse: Parse) -> Shelf:
    """Return one model below `root`. Raises: RepositoryError."""
    return shelves(discover(root, parse, model)).get(model, EMPTY)


def shelves(discovery: Discovery) -> Mapping[str, Shelf]:
    """Return what was discovered, model by model, with stamps."""
    making: dict[str, _Making] = defaultdict(_Making)
    for fault in discovery.faults:
        if is_model_name(fault.model):  # else nobody can ask for it
            making[fault.model].faults[fault.version or ""].append(str(fault))
            if fault.kind == "absent":
                making[fault.model].absent.add(fault.version or "")
    wanted = {(found.model, found.version) for found in discovery.found}
    every = (*discovery.found, *discovery.unchosen)
    for found in sorted(every, key=lambda one: version_key(one.version)):
        is_chosen = (found.model, found.version) in wanted
        try:
            seen = OnDisk(found, signature_of_files(found.folder), is_chosen)
        except OSError as error:  # it went while we looked, or may not be read
            what = f"{found.folder}: cannot be read: {error.strerror}"
            making[found.model].faults[found.version].append(what)
        else:
            making[found.model].versions[found.version] = seen
    return {model: one.shelf() for model, one in sorted(making.items())}


@dataclass(slots=True)
class _Making:
    """What is known of one model so far."""

    versions: dict[str, OnDisk] = field(default_factory=dict)
    faults: defaultdict[str, list[str]] = field(default_factory=partial(defaultdict, list))
    absent: set[str] = field(default_factory=set)

    def shelf(self) -> Shelf:
        faults = {version: reason(all_of_it) for version, all_of_it in self.faults.items()}
        return Shelf(self.versions, faults, frozenset(self.absent))


def is_due(state: State, before: OnDisk | None, now: OnDisk) -> bool:
    """Say whether a version that should be served is to be loaded, or loaded again, unasked.

    What failed is tried again, a replacement too: its reason may have been somewhere else.
    What an operator took out stays out; what was quarantined does until its files change.
    """
    if isinstance(state, Unavailable):
        if state.cause is Cause.QUARANTINED:
            return before != now
        return state.cause is not Cause.UNLOADED
    return is_ready(state) and (before != now or bool(reason_of(state)))


def sentence(reasons: Iterable[tuple[str, str]]) -> str:
    """Return the reasons of several versions as one text."""
    return reason([f"version {version}: {why}" if version else why for version, why in reasons])
