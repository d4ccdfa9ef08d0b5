"""Program: the commands and their flags."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import __version__
from gateway.cli import models as models_commands
from gateway.cli import routes as routes_commands
from gateway.cli.endings import run

if TYPE_CHECKING:
    from gateway.config import Config

# Without markup typer does not import rich, which a serving process has no use for.
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(models_commands.app, name="models")
app.add_typer(routes_commands.app, name="routes")

ConfigFile = Annotated[
    Path | None, typer.Option(help="Configuration file; gateway.toml if there is one.")
]
Models = Annotated[Path | None, typer.Option(help="Folder of models.")]


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
    config: ConfigFile = None,
    models: Models = None,
    host: Annotated[str | None, typer.Option(help="Address of the data port.")] = None,
    port: Annotated[int | None, typer.Option(help="Data port; 0 takes any free one.")] = None,
    admin_host: Annotated[
        str | None,
        typer.Option(help="Address of the management port; loopback, unless there are tokens."),
    ] = None,
    admin_port: Annotated[
        int | None, typer.Option(help="Management port; 0 takes any free one.")
    ] = None,
    replicas: Annotated[
        str | None, typer.Option(help="How many processes serve; auto: one for each CPU we get.")
    ] = None,
    with_sidecar: Annotated[
        bool, typer.Option("--with-sidecar", help="Run the sidecar too; not built yet.")
    ] = False,
) -> None:
    """Serve the models until told to stop.

    A flag wins over the environment (GATEWAY_SECTION__KEY), which wins over the file.
    SIGHUP reads all of it again, and the models, and replaces the processes one by one.
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
    run(lambda: _serve(config, given))


def _serve(file: Path | None, flags: Mapping[str, object]) -> None:
    from gateway.cli.settings import settings  # noqa: PLC0415 - `--help` needs no pydantic

    def read() -> "Config":
        return settings(file, flags)

    config = read()
    from gateway.supervise.supervisor import serve as supervise  # noqa: PLC0415 - nor do faults

    supervise(config, read)


@app.command()
def check(
    *,
    config: ConfigFile = None,
    models: Models = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the configuration's JSON Schema instead.")
    ] = False,
) -> None:
    """Check the configuration and every model; name all faults; serve nothing.

    Each version is opened and run in a process of its own, as before it is served.
    """
    from gateway.cli.check import check as look  # noqa: PLC0415 - `--help` needs none of it
    from gateway.cli.check import print_schema  # noqa: PLC0415 - the same

    flags: dict[str, object] = {} if models is None else {"models": models}
    run(print_schema if schema else lambda: look(config, flags))
