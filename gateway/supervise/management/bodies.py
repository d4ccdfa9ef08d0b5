"""Bodies: what a change on the management port may say.

Job    read a body, or name the first thing that is wrong with it, by its path.
Never  lenient: an unknown member may be a misspelt one.
"""

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from gateway.core.versions import is_control
from gateway.errors import Malformed

MAX_REASON_CHARS = 1000
_LINE_ENDS = "\t\n\r"


def _text(value: str) -> str:
    """Refuse what core/proposals.py would not read again: it must not be stored."""
    if any(is_control(one) and one not in _LINE_ENDS for one in value):
        raise ValueError("no control characters but tabs and line ends")
    return value


class Change(BaseModel):
    """The body of a load or an unload: `{}`, or with the reason for it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reason: Annotated[
        str | None, Field(max_length=MAX_REASON_CHARS, description="Why; kept in the log.")
    ] = None


class Reasoned(BaseModel):
    """The body of a change that must say why."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        json_schema_extra={"examples": [{"reason": "it is worse"}]},
    )

    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_REASON_CHARS,
            pattern=r"\S",
            description="Why; kept with the revision and in the audit.",
        ),
        AfterValidator(_text),
    ]


class Rollback(Reasoned):
    """The body of a rollback."""

    revision: Annotated[
        int | None, Field(ge=1, description="Which one; the one before if it is not said.")
    ] = None


Body = TypeVar("Body", bound=BaseModel)


def read_change(body: bytes) -> Change:
    """Return what a body says. Raises: Malformed."""
    return read_body(body, Change, '{} or {"reason": "..."}')


def read_body(body: bytes, kind: type[Body], expected: str) -> Body:
    """Return what a body says. Raises: Malformed, which names the first fault and `expected`."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = "$" + "".join(f".{part}" for part in first["loc"])
        what = f"{path[:80]}: {first['msg']}"
        raise Malformed(f"{what} (expected {expected})") from None


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas of all bodies, by name."""
    return {kind.__name__: kind.model_json_schema() for kind in (Change, Reasoned, Rollback)}
