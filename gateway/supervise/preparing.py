"""Preparing: can every replica answer by a document?

Job    have each version that is to get calls loaded, or say which one is not.
Life   as long as the traffic.
Never  loads unasked what was quarantined.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from gateway.core.documents import Document
from gateway.core.lifecycle import Cause, Unavailable, is_quarantined, is_ready, reason_of
from gateway.errors import CannotPrepare
from gateway.supervise.register import Known


class Loading(Protocol):
    """Who knows versions, and has them loaded: the inventory."""

    def known(self, model: str) -> Mapping[str, Known]:
        """Return a model's versions."""

    async def load(self, model: str, version: str) -> None:
        """Have every replica load a version. Raises: a GatewayError."""


class Preparing:
    """What is prepared is held by every replica."""

    def introduce(self, inventory: Loading, lacking: Callable[[], Collection[str]]) -> None:
        """Say who knows versions, and which digests some replica lacks."""
        self._inventory = inventory
        self._lacking = lacking

    async def prepare(self, document: Document, current: Document | None) -> None:
        """Have every replica hold what is to get calls. Raises: a GatewayError.

        What gets none, and stood there before, need not be there: so a canary that broke can
        be turned off.
        """
        before = () if current is None else current.versions()
        wanted = needed(document)
        for version in document.versions():
            if version in wanted or version not in before:
                await self._ready(document.model, version)

    def fault(self, document: Document) -> str | None:
        """Say which version that gets calls is not ready; None where all are."""
        known = self._inventory.known(document.model)
        for version in needed(document):
            if version not in known:
                return f"version {version} is not there"
            if not is_ready(known[version].state):
                return f"version {version} is not ready: {reason_of(known[version].state)}"
        return None

    def was_asked(self, model: str) -> bool:
        """Say whether anybody wanted a version of a model: else it is no wonder that none is."""
        known = self._inventory.known(model).values()
        return any(one.state != Unavailable(Cause.UNASKED, reason_of(one.state)) for one in known)

    async def _ready(self, model: str, version: str) -> None:
        known = self._inventory.known(model).get(version)
        if known is not None and is_quarantined(known.state):
            raise CannotPrepare(
                f"version {version} of model '{model}' is quarantined: load it first, if you must"
            )
        proof = None if known is None or not is_ready(known.state) else known.proof
        if proof is None or proof.digest in self._lacking():
            await self._inventory.load(model, version)


def needed(document: Document) -> tuple[str, ...]:
    """Return the versions that get calls, each once."""
    asked = {rule.variant for rule in document.rules} | {document.fallback}
    found = [one.version for one in document.variants if one.weight_bp or one.name in asked]
    return tuple(dict.fromkeys([*found, *(one.version for one in document.shadows)]))
