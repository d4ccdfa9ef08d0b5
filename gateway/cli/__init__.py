"""Cli: the program on the command line.

Job    turn arguments into what was asked for, and what came of it into an exit code.
Life   one command per process; what a command needs is imported when it runs.
Never  shows a traceback: 0 done, 1 refused or failed with its lines, 2 wrong usage.
"""

from gateway.cli.program import main

__all__ = ["main"]
