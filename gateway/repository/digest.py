"""Digest: the name of what a version is, whatever it is called.

Job    one SHA-256 over the files of a version's folder.
Life   computed when the version is loaded.
Never  over times, owners, modes or the folder's own place: the same files have the
       same digest on every machine.

Each file adds the length of its name, its name and the SHA-256 of its contents, in
the order of the names' bytes. With lengths and fixed-size digests, no two different
sets of files can add the same bytes. Hidden files belong to editors and file
browsers, not to the version.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def digest(folder: Path) -> str:
    """Return the SHA-256, in hex, over the names and contents of the files below `folder`.

    Raises: OSError when a file or folder cannot be read.
    """
    total = hashlib.sha256()
    for name, file in sorted((_name(folder, file), file) for file in _files(folder)):
        with file.open("rb") as stream:
            contents = hashlib.file_digest(stream, "sha256").digest()
        total.update(len(name).to_bytes(8, "big") + name + contents)
    return total.hexdigest()


def _name(folder: Path, file: Path) -> bytes:
    return os.fsencode(file.relative_to(folder).as_posix())


def _files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        # A linked folder could lead back here; a linked file is read as what it is.
        if entry.is_dir() and not entry.is_symlink():
            yield from _files(entry)
        elif entry.is_file():
            yield entry
