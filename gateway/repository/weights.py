"""Weights: external data as they were hashed, where nobody else can change them.

Job    read each file of external data once, into memory that is ours, and hash what was
       read; where that cannot serve, make a copy that nobody else can open.
Life   a block around the opening of a session. The copy goes when the block is left; the
       memory is the session's from then on.
Never  has ONNX Runtime map a file that somebody else can write: an overwrite would change
       answers under the same digest, and what is cut off would end the process (SIGBUS).

Theory of operation. ONNX Runtime maps external data. Given files in memory, it uses them
where they are instead, without a copy; but of such files it only makes initializers of the
graph itself. The tensors of subgraphs, functions, attributes and sparse initializers it
takes from the disk all the same, in silence (seen with 1.31). A version that has any of
them is copied, its model file too, into a folder of our own; as soon as the session is
open the folder is gone, and what was mapped of it has no name any more.

Cost: each process has external data once for itself, where all of them shared the pages of
one file: 512 MB of memory more for a file of 512 MB, read in 0.5 to 1.2 s. What ONNX
Runtime packs for its kernels (the matrix of a product) is there a second time, as before;
but the pages of a file could be dropped, and these cannot. A copy takes as much of the
disk. Huge pages, where the kernel has them, are given back in 1 ms instead of 40, for
which the event loop would wait. No step holds the interpreter: it reads and hashes 1 MiB
at a time, without it.
"""

import hashlib
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EIO
from io import FileIO
from pathlib import Path

from gateway.execute.session import LoadFailed
from gateway.repository.private import private_folder
from gateway.repository.proof import External, Found
from gateway.repository.reading import opened

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Weights:
    """What to open: `onnx`, with `files` by location.

    `hashes` are the SHA-256 of what was read, by the real paths that it was read from.
    """

    onnx: Path
    files: Mapping[str, memoryview]
    hashes: Mapping[Path, bytes]


@contextmanager
def weights_of(found: Found, external: External) -> Iterator[Weights]:
    """Have a version's external data where only we can change them.

    Raises: OSError; what the block raises, in terms of the version's own files.
    """
    if not external.is_nested:
        yield _in_memory(found, external)
        return
    with private_folder() as folder:
        copy = _copied(found, external, folder)
        try:
            yield copy
        except LoadFailed as error:
            where, own = str(copy.onnx.parent), str(found.onnx.parent)
            raise LoadFailed(str(error).replace(where, own)) from error.__cause__


def _in_memory(found: Found, external: External) -> Weights:
    files: dict[str, memoryview] = {}
    held: dict[Path, tuple[memoryview, bytes]] = {}
    for location in external.locations:
        real = (found.onnx.parent / location).resolve()
        if real not in held:
            held[real] = _held(real)
        files[location] = held[real][0]
    return Weights(found.onnx, files, {real: digest for real, (_, digest) in held.items()})


def _held(file: Path) -> tuple[memoryview, bytes]:
    """Return a file's contents in memory of our own, and their SHA-256. Raises: OSError."""
    total = hashlib.sha256()
    with opened(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
        view = memoryview(memory)
        at = 0
        while at < size and (count := stream.readinto(view[at : min(at + _CHUNK_BYTES, size)])):
            total.update(view[at : at + count])
            at += count
    if at < size:
        raise OSError(EIO, "became shorter while it was read", str(file))
    return view[:size].toreadonly(), total.digest()


def _copied(found: Found, external: External, folder: Path) -> Weights:
    onnx = folder / found.onnx.relative_to(found.folder)
    hashes: dict[Path, bytes] = {}
    copies: dict[Path, Path] = {}
    for location in (found.onnx.name, *external.locations):
        copy, real = onnx.parent / location, (found.onnx.parent / location).resolve()
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy = copy.resolve()
        if copies.get(copy) == real:
            continue
        copies[copy] = real
        with opened(real) as source, copy.open("xb", buffering=0) as target:
            digest = _copy(source, target)
        if hashes.setdefault(real, digest) != digest:  # a link, read for the second time
            raise OSError(EIO, "changed while it was read", str(real))
    return Weights(onnx, {}, hashes)


def _copy(source: FileIO, target: FileIO) -> bytes:
    total = hashlib.sha256()
    while content := source.read(_CHUNK_BYTES):
        total.update(content)
        left = memoryview(content)
        while left:
            left = left[target.write(left) :]
    return total.digest()
