"""Overriding: a load whose configuration or files come with the request.

Job    make what the request brought into versions like those of the repository.
Life   during one load; what it wrote lives as long as a version loaded from it.
Never  touches the repository's own files, nor what stands where our folder was.

The folder lies where the system keeps what is temporary, and somebody may tidy up there:
then it is made again. Its name is known by then, and in a shared place anybody's to take.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from gateway.errors import Malformed
from gateway.repository.discover import Parse, discover
from gateway.repository.overrides import OverrideError, files_in, materialise, with_overrides
from gateway.supervise.selection import EMPTY, OnDisk, Shelf, shelves


def overridden(
    model: str, shelf: Shelf, parameters: Mapping[str, object], parse: Parse, home: Path
) -> tuple[Shelf, Path | None]:
    """Return what is to be loaded, and the folder in `home` that holds its files, if any.

    Files replace the repository's versions altogether; a configuration replaces each
    version's own. Raises: Malformed with every fault; OSError.
    """
    private = None
    try:
        if files := files_in(parameters):
            _make_again(home)
            private = Path(tempfile.mkdtemp(dir=home))
            materialise(private / model, files)
            shelf = shelves(discover(private, parse)).get(model, EMPTY)
            _refuse_elsewhere(shelf)
        return _configured(shelf, parameters.get("config")), private
    except BaseException as error:
        if private is not None:
            remove(private)
        if isinstance(error, OverrideError):
            text = "; ".join(str(error).splitlines())
            raise Malformed(f"failed to load '{model}': {text}") from None
        raise


def _refuse_elsewhere(shelf: Shelf) -> None:
    """Refuse files that would have us ask servers of a caller's choice. Raises: OverrideError."""
    for version, seen in shelf.versions.items():
        if seen.found.settings.remote is not None:
            what = "a version that runs elsewhere is not taken from a request"
            raise OverrideError([(f"file:{version}/model.toml", what)])


def _configured(shelf: Shelf, config: object) -> Shelf:
    if config is None:
        return shelf
    if not isinstance(config, str):
        raise OverrideError([("config", f"expected a text, got {type(config).__name__}")])
    versions = {
        version: OnDisk(with_overrides(seen.found, config), seen.stamp)
        for version, seen in shelf.versions.items()
    }
    return replace(shelf, versions=versions)


def make_home() -> Path:
    """Return a new folder for such files, readable by us alone. Raises: OSError."""
    return Path(tempfile.mkdtemp(prefix="gateway-"))


def remove(folder: Path) -> None:
    """Take a private folder away; what cannot be removed is left to the operator."""
    shutil.rmtree(folder, ignore_errors=True)


def remove_others(home: Path, used: Collection[Path | None]) -> None:
    """Take away every folder in `home` that is not `used`, where it is still there and ours."""
    with suppress(FileNotFoundError):
        if not _is_ours(home):
            return
        for folder in home.iterdir():
            if folder not in used:
                remove(folder)


def _make_again(home: Path) -> None:
    """Make `home` if it is gone. Raises: OSError, also where it is not ours any more."""
    try:
        home.mkdir(mode=0o700)
    except FileExistsError:
        if not _is_ours(home):
            raise


def _is_ours(home: Path) -> bool:
    """Say whether it is a folder of this user, no link to one. Raises: FileNotFoundError."""
    seen = home.lstat()
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid()
