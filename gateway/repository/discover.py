"""Discover: which versions of which models lie below a folder.

Job    read `<root>/<model>/<version>/model.onnx` and what is declared beside it: a
       `model.toml` in the version's folder, or a `config.pbtxt` in the model's.
Life   one pass over the folders, at start and whenever somebody asks again.
Never  opens a model; never lets one version's fault hide or harm another.

Whatever is no version is left alone: files, hidden names, folders without a
`model.onnx`. What is one and cannot be served as it stands is a fault.

A model with a `config.pbtxt` is laid out as Triton wants it: its versions are folders
of digits, its policy says which of them are served, the file may have another name,
and may lie in a folder of that name, beside its external data.
"""

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gateway.core.versions import canonical_version, is_model_name, is_version, version_key
from gateway.repository.declared import Declared, Undeclarable, chosen, declared
from gateway.repository.places import shown
from gateway.repository.proof import Found
from gateway.repository.settings import ModelSettings
from gateway.repository.triton import Unreadable, read_text

Parse = Callable[[Mapping[str, object]], ModelSettings]

_CONFIG = "config.pbtxt"
_TOML = "model.toml"
_ONNX = "model.onnx"
_MOST_TEXT_BYTES = 1 << 20


class Fault(NamedTuple):
    """What keeps a version, or without one its model, from being served."""

    model: str
    version: str | None
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(frozen=True, slots=True)
class Discovery:
    """What can be served, models by name and versions ascending; and what cannot, and why."""

    found: tuple[Found, ...] = ()
    faults: tuple[Fault, ...] = ()


class RepositoryError(ValueError):
    """The repository as a whole is not there; `faults` are (path, what is wrong)."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{path}: {what}" for path, what in self.faults))


def discover(root: Path, parse: Parse) -> Discovery:
    """Find every version below `root`, and every fault; `parse` reads a `model.toml`.

    Raises: RepositoryError where the root itself cannot be read.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "no such folder"
        raise RepositoryError([(shown(root), what)])
    try:
        folders = _folders(root)
    except OSError as error:
        raise RepositoryError([(shown(root), f"cannot be read: {error.strerror}")]) from error
    found: list[Found] = []
    faults: list[Fault] = []
    for folder in folders:
        search = _Search(folder, parse)
        search.read_model()
        found += search.found
        faults += search.faults
    found.sort(key=lambda one: (one.model, version_key(one.version)))
    return Discovery(tuple(found), tuple(faults))


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

    def fault(self, version: str | None, path: Path, what: str) -> None:
        self.faults.append(Fault(shown(self.folder.name), version, shown(path), what))

    def read_model(self) -> None:
        """Read the whole model: every version by itself, then what concerns them all."""
        config = self.folder / _CONFIG
        try:
            folders = _folders(self.folder)
            self.is_triton = config.is_file()
        except OSError as error:
            self.fault(None, self.folder, f"cannot be read: {error.strerror}")
            return
        if self.is_triton:
            self._read_triton(config, [one for one in folders if _is_number(one.name)])
        else:
            self._read_own(folders)
        if (self.found or self.faults) and not is_model_name(self.folder.name):
            expected = "1 to 256 characters without \\ or control characters, and not 'stats'"
            self.found, self.faults = [], []  # nothing that is called so can be asked for
            self.fault(None, self.folder, f"a model's name is {expected}")

    def _read_own(self, folders: Sequence[Path]) -> None:
        for version, place in self._versions(folders, _ONNX).items():
            settings = self._settings(version, place / _TOML)
            if settings is not None:
                self._add(version, place, place / _ONNX, settings)

    def _read_triton(self, config: Path, folders: Sequence[Path]) -> None:
        said = self._declared(config)
        if said is None:
            return
        filename = said.filename or _ONNX
        versions = self._versions(folders, filename)
        policy = said.settings.version_policy
        if not versions and not self.faults:
            self.fault(None, self.folder, f"holds no version: expected <number>/{filename}")
        for version in sorted(set(policy.versions) - versions.keys(), key=version_key):
            what = f"version_policy names version {version}, which is not there"
            self.fault(version, config, what)
        for version in sorted(chosen(policy, versions), key=version_key):
            place = versions[version]
            onnx, toml = place / filename, place / _TOML
            if toml.exists():
                what = f"one of the two must go: settings are in {shown(config)} too"
                self.fault(version, toml, what)
            else:
                onnx = onnx / filename if onnx.is_dir() else onnx
                self._add(version, place, onnx, said.settings)

    def _add(self, version: str, place: Path, onnx: Path, settings: ModelSettings) -> None:
        self.found.append(Found(self.folder.name, version, place, onnx, settings))

    def _versions(self, folders: Sequence[Path], filename: str) -> dict[str, Path]:
        """Return the folders that are versions, by canonical name."""
        seen: dict[str, Path] = {}
        twice: set[str] = set()
        for place in folders:
            if not self._has_file(place, filename):
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
            with file.open("rb") as stream:
                content = stream.read(_MOST_TEXT_BYTES + 1)
            if len(content) > _MOST_TEXT_BYTES:
                self.fault(version, file, f"is larger than {_MOST_TEXT_BYTES} bytes")
                return None
            return content.decode()
        except FileNotFoundError:
            raise
        except OSError as error:
            self.fault(version, file, f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.fault(version, file, "is not UTF-8")
        return None


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()
