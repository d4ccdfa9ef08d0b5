"""Allocator: what replicas' memory allocator is told, by their environment.

Job    the one place of glibc's tunables; whoever sets GLIBC_TUNABLES himself is obeyed.
Never  changes this process's own.

A model is freed while its thread holds the interpreter, so a free must give nothing back:
that takes 3 to 10 ms for 400 MB, and app/returning.py does it later, without the interpreter.

    hugetlb=1         asks for huge pages: 2 MiB are fetched, and given back, as one
    arena_max=1       the loader's thread allocates where those are asked for: only there
    mmap_threshold    as high as it can be: what is mapped by itself is unmapped by its free
    trim_threshold    frees do not trim, unless 4 GiB are free at the end
"""

ALLOCATOR = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"
    ":glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=4294967296"
}
