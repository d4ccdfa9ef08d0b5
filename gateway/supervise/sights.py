"""Sights: the documents that are written unasked.

Job    pin what is seen for the first time; follow an operator who takes the pinned version
       out; give new versions their calls, where the configuration says so.
Life   `async with`, as long as the traffic: a task of its own tries again what the store did
       not take.
Never  holds up what is published for longer than the store takes; touches what a person wrote.
"""

import asyncio
import logging
from collections import Counter
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
_MOST_LOOKS = 3  # at one model, before one publish


class Others(Protocol):
    """Who follows what others write."""

    def hear(self, model: str) -> None:
        """Hear that somebody else has seen a model first."""

    def is_awaited(self, model: str) -> bool:
        """Say whether nothing is to be written about a model for now."""
        ...


class Sights:
    """Mutable state: the models whose document was not, or not to be written (`_unwritten`); why
    the store cannot be asked for now (`_away`), how often that was so at which model
    (`_failures`), and what was logged of it (`_told`) and of models whose document is rotten
    (`_said`).
    """

    def __init__(
        self, commits: Commits, now: Callable[[], str], *, serves_new_versions: bool
    ) -> None:
        """`now` gives the time of day, as documents carry it."""
        self._commits = commits
        self._now = now
        self._serves_new_versions = serves_new_versions
        self._unwritten: set[str] = set()
        self._away: str | None = None
        self._failures: Counter[str] = Counter()
        self._told: str | None = None
        self._said: dict[str, str] = {}
        self._again = asyncio.Event()

    def introduce(self, adopting: Adopting, others: Others) -> None:
        """Say who publishes, and who follows what others write."""
        self._adopting = adopting
        self._others = others

    async def __aenter__(self) -> Self:
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._retrying = self._group.create_task(self._keep_trying())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._retrying.cancel()
        await self._group.__aexit__(None, None, None)

    async def see(self, register: Register) -> None:
        """Write what is to be written for what is about to be published.

        What changes while the store is waited for is seen as well. Once it cannot be asked it
        is asked for no other model, before it is time to try again.
        """
        looks: Counter[str] = Counter()
        left = {*register.unseen(), *self._unwritten}
        while left:
            # Whoever failed comes last: else nobody behind it would ever have its turn.
            model = min(left, key=lambda one: (self._failures[one], one))
            looks[model] += 1
            register.see(model)
            self._unwritten.discard(model)
            await self._look(model, register)
            left.discard(model)
            left |= {one for one in register.unseen() if looks[one] < _MOST_LOOKS}

    async def _look(self, model: str, register: Register) -> None:
        """Write a model's document, if it is to have one now."""
        if self._others.is_awaited(model):
            self._unwritten.add(model)
            return
        current = register.document(model)
        found = self._wanted(current, model, stock_of(register.of(model)))
        if found is None:
            return
        try:
            if self._away is None:
                await self._write(found, current, register)
        except RevisionConflict:  # we are told what the other one wrote
            self._others.hear(model)
        except Unreadable as error:  # to try again mends no file
            self._say(model, str(error))
            register.waive(model, str(error))
        except GatewayError as error:
            self._away = str(error)
            self._failures[model] += 1
            if self._told != self._away:
                self._told = self._away
                _log.error("documents cannot be written, %r's first: %s", model, error)
            self._again.set()
        except BaseException:
            self._unwritten.add(model)
            raise
        if self._away is not None:
            self._unwritten.add(model)
            register.waive(model, self._away)

    def _say(self, model: str, why: str) -> None:
        """Log why a model has no document, once."""
        if self._said.get(model) != why:
            self._said[model] = why
            _log.error("%r has no routing document: %s", model, why)

    async def _write(self, found: Document, current: Document | None, register: Register) -> None:
        document = replace(
            found,
            revision=1 if current is None else current.revision + 1,
            changed_by=AUTOMATIC,
            changed_at=self._now(),
            pieces=apportion((), found.variants),
            newest=newest_of(found, current),
        )
        await self._commits.persist(document)
        if self._failures.pop(document.model, 0):
            self._told = None
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
            self._away = None
            try:
                await self._adopting.adopt()
            except Exception as error:  # noqa: BLE001 - or nothing would be tried again
                _log.error("documents cannot be written", exc_info=error)
                self._again.set()


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
