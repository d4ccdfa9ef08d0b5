"""Allocator: the environment of replicas, by which their memory allocator is told what to do.

Job    the one place of glibc's tunables; what GLIBC_TUNABLES says already is obeyed. Settings,
       some of which are secrets, are left out: a replica is told them over its channel.
Never  changes this process's own.

A model is freed while its thread holds the interpreter, so a free must give nothing back:
that takes 3 to 10 ms for 400 MB, and app/returning.py does it later, without the interpreter.

    hugetlb=1         asks for huge pages: 2 MiB are fetched, and given back, as one. Where
                      the system grants none, giving back holds the allocator's lock for long
                      (26 ms for 384 MB)
    arena_max=1       the loader's thread allocates where those are asked for: only there
    mmap_threshold    what is mapped by itself is unmapped by its free: below 1 GiB, nothing
    trim_threshold    frees do not trim, whatever is free at the end
"""

from collections.abc import Mapping

_NAME = "GLIBC_TUNABLES"
_TUNABLES = (
    "glibc.malloc.hugetlb=1",
    "glibc.malloc.arena_max=1",
    f"glibc.malloc.mmap_threshold={1 << 30}",
    f"glibc.malloc.trim_threshold={1 << 40}",
)


def with_tunables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a process that loads models; of two values the last counts."""
    theirs = [environ[_NAME]] if environ.get(_NAME) else []
    return {**environ, _NAME: ":".join([*_TUNABLES, *theirs])}


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that tells no settings."""
    return {name: text for name, text in environ.items() if not name.startswith("GATEWAY_")}
