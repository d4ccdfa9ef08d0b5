"""Stalls: has an execution in another process stopped going on?

Job    how long to wait before looking, and what a look at the process says.
Life   pure; small frozen values.
Never  takes a process for stalled that is only kept from the processor by others: it is given
       as long again.

    stopped (SIGSTOP, a debugger)        stalled
    has computed for as long as that     stalled: it loops
    has computed, a little               starved: look again
    has computed nothing, and could      starved: look again
    has computed nothing, and waits      stalled: for what, nobody knows

Source: proc_pid_stat(5): the state, utime and stime.
"""

from dataclasses import dataclass

from gateway.core.costs import Cost

_STOPPED = ("T", "t")
_RUNNABLE = "R"


@dataclass(frozen=True, slots=True)
class Policy:
    """When an execution is looked at, and when it is given up. Units: seconds; factors.

    `suspect_after_s` None: when it has taken longer than any should.
    """

    suspect_after_s: float | None = None
    floor_s: float = 1.0
    of_expected: float = 20.0  # of what the fitted cost says
    of_longest: float = 4.0  # of the longest execution that went well: inputs may be dear
    grace_s: float = 0.1  # that a process lives beyond the last deadline of its batch


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a process: its state, as a letter, and the seconds it has computed."""

    state: str
    cpu_s: float


def enough_s(cost: Cost, rows: int, longest_s: float, policy: Policy) -> float:
    """Return how long an execution of `rows` may take at the very most, if all goes well."""
    expected_s = policy.of_expected * cost.of(rows)
    return max(policy.floor_s, expected_s, policy.of_longest * longest_s)


def is_stalled(began: Look, before: Look, now: Look, enough_s: float) -> bool:
    """Say whether an execution is given up that has taken too long.

    It `began` with the first look; `before` is the one before this. Units: `enough_s` is the
    time that so many rows may compute, on all threads together.
    """
    if now.state in _STOPPED or now.cpu_s - began.cpu_s >= enough_s:
        return True
    return now.cpu_s <= before.cpu_s and now.state != _RUNNABLE


def read_look(stat: str, ticks_per_s: int) -> Look:
    """Read the text of a `/proc/PID/stat`. Raises: ValueError, IndexError."""
    fields = stat.rpartition(")")[2].split()
    return Look(fields[0], (int(fields[11]) + int(fields[12])) / ticks_per_s)
