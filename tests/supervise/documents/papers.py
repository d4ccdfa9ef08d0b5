"""Documents to store, and their reader.

Job    make documents that differ by their reason; read what is stored of them.
Never  judges more than a reader must: what is no document raises ValueError.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from gateway.core.documents import Document, Piece, Shadow, Sticky, Variant
from tests.server import WATCHDOG_S


def a_document(model: str = "m", revision: int = 1, reason: str = "a trial") -> Document:
    """A document with something of everything that a store may lose."""
    return Document(
        model,
        revision,
        (Variant("stable", "1", 9_000), Variant("canary", "2", 1_000)),
        (Shadow("next", "3", 0.25),),
        sticky=Sticky("header", "x-user-id", "sält"),
        fallback="stable",
        reason=reason,
        changed_by="ann",
        changed_at=f"2026-01-02T03:04:{revision % 60:02}Z",
        pieces=(Piece(0, 9 << 28, "stable"), Piece(9 << 28, 1 << 32, "canary")),
    )


def read(raw: object) -> Document:
    """Return the document that `a_document` made. Raises: ValueError."""
    try:
        return _read(raw)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no document: {error!r}") from error


def _read(raw: Any) -> Document:
    where, _, name = raw["sticky"]["by"].partition(":")
    return Document(
        raw["model"],
        raw["revision"],
        tuple(
            Variant(one["name"], one["version"], round(100 * one["weight"]))
            for one in raw["variants"]
        ),
        tuple(Shadow(one["name"], one["version"], one["sample_ratio"]) for one in raw["shadows"]),
        sticky=Sticky(where, name, raw["sticky"]["salt"]),
        fallback=raw["fallback"],
        reason=raw["reason"],
        changed_by=raw["changed_by"],
        changed_at=raw["changed_at"],
        pieces=tuple(Piece(*one) for one in raw["pieces"]),
    )


def revisions_of(documents: Mapping[str, Document]) -> dict[str, int]:
    return {model: one.revision for model, one in documents.items()}


async def until(is_so: Callable[[], bool], what: Callable[[], object]) -> None:
    """Let the loop turn until it is so; else say `what` is."""
    try:
        async with asyncio.timeout(WATCHDOG_S):
            while not is_so():  # noqa: ASYNC110 - who makes it so knows of no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(what()) from None


def during(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Play a scene with real threads and sockets, by the watchdog."""

    async def watched() -> None:
        async with asyncio.timeout(2 * WATCHDOG_S):
            await scene()

    asyncio.run(watched())
