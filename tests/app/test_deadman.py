"""Deadman: a process that nobody renews is killed, whatever it does meanwhile."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

WATCHDOG_S = 30.0
ARMED = """
import time
from gateway.app.deadman import Deadman
deadman = Deadman()
deadman.renew({within_s})
print("up", flush=True)
"""
FOREVER = "time.sleep(600)"


@contextmanager
def child(code: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that has armed its timer and goes on."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_process_that_is_not_renewed_is_killed() -> None:
    with child(ARMED.format(within_s=0.05) + FOREVER) as process:
        assert process.wait(WATCHDOG_S) == -signal.SIGKILL


@pytest.mark.slow
def test_a_process_that_was_stopped_is_killed_too() -> None:
    with child(ARMED.format(within_s=0.5) + FOREVER) as process:
        process.send_signal(signal.SIGSTOP)
        assert process.wait(WATCHDOG_S) == -signal.SIGKILL


@pytest.mark.slow
def test_a_process_that_never_gives_up_the_interpreter_is_killed_too() -> None:
    with child(ARMED.format(within_s=0.1) + "sum(range(10**13))") as process:
        assert process.wait(WATCHDOG_S) == -signal.SIGKILL


@pytest.mark.slow
def test_a_renewal_puts_the_end_off() -> None:
    lives_on = "deadman.renew(600)\ntime.sleep(0.6)\nprint('alive', flush=True)\n"
    with child(ARMED.format(within_s=0.5) + lives_on + FOREVER) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "alive\n"
        assert process.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("within_s", [0.0, -1.0])
def test_no_time_at_all_is_an_end_too(within_s: float) -> None:
    """For the kernel a zero would disarm the timer."""
    with child(ARMED.format(within_s=600) + f"deadman.renew({within_s})\n" + FOREVER) as process:
        assert process.wait(WATCHDOG_S) == -signal.SIGKILL
