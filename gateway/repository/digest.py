"""Digest: the name of what a version is, whatever it is called.

Job    one SHA-256 over the files of a version's folder, and a stamp that is cheap.
Life   computed when the version is proved; the stamp whenever it may have changed.
Never  over times, owners, modes or the folder's own place: the same files have the
       same digest on every machine.

Each file adds the length of its name, its name and the SHA-256 of its contents, in
the order of the names' bytes. With lengths and fixed-size digests, no two different
sets of files can add the same bytes. Hidden files belong to editors and file
browsers, not to the version; nor does its manifest, which only repeats what the
files say of themselves.

Settings that come from outside the folder add one record more, under a name that no
file can have: the same graph with another batch size is another version.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from errno import ELOOP
from pathlib import Path

from gateway.repository.reading import opened
from gateway.repository.settings import ModelSettings, VersionPolicy

MANIFEST = "manifest.sha256"
NOTHING_READ: Mapping[Path, bytes] = {}
_SETTINGS = b"/settings"  # no relative name begins so
_MOST_DEPTH = 64  # folders in folders; whoever nests deeper means harm


def digest(folder: Path) -> str:
    """Return the SHA-256, in hex, over the names and contents of the files below `folder`.

    Raises: OSError when a file or folder cannot be read.
    """
    return combined(hashes(folder), ModelSettings())


def hashes(folder: Path, read: Mapping[Path, bytes] = NOTHING_READ) -> dict[str, bytes]:
    """Return the SHA-256 of every file of the version, by its relative name.

    `read` are those of files that were read already, by their real paths: of them it
    counts what was read, not what lies there now.

    Raises: OSError.
    """
    return {
        name: (read and read.get(file.resolve())) or hash_of(file)
        for name, file in names(folder).items()
    }


def hash_of(file: Path) -> bytes:
    """Return the SHA-256 of one file's contents. Raises: OSError."""
    with opened(file) as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def names(folder: Path) -> dict[str, Path]:
    """Return the files that make the version below `folder`, by relative name.

    Raises: OSError.
    """
    found = {file.relative_to(folder).as_posix(): file for file in _files(folder)}
    found.pop(MANIFEST, None)
    return found


def combined(hashes: Mapping[str, bytes], settings: ModelSettings) -> str:
    """Return the digest of a version whose files have these `hashes`."""
    records = {os.fsencode(name): contents for name, contents in hashes.items()}
    if settings.origin != "toml":
        records[_SETTINGS] = hashlib.sha256(_text(settings)).digest()
    total = hashlib.sha256()
    for name, contents in sorted(records.items()):
        total.update(len(name).to_bytes(8, "big") + name + contents)
    return total.hexdigest()


def signature_of_files(folder: Path) -> str:
    """Return a stamp that differs once a file below `folder` was put, changed or taken away.

    It reads no contents: equal stamps mean equal files unless somebody set times back.

    Raises: OSError.
    """
    total = hashlib.sha256()
    for name, file in sorted((*names(folder).items(), (MANIFEST, folder / MANIFEST))):
        try:
            seen = file.stat()
        except FileNotFoundError:  # no manifest; or a file that went while we looked
            continue
        stamp = (os.fsencode(name), seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)
        total.update(repr(stamp).encode())
    return total.hexdigest()


def _text(settings: ModelSettings) -> bytes:
    """Return the settings as text: equal for whatever would be served equally."""
    served = replace(settings, origin="toml", version_policy=VersionPolicy("all"), notes=())
    return json.dumps(asdict(served), sort_keys=True).encode()


def _files(folder: Path) -> Iterator[Path]:
    left = [(folder, 0)]
    while left:
        place, depth = left.pop()
        if depth > _MOST_DEPTH:
            what = f"holds folders more than {_MOST_DEPTH} deep"
            raise OSError(ELOOP, what, str(folder))
        for entry in place.iterdir():
            if entry.name.startswith("."):
                continue
            # A linked folder could lead back here; a linked file is read as what it is.
            if entry.is_dir() and not entry.is_symlink():
                left.append((entry, depth + 1))
            elif entry.is_file():
                yield entry
