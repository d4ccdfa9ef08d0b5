"""Containment: what a process of ours does to itself before it opens a model.

Job    end with its parent, leave no core, yield, be among the first that the kernel's killer
       takes, want no more memory than it may have.
Life   called by a child's main, before anything of a model is read.
Never  touches another process.

Memory is bounded by RLIMIT_DATA: what the process may write to, whether it does or
not. RLIMIT_AS would count the libraries' address space and the holes in malloc's
arenas too; the memory in use would be counted only once it is there, by the kernel's
killer.
"""

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_NICENESS = 10
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """End this process when `parent` does, or now, if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def limit_memory(more_bytes: int) -> None:
    """Let this process have `more_bytes` beyond what it may write to now."""
    with Path("/proc/self/statm").open("rb") as file:
        own_bytes = int(file.read().split()[5]) * resource.getpagesize()
    ceiling = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = own_bytes + more_bytes
    if ceiling != resource.RLIM_INFINITY:
        limit = min(limit, ceiling)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, ceiling))


def be_modest(oom_score: int) -> None:
    """Yield to who serves, leave no core, and go before others when memory ends.

    Units: `oom_score` is added to the kernel's own, of 1000.
    """
    with suppress(OSError):
        niceness = max(os.getpriority(os.PRIO_PROCESS, 0), _NICENESS)
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    with suppress(OSError), Path("/proc/self/oom_score_adj").open("w") as file:
        file.write(str(oom_score))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)  # a core that is piped somewhere knows no limit


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
