"""Manifest: the checksums that travel with a version, and whether they hold.

Job    hash a version once; compare with its `manifest.sha256`, if it has one; name it.
Life   when a version is proved, and again wherever it is loaded.
Never  stops at the first fault; never trusts a name that leads out of the folder.

The format is that of `sha256sum`, so that it makes and checks the same file. Every
file of the version must be listed: one that was slipped in is as bad as one that was
changed. The manifest cannot hold its own checksum: a line that tries is left alone,
because `sha256sum * > manifest.sha256` writes one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from gateway.repository.digest import MANIFEST, NOTHING_READ, combined, hash_of, hashes
from gateway.repository.proof import Found
from gateway.repository.reading import read
from gateway.repository.reasons import brief

_MOST_BYTES = 16 << 20
_LINE = re.compile(r"(\\?)([0-9A-Fa-f]{64}) [ *](.+)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PLAIN = {"\\": "\\", "n": "\n", "r": "\r"}


class Unverified(ValueError):
    """The files are not what the manifest says; `faults` are (file, what)."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{path}: {what}" for path, what in self.faults))


def identify(found: Found, read: Mapping[Path, bytes] = NOTHING_READ) -> str:
    """Return the digest of a version whose files are what its manifest says.

    `read` are the SHA-256 of files that were read already, by their real paths.

    Raises: Unverified with every fault; OSError when a file cannot be read.
    """
    seen = hashes(found.folder, read)
    verify(found.folder, seen)
    return combined(seen, found.settings)


def verify(folder: Path, seen: Mapping[str, bytes]) -> None:
    """Compare `seen`, the SHA-256 of each file, with the manifest, where there is one.

    Raises: Unverified, OSError.
    """
    file = folder / MANIFEST
    try:
        content = read(file, _MOST_BYTES)
    except FileNotFoundError:
        return
    if content is None:
        raise Unverified([(str(file), f"is larger than {_MOST_BYTES} bytes")])
    faults = list(_faults(folder, file, content, seen))
    if faults:
        raise Unverified(faults)


def _faults(
    folder: Path, file: Path, content: bytes, seen: Mapping[str, bytes]
) -> Iterator[tuple[str, str]]:
    listed: set[str] = set()
    for number, line in enumerate(_lines(content), start=1):
        entry = _entry(line)
        if entry is None:
            shown = brief(ascii(line))
            yield str(file), f"line {number}: expected '<SHA-256 in hex>  <name>', got {shown}"
            continue
        expected, name = entry
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            what = f"{brief(ascii(name))} leads out of the version's folder"
            yield str(file), f"line {number}: {what}"
            continue
        listed.add(str(path))
        if str(path) != MANIFEST:
            yield from _compare(folder / path, expected, seen.get(str(path)))
    for name in sorted(seen.keys() - listed):
        yield str(folder / name), f"is not listed in {MANIFEST}"


def _lines(content: bytes) -> list[str]:
    # As names are kept: bytes that are no UTF-8 must compare with what the folder says.
    text = content.decode(errors="surrogateescape")
    return [line for line in text.split("\n") if line]


def _entry(line: str) -> tuple[bytes, str] | None:
    """Return (digest, name); a backslash before the line announces escapes in its name."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    name = match[3]
    if match[1]:
        name = _ESCAPED.sub(lambda escape: _PLAIN.get(escape[1], escape[0]), name)
    return bytes.fromhex(match[2]), name


def _compare(file: Path, expected: bytes, got: bytes | None) -> Iterator[tuple[str, str]]:
    if got is None:  # hidden, or not there at all
        if not file.is_file():
            yield str(file), f"is listed in {MANIFEST} and is not there"
            return
        got = hash_of(file)
    if got != expected:
        yield (
            str(file),
            f"expected SHA-256 {expected.hex()} from {MANIFEST}, got {got.hex()}",
        )
