"""Quarantine: which version kills whoever executes it?

Job    deaths of replicas -> versions that must not be executed again.
Life   a small frozen history; the supervisor holds one.
Never  accuses a version of a death that somebody outside brought about.

A death is evidence against every version that was executing or loading then: with one
suspect it is proof enough of nothing, for replicas die of other things too; a second
one under the same digest within the window condemns it. An innocent version is condemned
only if it was executing beside the culprit both times; it waits for its operator, who
loads it again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

_SIGKILL = 9
# SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, by their numbers on Linux:
# the core knows no operating system.
_CRASHES = frozenset({4, 5, 6, 7, 8, 11, 31})
_MOST_DEATHS = 256  # in memory; more within a window is no longer about versions


@dataclass(frozen=True, slots=True)
class Policy:
    """How many deaths, within how long, condemn a digest. Units: seconds."""

    deaths: int = 2
    window_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Death:
    """The end of a replica that was not told to end.

    `code` is the exit status; negative: the signal. `was_silent` says that we killed it
    because it hung; `was_stopped` that it was found stopped then; `is_oom` that the kernel
    killed somebody for memory meanwhile.
    """

    code: int
    was_silent: bool = False
    was_stopped: bool = False
    is_oom: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """Deaths within the window: when, and who was executing; the oldest first."""

    deaths: tuple[tuple[float, frozenset[str]], ...] = ()


def is_attributable(death: Death) -> bool:
    """Say whether what it was executing or loading may have brought it about."""
    if death.was_silent:
        return not death.was_stopped  # else an operator, or a debugger, held it
    if death.code == -_SIGKILL:
        return death.is_oom
    return death.code > 0 or -death.code in _CRASHES


def judge(
    history: History, suspects: Iterable[str], now: float, policy: Policy = Policy()
) -> tuple[History, tuple[str, ...]]:
    """Record one attributable death; return the history with it, and the digests to quarantine.

    What is condemned begins with a clean history: if it is loaded again it has as many
    deaths to go as any other.
    """
    recent = [(at, who) for at, who in history.deaths if now - at < policy.window_s]
    accused = frozenset(suspects)
    recent.append((now, accused))
    condemned = frozenset(
        digest for digest in accused if sum(digest in who for _, who in recent) >= policy.deaths
    )
    left = [(at, who - condemned) for at, who in recent]
    kept = [(at, who) for at, who in left if who][-_MOST_DEATHS:]
    return History(tuple(kept)), tuple(sorted(condemned))
