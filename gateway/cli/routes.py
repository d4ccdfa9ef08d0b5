"""Routes: how a model's calls are shared, seen and changed by hand.

Job    the commands over the management port's endpoints for routing documents.
Never  overwrites what somebody else has changed: each change names the revision it was
       made of.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.columns import columns
from gateway.cli.editing import (
    Document,
    declined,
    heard,
    resplit,
    shadow_of,
    share,
    shares_of,
    table,
)
from gateway.cli.endings import run
from gateway.cli.options import CaFile, Gateway, Json, Options, TokenFile, url_of

if TYPE_CHECKING:
    from gateway.cli.caller import Caller

_HISTORY = ("REVISION", "AT", "WHO", "SPLIT", "WHY")

Model = Annotated[str, typer.Argument(help="Its name.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the revision and in the audit.")]
Edit = Callable[[Document], None]

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def routes() -> None:
    """Split a model's calls among versions, shadow them, and take that back."""


@app.command()
def show(
    model: Model,
    *,
    gateway: Gateway = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Show the routing document in force."""
    options = Options(gateway, token_file, ca_file, as_json)
    run(lambda: _print(options, lambda caller: caller.get("models", model, "routes")))


@app.command("set")
def set_document(  # noqa: PLR0913 - one argument for each flag
    model: Model,
    file: Annotated[str, typer.Argument(help="The document, as JSON; - reads standard input.")],
    *,
    reason: Annotated[str | None, typer.Option(help="Why; else the one in the document.")] = None,
    revision: Annotated[
        int | None, typer.Option(help="The revision it was made of; else the one in it.")
    ] = None,
    gateway: Gateway = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Put a whole document in force: what `show --json` printed, edited."""
    options = Options(gateway, token_file, ca_file, as_json)

    def put(caller: "Caller") -> Document:
        document = _read(file)
        if reason is not None:
            document["reason"] = reason
        made_of = document.get("revision") if revision is None else revision
        if made_of is None:
            raise declined(
                f"{file}: names no revision: give --revision, or begin with `show --json`"
            )
        return _put(caller, model, document, made_of)

    run(lambda: _print(options, put))


@app.command()
def split(
    model: Model,
    shares: Annotated[
        list[str],
        typer.Argument(
            help="name=weight, or name:version=weight for a new one; they add up to 100."
        ),
    ],
    *,
    reason: Reason,
    gateway: Gateway = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Share calls by weight: `split digits stable=95 canary:2=5 --reason "try 2"`.

    A variant that is not named keeps its place with weight 0.
    """
    options = Options(gateway, token_file, ca_file, as_json)
    wanted = [share(text) for text in shares]
    run(lambda: _edit(options, model, reason, lambda document: resplit(document, wanted)))


@app.command()
def shadow(
    model: Model,
    shadows: Annotated[
        list[str] | None,
        typer.Argument(help="name:version=ratio, from 0 to 1; with none all are taken away."),
    ] = None,
    *,
    reason: Annotated[
        str | None, typer.Option(help="Why; without one what shadows have said is shown.")
    ] = None,
    gateway: Gateway = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Ask versions as well, unheard: `shadow digits next:2=1 --reason "compare 2"`.

    Without shadows and reason: show what those in force have said so far.
    """
    options = Options(gateway, token_file, ca_file, as_json)
    wanted = [shadow_of(text) for text in shadows or ()]
    if reason is None:
        if wanted:
            raise typer.BadParameter("a change needs one", param_hint="'--reason'")
        run(lambda: _print(options, lambda caller: caller.get("models", model, "shadows"), heard))
        return

    why = reason

    def edit(document: Document) -> None:
        kept = {one["name"]: one for one in document["shadows"]}
        document["shadows"] = [{**kept.get(one["name"], {}), **one} for one in wanted]

    run(lambda: _edit(options, model, why, edit))


@app.command()
def rollback(
    model: Model,
    *,
    reason: Reason,
    to: Annotated[
        int | None, typer.Option("--to", help="Which revision; the one before by default.")
    ] = None,
    gateway: Gateway = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Put an old revision in force again."""
    options = Options(gateway, token_file, ca_file, as_json)
    body: dict[str, object] = {"reason": reason}
    if to is not None:
        body["revision"] = to
    run(
        lambda: _print(
            options, lambda caller: caller.post("models", model, "routes", "rollback", body=body)
        )
    )


@app.command()
def history(
    model: Model,
    *,
    gateway: Gateway = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List the revisions that are kept, newest first."""
    options = Options(gateway, token_file, ca_file, as_json)

    def shown(answer: Any) -> list[str]:
        rows = [
            (one["revision"], one["changed_at"], one["changed_by"], shares_of(one), one["reason"])
            for one in answer["revisions"]
        ]
        return columns(_HISTORY, rows)

    run(
        lambda: _print(
            options, lambda caller: caller.get("models", model, "routes", "revisions"), shown
        )
    )


def _print(
    options: Options,
    ask: Callable[["Caller"], Any],
    show_as: Callable[[Any], Sequence[str]] | None = None,
) -> None:
    """Ask, and print the answer: as JSON, or as a table."""
    from gateway.cli.caller import Declined  # noqa: PLC0415 - not for `--help`

    try:
        answer = ask(options.caller())
        lines = [json.dumps(answer, indent=2)] if options.as_json else (show_as or table)(answer)
    except (KeyError, TypeError):
        raise Declined(f"{url_of(options)} answered, and not as a gateway does") from None
    for line in lines:
        typer.echo(line)


def _edit(options: Options, model: str, reason: str, edit: Edit) -> None:
    """Change what is in force, and print what it became."""

    def changed(caller: "Caller") -> Document:
        document: Document = caller.get("models", model, "routes")
        revision = document["revision"]
        edit(document)
        return _put(caller, model, {**document, "reason": reason}, revision)

    _print(options, changed)


def _put(caller: "Caller", model: str, document: Document, revision: object) -> Document:
    changed: Document = caller.put(
        "models", model, "routes", body=document, if_match=f'"{revision}"'
    )
    return changed


def _read(file: str) -> Document:
    text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        document = json.loads(text)
    except ValueError as error:
        raise declined(f"{file}: is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise declined(f"{file}: expected a JSON object")
    return document
