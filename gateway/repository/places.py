"""Places: paths as they are shown to people, and names that stay where they belong.

Job    judge a name before it becomes a path; write a path on one line.
Life   pure functions, but for the links that a folder holds.
Never  opens a file.
"""

from pathlib import Path, PurePosixPath


def shown(path: object) -> str:
    """Return a path as text that can be printed: a name may hold breaks, or be no text."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))


def inside(folder: Path, name: str) -> Path | None:
    """Return the file called `name` in `folder`, links followed; None if it lies elsewhere.

    Raises: OSError where the links cannot be followed.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        return None
    file = folder / path
    try:
        real, root = file.resolve(), folder.resolve()
    except RuntimeError:  # a loop of links, before Python 3.13
        return None
    return file if real.is_relative_to(root) else None
