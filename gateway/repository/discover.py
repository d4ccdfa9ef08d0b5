"""Discover: which versions of which models lie below a folder.

Job    read `<root>/<model>/<version>/model.onnx` and what is declared beside it: a
       `model.toml` in the version's folder, or a `config.pbtxt` in the model's.
Life   one pass over the folders, at start and whenever somebody asks again.
Never  opens a model; never lets one version's fault hide or harm another.

Whatever is no version is left alone: files, hidden names, folders without a
`model.onnx`. What is one and cannot be served as it stands is a fault. A folder without a
`model.onnx` is one as well if its `model.toml` says that the version runs elsewhere.

A model with a `config.pbtxt` is laid out as Triton wants it: its versions are folders
of digits (without a leading zero), its policy says which of them are served, the file
may have another name, and may lie in a folder of that name, beside its external data.
A version that the policy does not choose is found all the same: somebody may ask for it.
"""

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from errno import ENAMETOOLONG
from pathlib import Path
from typing import Literal, NamedTuple

from gateway.core.versions import canonical_version, is_model_name, is_version, version_key
from gateway.repository.declared import Declared, Undeclarable, chosen, declared
from gateway.repository.places import shown
from gateway.repository.proof import Found
from gateway.repository.reading import read
from gateway.repository.reasons import brief, shortened
from gateway.repository.settings import ModelSettings
from gateway.repository.triton import Unreadable, read_text

Parse = Callable[[Mapping[str, object]], ModelSettings]
Kind = Literal["refused", "absent", "unchosen"]

_CONFIG = "config.pbtxt"
_TOML = "model.toml"
_ONNX = "model.onnx"
_MOST_TEXT_BYTES = 1 << 20
_MOST_TOLD_BYTES = 512  # of one fault


class Fault(NamedTuple):
    """What keeps a version, or without one its model, from being served.

    `kind` tells a version that a policy names and that is `absent`, and one that is
    faulty and that its policy does not choose anyway, from all others.
    """

    model: str
    version: str | None
    path: str
    what: str
    kind: Kind = "refused"

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(frozen=True, slots=True)
class Discovery:
    """What can be served, models by name and versions ascending; and what cannot, and why.

    `found` is what policies choose to be served, `unchosen` what could be served as well.
    """

    found: tuple[Found, ...] = ()
    faults: tuple[Fault, ...] = ()
    unchosen: tuple[Found, ...] = ()


class RepositoryError(ValueError):
    """The repository as a whole is not there; `faults` are (path, what is wrong)."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{path}: {what}" for path, what in self.faults))


def discover(root: Path, parse: Parse, model: str | None = None) -> Discovery:
    """Find every version below `root`, or of one `model` there, and every fault.

    `parse` reads a `model.toml`. Raises: RepositoryError where the root itself cannot be
    read.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "no such folder"
        raise RepositoryError([(shown(root), what)])
    try:
        folders = _folders(root) if model is None else _folder_of(root, model)
    except OSError as error:
        raise RepositoryError([(shown(root), f"cannot be read: {error.strerror}")]) from error
    found: list[Found] = []
    faults: list[Fault] = []
    unchosen: list[Found] = []
    for folder in folders:
        search = _Search(folder, parse)
        search.read_model()
        found += search.found
        faults += search.faults
        unchosen += search.unchosen
    return Discovery(_ascending(found), tuple(faults), _ascending(unchosen))


def _ascending(found: list[Found]) -> tuple[Found, ...]:
    return tuple(sorted(found, key=lambda one: (one.model, version_key(one.version))))


def _folder_of(root: Path, model: str) -> list[Path]:
    """Return the folder of one model, if it would be seen among all. Raises: OSError."""
    folder = root / model
    try:
        is_there = is_model_name(model) and not model.startswith(".") and folder.is_dir()
    except OSError as error:  # a link to where we may not look: whoever reads it hears why
        is_there = error.errno != ENAMETOOLONG
    return [folder] if is_there else []


def _folders(folder: Path) -> list[Path]:
    """Return the folders in `folder` that are not hidden, by name. Raises: OSError."""
    with os.scandir(folder) as entries:
        return [folder / name for name in sorted(e.name for e in entries if _may_be_folder(e))]


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return False
    try:
        return entry.is_dir()
    except OSError:  # a link to where we may not look: whoever reads it hears why
        return True


