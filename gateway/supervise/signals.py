"""Signals: what a process died of, by its name.

Job    turn a signal's number into a word for an operator.
Never  fails: most of the real-time signals have a number and no name.
"""

import signal


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9, and `signal 40` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
