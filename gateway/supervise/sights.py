"""Sights: the documents that are written unasked.

Job    pin what is seen for the first time; follow an operator who takes the pinned version
       out; give new versions their calls, where the configuration says so.
Life   `async with`, as long as the traffic: a task of its own tries again what the store did
       not take.
Never  holds up what is published for longer than the store takes; touches what a person wrote.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, Self

from gateway.core.documents import Document
from gateway.core.lifecycle import Cause, Unavailable, Unloading, is_ready
from gateway.core.pinning import AUTOMATIC, Stock, newest_of, pinned, promoted
from gateway.core.ranges import apportion
from gateway.errors import GatewayError, RevisionConflict
from gateway.supervise.commits import Adopting, Commits
from gateway.supervise.documents.store import Unreadable
from gateway.supervise.register import Known, Register

_log = logging.getLogger(__name__)
_AGAIN_S = 1.0  # after the store could not be asked


class Others(Protocol):
    """Who follows what others write."""

    def hear(self, model: str) -> None:
        """Hear that somebody else has seen a model first."""

    def is_awaited(self, model: str) -> bool:
        """Say whether nothing is to be written about a model for now."""
        ...


class Sights:
    """Mutable state: the models whose document was not, or not to be written (`_unwritten`),
    and why others have none (`_said`).
    """

    def __init__(
        self, commits: Commits, now: Callable[[], str], *, serves_new_versions: bool
    ) -> None:
        """`now` gives the time of day, as documents carry it."""
        self._commits = commits
        self._now = now
        self._serves_new_versions = serves_new_versions
        self._unwritten: set[str] = set()
        self._said: dict[str, str] = {}
        self._again = asyncio.Event()

    def introduce(self, adopting: Adopting, others: Others) -> None:
        """Say who publishes, and who follows what others write."""
        self._adopting = adopting
        self._others = others

    async def __aenter__(self) -> Self:
        self._retrying = asyncio.create_task(self._keep_trying())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._retrying.cancel()
        await asyncio.gather(self._retrying, return_exceptions=True)

    async def see(self, register: Register) -> None:
        """Write what is to be written for what is about to be published."""
        for model in sorted({*register.stale(), *self._unwritten}):
            if self._others.is_awaited(model):
                self._unwritten.add(model)
                continue
            self._unwritten.discard(model)
            try:
                await self._see(model, register)
            except RevisionConflict:  # we are told what the other one wrote
                self._others.hear(model)
            except Unreadable as error:  # to try again mends no file
                self._say(model, str(error))
                register.waive(model, str(error))
            except GatewayError as error:
                _log.error("the document of %r cannot be written: %s", model, error)
                register.waive(model, str(error))
                self._unwritten.add(model)
                self._again.set()

    def _say(self, model: str, why: str) -> None:
        """Log why a model has no document, once."""
        if self._said.get(model) != why:
            self._said[model] = why
            _log.error("%r has no routing document: %s", model, why)

    async def _see(self, model: str, register: Register) -> None:
        current = register.document(model)
        found = self._wanted(current, model, stock_of(register.of(model)))
        if found is None:
            return
        document = replace(
            found,
            revision=1 if current is None else current.revision + 1,
            changed_by=AUTOMATIC,
            changed_at=self._now(),
            pieces=apportion((), found.variants),
            newest=newest_of(found, current),
        )
        await self._commits.persist(document)
        register.adopt(document)  # it is about to be published
        before = None if current is None else current.revision
        await self._commits.record(document, "first_sight", before)

    def _wanted(self, current: Document | None, model: str, stock: Stock) -> Document | None:
        found = pinned(model, current, stock)
        if found is not None or current is None or not self._serves_new_versions:
            return found
        return promoted(current, stock.ready)

    async def _keep_trying(self) -> None:
        while True:
            await self._again.wait()
            self._again.clear()
            await asyncio.sleep(_AGAIN_S)
            await self._adopting.adopt()


def stock_of(known: Mapping[str, Known]) -> Stock:
    """Return a model's versions as they are pinned by."""
    ready = [version for version, one in known.items() if is_ready(one.state)]
    out = [version for version, one in known.items() if _is_out(one)]
    return Stock(ready, tuple(known), out)


def _is_out(known: Known) -> bool:
    state = known.state
    if isinstance(state, Unloading):
        return True
    return isinstance(state, Unavailable) and state.cause in (Cause.UNLOADED, Cause.UNASKED)