@dataclass(slots=True)
class _Search:
    """What one pass over a model's folder has seen so far."""

    folder: Path
    parse: Parse
    is_triton: bool = False
    found: list[Found] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unchosen: list[Found] = field(default_factory=list)

    def fault(self, version: str | None, path: Path, what: str, kind: Kind = "refused") -> None:
        what = shortened(what, _MOST_TOLD_BYTES)
        self.faults.append(Fault(shown(self.folder.name), version, shown(path), what, kind))

    def read_model(self) -> None:
        """Read the whole model: every version by itself, then what concerns them all."""
        config = self.folder / _CONFIG
        try:
            folders = _folders(self.folder)
            self.is_triton = _is_there(config)
        except OSError as error:
            self.fault(None, self.folder, f"cannot be read: {error.strerror}")
            return
        if self.is_triton:
            self._read_triton(config, [one for one in folders if _is_number(one.name)])
        else:
            self._read_own(folders)
        if (self.found or self.faults) and not is_model_name(self.folder.name):
            expected = "1 to 256 characters without \\ or control characters, and not 'stats'"
            # nothing that is called so can be asked for
            self.found, self.faults, self.unchosen = [], [], []
            self.fault(None, self.folder, f"a model's name is {expected}")

    def _read_own(self, folders: Sequence[Path]) -> None:
        for version, place in self._versions(folders, _ONNX, _TOML).items():
            settings = self._settings(version, place / _TOML)
            if settings is None:
                continue
            has_onnx = (place / _ONNX).is_file()
            if settings.remote is None:
                if has_onnx:
                    self.found.append(self._found(version, place, place / _ONNX, settings))
            elif has_onnx:
                what = f"one of the two must go: {_TOML} says that the version runs elsewhere"
                self.fault(version, place / _ONNX, what)
            else:
                self.found.append(self._found(version, place, place / _TOML, settings))

    def _read_triton(self, config: Path, folders: Sequence[Path]) -> None:
        said = self._declared(config)
        if said is None:
            return
        filename = said.filename or _ONNX
        versions = self._versions(folders, filename)
        policy = said.settings.version_policy
        if not versions and not self.faults:
            what = f"holds no version: expected <number>/{brief(filename)}"
            self.fault(None, self.folder, what)
        for version in sorted(set(policy.versions) - versions.keys(), key=version_key):
            what = f"version_policy names version {version}, which is not there"
            self.fault(version, config, what, "absent")
        # One that is faulty is chosen like any other: no older one takes its place unasked.
        faulty = {fault.version for fault in self.faults if fault.kind == "refused"}
        wanted = chosen(policy, {*versions, *(one for one in faulty if one and is_version(one))})
        for version in sorted(versions, key=version_key):
            place = versions[version]
            onnx, toml = place / filename, place / _TOML
            if toml.exists():
                what = f"one of the two must go: settings are in {shown(config)} too"
                self.fault(version, toml, what, "refused" if version in wanted else "unchosen")
            else:
                onnx = onnx / filename if onnx.is_dir() else onnx
                seen = self.found if version in wanted else self.unchosen
                seen.append(self._found(version, place, onnx, said.settings))

    def _found(self, version: str, place: Path, onnx: Path, settings: ModelSettings) -> Found:
        return Found(self.folder.name, version, place, onnx, settings)

    def _versions(self, folders: Sequence[Path], *filenames: str) -> dict[str, Path]:
        """Return the folders that are versions, by canonical name: they have one of the files."""
        seen: dict[str, Path] = {}
        twice: set[str] = set()
        for place in folders:
            if not any(self._has_file(place, filename) for filename in filenames):
                continue
            version = canonical_version(place.name)
            if not is_version(place.name):
                what = "a version is 1 to 64 of the characters A-Z a-z 0-9 . _ -"
                self.fault(shown(place.name), place, what)
            elif version in seen:
                # Which of the two is meant, nobody can say: neither is served.
                twice.add(version)
                self.fault(version, place, f"is the same version as {seen[version].name}")
            else:
                seen[version] = place
        return {version: place for version, place in seen.items() if version not in twice}

    def _has_file(self, place: Path, filename: str) -> bool:
        file = place / filename
        try:
            return file.is_file() or (self.is_triton and (file / filename).is_file())
        except OSError as error:
            version = canonical_version(shown(place.name))
            self.fault(version, file, f"cannot be read: {error.strerror}")
            return False

    def _declared(self, config: Path) -> Declared | None:
        try:
            text = self._text(None, config)
            if text is None:
                return None
            return declared(read_text(text), self.folder, "pbtxt", self.folder.name)
        except (Unreadable, FileNotFoundError) as error:
            self.fault(None, config, str(error))
        except Undeclarable as error:
            for path, what in error.faults:
                self.fault(None, config, f"{path}: {what}")
        return None

    def _settings(self, version: str, file: Path) -> ModelSettings | None:
        try:
            text = self._text(version, file)
            return None if text is None else self.parse(tomllib.loads(text))
        except FileNotFoundError:
            return ModelSettings()
        except (ValueError, RecursionError) as error:
            for line in str(error).splitlines() or [repr(error)]:
                self.fault(version, file, line)
            return None

    def _text(self, version: str | None, file: Path) -> str | None:
        """Return what `file` says, None after a fault. Raises: FileNotFoundError."""
        try:
            content = read(file, _MOST_TEXT_BYTES)
            if content is not None:
                return content.decode()
            self.fault(version, file, f"is larger than {_MOST_TEXT_BYTES} bytes")
        except FileNotFoundError:
            raise
        except OSError as error:
            self.fault(version, file, f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.fault(version, file, "is not UTF-8")
        return None


def _is_there(file: Path) -> bool:
    """Say whether anything has this name, a link that leads nowhere too. Raises: OSError."""
    try:
        file.lstat()
    except FileNotFoundError:
        return False
    return True


def _is_number(name: str) -> bool:
    """Say whether Triton takes a folder for a version: it passes over leading zeros."""
    return name.isascii() and name.isdigit() and (name[0] != "0" or name == "0")
