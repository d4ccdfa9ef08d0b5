"""Names: is this a model's, is this a version's, and which version is the newer?

Job    the rules for names, and the order of versions.
Life   pure functions.
Never  touches the file system: a name is judged before it may become a path.

A version of digits alone is an integer: `01` is `1`, and 10 is newer than 9. Other
versions are in natural order (runs of digits compare as integers), and all of them
are older than any integer, so that the greatest key is the version a model starts
with: its highest integer, or its highest in natural order when it has none.
"""

import re

_VERSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGITS = re.compile(r"[0-9]+")
_RUNS = re.compile(r"[0-9]+|[^0-9]+")
_MAX_NAME_CHARS = 256
_RESERVED = ("", ".", "..", "stats")

# (is it an integer?, its runs, its canonical text); a run of digits is (0, n, "").
VersionKey = tuple[bool, tuple[tuple[int, int, str], ...], str]


def is_model_name(text: str) -> bool:
    """Say whether a model may be called so.

    Source: the protocol's R8; `stats` is the name of a route.
    """
    if text in _RESERVED or len(text) > _MAX_NAME_CHARS:
        return False
    return not any(character in "/\\" or is_control(character) for character in text)


def is_version(text: str) -> bool:
    """Say whether a version may be called so.

    Source: the protocol's R12. `.` and `..` would be paths.
    """
    return _VERSION.fullmatch(text) is not None and text not in (".", "..")


def canonical_version(text: str) -> str:
    """Give equal versions equal texts: `01` becomes `1`."""
    return (text.lstrip("0") or "0") if _DIGITS.fullmatch(text) else text


def version_key(text: str) -> VersionKey:
    """Order versions, oldest first; equal keys mean the same version."""
    text = canonical_version(text)
    runs = tuple(
        (0, int(run), "") if _DIGITS.fullmatch(run) else (1, 0, run) for run in _RUNS.findall(text)
    )
    return _DIGITS.fullmatch(text) is not None, runs, text


def is_control(character: str) -> bool:
    """Say whether it is no text: C0, DEL and C1, and lone surrogates, which have no bytes."""
    code = ord(character)
    return code < 0x20 or 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xDFFF
