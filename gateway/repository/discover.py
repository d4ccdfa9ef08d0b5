"""Discover: which versions of which models lie below a folder.

Job    read `<root>/<model>/<version>/model.onnx` and the `model.toml` beside it.
Life   one pass over the folders, at start.
Never  opens a model; never stops at the first fault.

Whatever is no version is left alone: files, hidden names, folders without a
`model.onnx`. What is one and cannot be served as it stands is a fault.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.versions import canonical_version, is_model_name, is_version, version_key
from gateway.repository.settings import ModelSettings

Parse = Callable[[Mapping[str, object]], ModelSettings]
Fault = tuple[str, str]  # (path, what is wrong)


class RepositoryError(ValueError):
    """All the faults of a repository at once, each with its path."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{path}: {what}" for path, what in self.faults))


@dataclass(frozen=True, slots=True)
class Found:
    """One version on disk; `version` is canonical, whatever its folder is called."""

    model: str
    version: str
    folder: Path
    onnx: Path
    settings: ModelSettings


def discover(root: Path, parse: Parse) -> tuple[Found, ...]:
    """Find every version below `root`: models by name, versions ascending.

    Raises: RepositoryError with every fault; a root without a single model is one.
    """
    search = _Search(parse)
    if not root.is_dir():
        search.fault(root, "is not a folder" if root.exists() else "no such folder")
    else:
        for folder in search.folders(root):
            search.read_model(folder)
        if not search.found and not search.faults:
            search.fault(root, "holds no model: expected <model>/<version>/model.onnx")
    if search.faults:
        raise RepositoryError(search.faults)
    return tuple(sorted(search.found, key=lambda one: (one.model, version_key(one.version))))


@dataclass(slots=True)
class _Search:
    """What one pass has seen so far."""

    parse: Parse
    found: list[Found] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, path: Path, what: str) -> None:
        # A name may hold line breaks, or bytes that are no text.
        place = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))
        self.faults.append((place, what))

    def folders(self, folder: Path) -> list[Path]:
        """Return the folders in `folder` that are not hidden, by name."""
        try:
            entries = sorted(folder.iterdir())
            return [e for e in entries if not e.name.startswith(".") and e.is_dir()]
        except OSError as error:
            self.fault(folder, f"cannot be read: {error.strerror}")
            return []

    def read_model(self, folder: Path) -> None:
        seen: dict[str, Path] = {}  # by canonical version
        for place in self.folders(folder):
            if not self._is_file(place / "model.onnx"):
                continue
            version = canonical_version(place.name)
            if not is_version(place.name):
                self.fault(place, "a version is 1 to 64 of the characters A-Z a-z 0-9 . _ -")
            elif version in seen:
                self.fault(place, f"is the same version as {seen[version].name}")
            else:
                seen[version] = place
                self._read_version(folder.name, version, place)
        if seen and not is_model_name(folder.name):
            expected = "1 to 256 characters without \\ or control characters, and not 'stats'"
            self.fault(folder, f"a model's name is {expected}")

    def _read_version(self, model: str, version: str, folder: Path) -> None:
        settings = self._settings(folder / "model.toml")
        if settings is not None:
            self.found.append(Found(model, version, folder, folder / "model.onnx", settings))

    def _settings(self, file: Path) -> ModelSettings | None:
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ModelSettings()
        except OSError as error:
            self.fault(file, f"cannot be read: {error.strerror}")
            return None
        except UnicodeDecodeError:
            self.fault(file, "is not UTF-8")
            return None
        try:
            return self.parse(tomllib.loads(text))
        except (ValueError, RecursionError) as error:
            for line in str(error).splitlines() or [repr(error)]:
                self.fault(file, line)
            return None

    def _is_file(self, path: Path) -> bool:
        try:
            return path.is_file()
        except OSError as error:
            self.fault(path, f"cannot be read: {error.strerror}")
            return False
