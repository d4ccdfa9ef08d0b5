"""Desk: where the data port asks what it does not know itself.

A replica knows its own share of the counts, and what it serves; it never decides what is
loaded. Supervised, it asks its supervisor; alone, it asks itself.
"""

from typing import Literal, Protocol

About = Literal["statistics", "index", "load", "unload"]


class Desk(Protocol):
    """Every question is answered or refused, in bounded time."""

    async def ask(
        self, about: About, model: str | None, version: str | None, parameters: bytes
    ) -> bytes:
        """Return the answer, JSON; `parameters` is a JSON object that was checked.

            statistics   of all models, of one, or of one version; canonical
            index        {"ready": true}: only what is served
            load         {"parameters": {"config": text, "file:1/model.onnx": base64}}
            unload

        Raises: whatever the answer refuses with, by our names. Cancel: safe.
        """
