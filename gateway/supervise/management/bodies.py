"""Bodies: what a change on the management port may say.

Job    read a body, or name the first thing that is wrong with it, by its path.
Never  lenient: an unknown member may be a misspelt one.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import Malformed

MAX_REASON_CHARS = 1000


class Change(BaseModel):
    """The body of a load or an unload: `{}`, or with the reason for it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reason: Annotated[
        str | None, Field(max_length=MAX_REASON_CHARS, description="Why; kept in the log.")
    ] = None


def read_change(body: bytes) -> Change:
    """Return what a body says. Raises: Malformed."""
    try:
        return Change.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = "$" + "".join(f".{part}" for part in first["loc"])
        what = f"{path[:80]}: {first['msg']}"
        raise Malformed(f'{what} (expected {{}} or {{"reason": "..."}})') from None


def schema() -> dict[str, object]:
    """Return the JSON Schema of `Change`."""
    return Change.model_json_schema()
