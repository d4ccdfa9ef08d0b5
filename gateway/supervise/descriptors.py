"""Descriptors: as many open files as this process, and those it starts, may have.

Many shells set 1,024 and allow far more; a replica holds a descriptor for each of up to
`limits.max_connections` connections, and needs one to accept for another.
"""

import resource


def permit_descriptors() -> int:
    """Raise the soft limit of open files to the hard one, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
