"""Options: what every command takes that asks a running gateway.

Job    the flags that say where to ask, as whom, and how to print.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gateway.cli.caller import Caller

_GATEWAY = "http://127.0.0.1:8081"


def _url(text: str | None) -> str | None:
    if text is not None and not text.startswith(("http://", "https://")):
        raise typer.BadParameter("must begin with http:// or https://")
    return text


Gateway = Annotated[
    str | None, typer.Option(callback=_url, help=f"Its management port; {_GATEWAY} by default.")
]
TokenFile = Annotated[
    Path | None, typer.Option(help="File with your token; or set GATEWAY_ADMIN_TOKEN.")
]
CaFile = Annotated[
    Path | None, typer.Option(help="Certificates to trust; the system's by default.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@dataclass(frozen=True, slots=True)
class Options:
    """Where to ask, as whom, and how to print; each command takes them too."""

    gateway: str | None
    token_file: Path | None
    ca_file: Path | None
    as_json: bool

    def over(self, outer: "Options") -> "Options":
        """Return these, and those given before the command where these are not given."""
        return Options(
            self.gateway or outer.gateway,
            self.token_file or outer.token_file,
            self.ca_file or outer.ca_file,
            self.as_json or outer.as_json,
        )

    def caller(self) -> "Caller":
        """Return who asks. Raises: OSError, Declined, for a token that is none."""
        from gateway.cli.caller import Caller, token_of  # noqa: PLC0415 - not for `--help`

        return Caller(url_of(self), token_of(self.token_file), self.ca_file)


def url_of(options: Options) -> str:
    """Return where to ask."""
    return options.gateway or _GATEWAY
