"""Comparing: what others say is newest, against what we know.

Job    say whose documents to fetch, and which of ours to give back.
Life   pure functions.
Never  lets a lower revision win, nor anything that is no revision.

A store that others share may lie: it was wiped, it came back from an old copy, somebody
wrote there who should not. The highest revision of a model that anybody has seen is the
newest: whoever knows a higher one gives it back, and whatever is said below it is no news.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.documents import Document

_MOST_DIGITS = 15  # of a revision; a double holds it exactly, and so Redis' Lua does


@dataclass(frozen=True, slots=True)
class Difference:
    """What to do. `fetch` are the revisions that they have, `faults` why some say nothing."""

    fetch: tuple[tuple[str, int], ...]
    give_back: tuple[Document, ...]
    faults: tuple[str, ...]


def compare(ours: Mapping[str, Document], theirs: Mapping[bytes, bytes]) -> Difference:
    """Compare our documents with their table of revisions by model."""
    said: dict[str, int] = {}
    faults: list[str] = []
    for name, text in theirs.items():
        try:
            model = name.decode()
        except UnicodeDecodeError:
            faults.append(f"a model's name is no text: {name[:64]!r}")
            continue
        revision = revision_in(text)
        if revision is None:
            faults.append(f"the revision of {model!r} is no number: {text[:64]!r}")
        else:
            said[model] = revision
    fetch = [
        (model, revision)
        for model, revision in said.items()
        if model not in ours or revision > ours[model].revision
    ]
    lower = [one for model, one in ours.items() if said.get(model, 0) < one.revision]
    return Difference(tuple(fetch), tuple(lower), tuple(faults))


def revision_in(text: bytes) -> int | None:
    """Return the revision that a text says; None where it says none."""
    is_number = text.isdigit() and len(text) <= _MOST_DIGITS and not text.startswith(b"0")
    return int(text) if is_number else None
