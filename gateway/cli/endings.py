"""Endings: what went wrong with a command, as lines for its user."""

import sys
from collections.abc import Callable, Sequence

import typer


def attempt(act: Callable[[], None]) -> Sequence[str]:
    """Return what went wrong with `act`, as lines for its user; none if nothing did.

    Python's development mode (`python -X dev`) lets an unforeseen error through, with
    its traceback.
    """
    try:
        act()
    except KeyboardInterrupt:
        return ()  # the ordinary way to stop by hand
    except typer.Exit:
        raise
    except Exception as error:  # no traceback reaches a user
        if sys.flags.dev_mode and not _is_said(error):
            raise
        return _lines(error)
    return ()


def _is_said(error: Exception) -> bool:
    """Say whether an error was meant for the user: ours are, and the system's refusals."""
    return isinstance(error, OSError) or type(error).__module__.startswith("gateway.")


def _lines(error: Exception) -> Sequence[str]:
    """Return a line for each fault that an error names."""
    if isinstance(error, ExceptionGroup):  # of tasks, which may all have failed
        return [line for one in error.exceptions for line in _lines(one)]
    if isinstance(error, OSError):
        return explain(error).splitlines()
    if _is_said(error):
        return str(error).splitlines() or [type(error).__name__]
    return [" ".join(f"{type(error).__name__}: {error}".split())]


def run(act: Callable[[], None]) -> None:
    """Do `act`, or say on stderr what went wrong with it and end with 1."""
    lines = attempt(act)
    for line in lines:
        typer.echo(f"gateway: {line}", err=True)
    if lines:
        raise typer.Exit(1)


def explain(error: OSError) -> str:
    """Say what the system refused, and of which file if it was one."""
    what = error.strerror or str(error) or type(error).__name__
    return what if error.filename is None else f"{error.filename}: {what}"
