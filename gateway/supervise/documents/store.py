"""Store: where routing documents are kept, whoever keeps them.

Job    say what every store promises: compare-and-set, durable on return, nothing goes back.
Life   `async with`; construction starts nothing.
Never  judges a document, nor knows what is made of it.
"""

from collections.abc import Mapping
from typing import Protocol, Self

from gateway.core.documents import Document
from gateway.errors import NotReady

MOST_REVISIONS = 100  # of one model


class Conflict(Exception):
    """Somebody else wrote first; `current` is the newest document, if there is any."""

    def __init__(self, model: str, current: Document | None) -> None:
        stored = "no document" if current is None else f"revision {current.revision}"
        super().__init__(f"the newest of {model!r} is {stored}")
        self.current = current


class Unreachable(NotReady):
    """The store cannot be asked. A write that it was asked for may be done or not."""


class Unreadable(NotReady):
    """What is stored cannot be read; the message says where it lies.

    There may be older revisions that can. To serve one of them is to go back without anybody
    having said so; whoever wants that takes the newest away by hand.
    """


class Store(Protocol):
    """Keeps the newest MOST_REVISIONS documents of each model; others write too, if `is_shared`."""

    @property
    def is_shared(self) -> bool: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def current(self) -> Mapping[str, Document]:
        """Return every model's newest document, of those that can be read.

        Raises: Unreachable. Cancel: safe.
        """
        ...

    async def revisions(self, model: str) -> tuple[Document, ...]:
        """Return what is kept of a model, newest first.

        Raises: Unreachable, Unreadable. Cancel: safe.
        """
        ...

    async def write(self, document: Document) -> None:
        """Make `document` its model's newest; on return it is durable.

        Its revision is one more than the newest's, 1 where there is none.

        Raises: Conflict, and nothing has changed; Unreadable where it cannot be said whether it
        is; Unreachable. Cancel: it may be done or not.
        """
        ...

    def trouble(self, model: str | None = None) -> str | None:
        """Say why what we know, of one model or at all, may be old or missing; None where not."""
        ...
