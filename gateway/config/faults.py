"""Faults: what is wrong with a configuration, said so that it can be put right.

Job    turn the validator's errors into (path, what was expected, what came).
Life   only when something is wrong.
Never  shows a secret; never stops at the first fault.
"""

import difflib
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import TypeGuard, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gateway.config.kinds import Table

Fault = tuple[str, str]  # (path, what is wrong)
_MAX_SHOWN_CHARS = 60


class ConfigError(ValueError):
    """All the faults at once, so that one run of the operator fixes one file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{path}: {what}" for path, what in self.faults))


def keys(table: type[Table], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield (dotted path, field) of every key that holds a value, not a table."""
    for name, field in table.model_fields.items():
        inner = _inner(field)
        if inner is None:
            yield prefix + name, field
        else:
            yield from keys(inner, f"{prefix}{name}.")


def faults_of(error: ValidationError, table: type[Table]) -> list[Fault]:
    """Return the faults of `table` that `error` found, one for each path."""
    faults: dict[str, str] = {}
    for item in error.errors(include_url=False):
        path, fields = _walk(item["loc"], table)
        what = _what(item, table, fields)
        # The alternatives of a union fail one by one, and are one fault.
        both = path in faults and faults[path] != what
        faults[path] = f"{faults[path]}; or {what}" if both else what
    return list(faults.items())


def unknown(noun: str, name: str, known: Sequence[str]) -> str:
    """Say that `name` is no such `noun`, and which of the `known` is the nearest.

    Nearest is the same name in another table; then, in its own table, a name spelled
    nearly so; then, for a name without a table, any of the `known` spelled nearly so.
    """
    table, _, last = name.rpartition(".")
    siblings = {path.rpartition(".")[2]: path for path in known if path.rpartition(".")[0] == table}
    near = (
        [path for path in known if path.rpartition(".")[2] == last]
        or [siblings[one] for one in difflib.get_close_matches(last, siblings, n=1)]
        or (difflib.get_close_matches(name, known, n=1) if not table else [])
    )
    return f"unknown {noun}" + (f"; did you mean {near[0]}?" if near else "")


def _inner(field: FieldInfo) -> type[Table] | None:
    """Return the table that a key is, or may be."""
    kind: object = field.annotation
    if _is_table(kind):
        return kind
    return next(filter(_is_table, get_args(kind)), None) if isinstance(kind, UnionType) else None


def _element(field: FieldInfo) -> type[Table] | None:
    """Return the table that each element of a list is."""
    return next(filter(_is_table, get_args(field.annotation)), None)


def _is_table(kind: object) -> TypeGuard[type[Table]]:
    return isinstance(kind, type) and issubclass(kind, Table)


def _walk(where: tuple[int | str, ...], table: type[Table]) -> tuple[str, list[FieldInfo]]:
    """Return the path, without the names of a union's alternatives, and the fields on it."""
    path, fields = "$", list[FieldInfo]()
    inside: type[Table] | None = table
    for part in where:
        if inside is not None:
            path += f".{part}"
            if part not in inside.model_fields:
                break
            fields.append(inside.model_fields[str(part)])
            inside = _inner(fields[-1])
        elif isinstance(part, int):
            path += f"[{part}]"
            inside = _element(fields[-1])
        elif fields[-1].annotation is not None and _is_mapping(fields[-1]):
            path += f".{part}"
    return path, fields


def _is_mapping(field: FieldInfo) -> bool:
    return getattr(field.annotation, "__origin__", None) is dict


def _what(item: ErrorDetails, table: type[Table], fields: list[FieldInfo]) -> str:
    if item["type"] == "extra_forbidden":
        known = [path for path, _ in keys(table)]
        tables = sorted({path.rpartition(".")[0] for path in known} - {""})
        return unknown("key", ".".join(map(str, item["loc"])), known + tables)
    if item["type"] == "model_type":
        return "must be a table"
    what = item["msg"].removeprefix("Value error, ")
    what = what.replace("Input should", "must", 1).replace("String should", "must", 1)
    what = what.replace("a valid tuple", "a list").replace("a valid dictionary", "a table")
    is_own = item["type"] == "value_error" and isinstance(item["input"], dict)
    if is_own or any(not field.repr for field in fields):
        return what  # a rule over a table has said it all; and secrets stay secret
    shown = repr(item["input"])
    return f"{what}, got {shown[:_MAX_SHOWN_CHARS] + '…' * (len(shown) > _MAX_SHOWN_CHARS)}"
