"""Models: what is served, seen and changed by hand.

Job    the commands over the management port's endpoints for models.
Never  decides: what it says is what the gateway answered.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.columns import columns
from gateway.cli.endings import run
from gateway.cli.options import CaFile, Gateway, Json, Options, TokenFile, url_of

if TYPE_CHECKING:
    from gateway.cli.caller import Caller

_HEAD = ("MODEL", "VERSION", "DEFAULT", "STATE", "EXECUTOR", "ROWS", "DIGEST", "REASON")

Model = Annotated[str, typer.Argument(help="Its name.")]
Version = Annotated[str | None, typer.Argument(help="One version.")]
Reason = Annotated[str | None, typer.Option(help="Why; the gateway's log keeps it.")]

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)


@app.callback()
def models(
    context: typer.Context,
    *,
    gateway: Gateway = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List models, load them and unload them in a running gateway."""
    context.obj = Options(gateway, token_file, ca_file, as_json)
    if context.invoked_subcommand is None:
        _list(context.obj)


@app.command("list")
def list_models(
    context: typer.Context,
    *,
    gateway: Gateway = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Show every known version and its state."""
    _list(Options(gateway, token_file, ca_file, as_json).over(context.obj))


@app.command()
def load(  # noqa: PLR0913 - one argument for each flag
    context: typer.Context,
    model: Model,
    version: Version = None,
    *,
    reason: Reason = None,
    gateway: Gateway = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Serve a version as it is on disk now, or what the model's version policy chooses.

    Done when every replica serves it; if any cannot, nothing has changed.
    """
    options = Options(gateway, token_file, ca_file, as_json).over(context.obj)
    _change(options, "load", model, version, reason)


@app.command()
def unload(  # noqa: PLR0913 - one argument for each flag
    context: typer.Context,
    model: Model,
    version: Version = None,
    *,
    reason: Reason = None,
    gateway: Gateway = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Stop serving a version, or all of a model's; what was accepted is still answered."""
    options = Options(gateway, token_file, ca_file, as_json).over(context.obj)
    _change(options, "unload", model, version, reason)


def _list(options: Options) -> None:
    def listed(caller: "Caller") -> tuple[Any, Sequence[Mapping[str, Any]]]:
        answer = caller.get("models")
        return answer, answer["models"]

    run(lambda: _show(options, listed))


def _change(
    options: Options, what: str, model: str, version: str | None, reason: str | None
) -> None:
    place = ("models", model) if version is None else ("models", model, "versions", version)
    body = {} if reason is None else {"reason": reason}

    def changed(caller: "Caller") -> tuple[Any, Sequence[Mapping[str, Any]]]:
        answer = caller.post(*place, what, body=body)
        return answer, [answer]

    run(lambda: _show(options, changed))


def _show(
    options: Options, ask: Callable[["Caller"], tuple[Any, Sequence[Mapping[str, Any]]]]
) -> None:
    """Ask, and print the answer: all of it as JSON, or its models as a table."""
    from gateway.cli.caller import Declined  # noqa: PLC0415 - not for `--help`

    try:
        answer, found = ask(options.caller())
        lines = [json.dumps(answer, indent=2)] if options.as_json else columns(_HEAD, _rows(found))
    except (KeyError, TypeError):
        raise Declined(f"{url_of(options)} answered, and not as a gateway does") from None
    for line in lines:
        typer.echo(line)


def _rows(found: Sequence[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (
            model["name"],
            one["version"],
            "yes" if one["is_default"] else "",
            one["state"],
            one["executor"],
            one["max_batch_size"],
            (one["digest"] or "")[:12],
            one["reason"],
        )
        for model in found
        for one in model["versions"]
    ]
