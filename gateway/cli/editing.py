"""Editing: routing documents, as they are typed and read by hand.

Job    read shares from a command line; change a document by them; show one as a table.
Life   pure functions over the JSON of a document.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isfinite
from typing import Any

import typer

from gateway.cli.columns import columns, printable

Document = dict[str, Any]
Share = tuple[str, str | None, float]  # a variant, its version if it is said, and its weight
_SHADOWS = ("SHADOW", "VERSION", "AGREED", "DISAGREED", "FAILED", "DROPPED", "ROWS APART")
_ARMS = ("KIND", "NAME", "VERSION", "SHARE")


def declined(text: str) -> Exception:
    """Return the refusal of something typed that only its effect shows to be wrong."""
    from gateway.cli.caller import Declined  # noqa: PLC0415 - not for `--help`

    return Declined(text)


def resplit(document: Document, wanted: Sequence[Share]) -> None:
    """Share a document's calls so; a variant that is not named keeps its place with weight 0.

    Raises: Declined, for a new variant without a version.
    """
    variants = {one["name"]: {**one, "weight": 0} for one in document["variants"]}
    for name, version, weight in wanted:
        variant = variants.setdefault(name, {"name": name})
        variant["weight"] = weight
        if version is not None:
            variant["version"] = version
        elif "version" not in variant:
            raise declined(f"there is no variant {name!r} yet: say {name}:VERSION={weight:g}")
    document["variants"] = list(variants.values())


def share(text: str) -> Share:
    """Return what name=weight or name:version=weight says. Raises: BadParameter."""
    named, equals, number = text.rpartition("=")
    name, colon, version = named.partition(":")
    with suppress(ValueError):
        if equals and name and (version or not colon) and isfinite(float(number)):
            return name, version or None, float(number)
    raise typer.BadParameter(f"expected name=number or name:version=number, got {text!r}")


def shadow_of(text: str) -> Document:
    """Return the shadow that name:version=ratio says. Raises: BadParameter."""
    name, version, number = share(text)
    if version is None:
        raise typer.BadParameter(f"expected name:version=ratio, got {text!r}")
    return {"name": name, "version": version, "sample_ratio": number}


def table(document: Mapping[str, Any]) -> list[str]:
    """Return a document as lines to be read. Raises: KeyError, TypeError, where it is none."""
    rows: list[tuple[object, ...]] = [
        ("variant", one["name"], one["version"], f"{one['weight']:g} %")
        for one in document["variants"]
    ]
    rows += [
        ("shadow", one["name"], one["version"], f"{one['sample_ratio'] * 100:g} %")
        for one in document["shadows"]
    ]
    sticky = document["sticky"]
    by = "each call" if sticky is None else sticky["by"]
    what = f"{document['model']} revision {document['revision']}"
    who = f"by {document['changed_by']} at {document['changed_at']}"
    how = f"shared by {by}, {len(document['rules'])} rules"
    fallback = document["fallback"] or "none"
    return [
        printable(f"{what}, {who}: {document['reason']}"),
        printable(f"{how}, fallback {fallback}"),
        *columns(_ARMS, rows),
    ]


def shares_of(document: Mapping[str, Any]) -> str:
    """Return a document's variants on one line."""
    return " ".join(
        f"{one['name']}:{one['version']}={one['weight']:g}" for one in document["variants"]
    )


def heard(answer: Mapping[str, Any]) -> list[str]:
    """Return what shadows have said as a table. Raises: KeyError, TypeError, where it is none."""
    rows = [
        (
            one["name"],
            one["version"],
            *(one["calls"][outcome] for outcome in ("agreed", "disagreed", "failed", "dropped")),
            " ".join(f"{output}:{rows}" for output, rows in one["disagreeing_rows"].items()),
        )
        for one in answer["shadows"]
    ]
    return columns(_SHADOWS, rows)
