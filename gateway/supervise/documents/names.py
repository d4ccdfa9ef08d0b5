"""Names: what a model's folder and its revisions are called on disk.

Job    give any name of a model one component of a path, and no two of them the same.
Life   pure functions.
Never  lets a name lead out of the folder, nor be hidden in it.

Percent-encoding leaves letters, digits and `_.-~`. A dot in front is encoded as well: `.`
and `..` are no names of files. What is too long keeps its beginning, to be recognised by;
the rest is a hash behind `=`, which no encoded name has.
"""

import hashlib
import re
from urllib.parse import quote

MOST_NAME_BYTES = 255  # of one component, on every file system that we know
_HASH_CHARS = 32
_REVISION = re.compile(r"([0-9]{10,})\.json")


def folder_name(model: str) -> str:
    """Return the name of the folder that holds a model's documents."""
    quoted = quote(model, safe="")
    if quoted.startswith("."):
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) <= MOST_NAME_BYTES:
        return quoted
    tail = f"={hashlib.sha256(model.encode()).hexdigest()[:_HASH_CHARS]}"
    return quoted[: MOST_NAME_BYTES - len(tail)] + tail


def file_name(revision: int) -> str:
    """Return the name of a revision's file; a list of them is in order."""
    return f"{revision:010}.json"


def revision_of(file: str) -> int | None:
    """Return whose file it is; None where it is no revision's."""
    found = _REVISION.fullmatch(file)
    return None if found is None else int(found[1])
