"""Texts: a document as it is kept.

Job    write it, and read it again.
Life   pure functions; the reader is given.
Never  judges whether it is the one that was looked for: whoever looked knows.
"""

from collections.abc import Callable

import orjson

from gateway.core.documents import Document, stored

Read = Callable[[object], Document]  # raises ValueError


def text_of(document: Document) -> bytes:
    """Return the JSON of a document, in one line."""
    return orjson.dumps(stored(document))


def document_of(text: bytes, read: Read) -> Document:
    """Return the document that `text` is. Raises: ValueError."""
    return read(orjson.loads(text))
