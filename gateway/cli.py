"""Cli: the commands, their flags and their exit codes.

Job    turn flags into a configuration and run what was asked for.
Life   one command per process; what a command needs is imported when it runs.
Never  shows a traceback: 0 done, 1 refused or failed with its lines, 2 wrong usage.
"""

import errno
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import __version__

if TYPE_CHECKING:
    from gateway.config import Config

_DEFAULT_FILE = Path("gateway.toml")
# An address that cannot be listened on; the error itself does not always name it.
_BIND = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}

# Without markup typer does not import rich, which a serving process has no use for.
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the program on the command line that it was started with."""
    app(prog_name="gateway")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gateway {__version__}")
        raise typer.Exit


@app.callback()
def gateway(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say it and exit."),
    ] = False,
) -> None:
    """Serve ONNX models over HTTP, batched dynamically."""


def _replicas(text: str) -> str | int:
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        what = f"must be 'auto' or a whole number, got {text!r}"
        raise typer.BadParameter(what, param_hint="'--replicas'") from None


@app.command()
def serve(  # noqa: PLR0913 - one argument for each flag
    *,
    config: Annotated[
        Path | None, typer.Option(help="Configuration file; gateway.toml if there is one.")
    ] = None,
    models: Annotated[Path | None, typer.Option(help="Folder of models.")] = None,
    host: Annotated[str | None, typer.Option(help="Address of the data port.")] = None,
    port: Annotated[int | None, typer.Option(help="Data port; 0 takes any free one.")] = None,
    admin_host: Annotated[str | None, typer.Option(help="Address of the management port.")] = None,
    admin_port: Annotated[
        int | None, typer.Option(help="Management port; nothing listens there yet.")
    ] = None,
    replicas: Annotated[
        str | None, typer.Option(help="How many processes serve: auto or 1, more is not built yet.")
    ] = None,
    with_sidecar: Annotated[
        bool, typer.Option("--with-sidecar", help="Run the sidecar too; not built yet.")
    ] = False,
) -> None:
    """Serve the models until told to stop.

    A flag wins over the environment (GATEWAY_SECTION__KEY), which wins over the file.
    """
    flags = {
        "models": models,
        "host": host,
        "port": port,
        "admin_host": admin_host,
        "admin_port": admin_port,
        "replicas": None if replicas is None else _replicas(replicas),
        "with_sidecar": with_sidecar or None,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    lines = attempt(lambda: _serve(config, given))
    for line in lines:
        typer.echo(f"gateway: {line}", err=True)
    if lines:
        raise typer.Exit(1)
    _leave_stuck_threads()


def _leave_stuck_threads() -> None:
    """End the process at once if a thread is still inside a model.

    Such a thread, coming back while Python takes itself down, would abort the process.
    """
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _serve(file: Path | None, flags: Mapping[str, object]) -> None:
    from gateway.config import load  # noqa: PLC0415 - `--help` needs no pydantic

    if file is None and _DEFAULT_FILE.exists():
        file = _DEFAULT_FILE
    config = load(file, os.environ, flags)
    from gateway.app import serve as run  # noqa: PLC0415 - nor does a fault need the rooms

    try:
        run(config)
    except OSError as error:
        raise OSError(explain(error, config)) from error


def attempt(act: Callable[[], None]) -> Sequence[str]:
    """Return what went wrong with `act`, as lines for its user; none if nothing did.

    Python's development mode (`python -X dev`) lets an unforeseen error through, with
    its traceback.
    """
    try:
        act()
    except KeyboardInterrupt:
        return ()  # the ordinary way to stop by hand
    except Exception as error:  # no traceback reaches a user
        is_ours = type(error).__module__.startswith("gateway.")
        if is_ours or isinstance(error, OSError):  # it says what it means, a fault a line
            return str(error).splitlines() or (type(error).__name__,)
        if sys.flags.dev_mode:
            raise
        return (" ".join(f"{type(error).__name__}: {error}".split()),)
    return ()


def explain(error: OSError, config: "Config") -> str:
    """Say which file was at fault, or which address could not be listened on."""
    what = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {what}"
    # TLS names no file. A certificate or key that can be read has other faults.
    secrets = [file for file in (config.tls.certfile, config.tls.keyfile) if file is not None]
    unread = [file for file in secrets if not os.access(file, os.R_OK)]
    if unread or isinstance(error, ssl.SSLError):
        return f"{', '.join(map(str, unread or secrets))}: {what}"
    if isinstance(error, socket.gaierror) or error.errno in _BIND:
        return f"cannot listen on {config.host}:{config.port}: {what}"
    return what
