"""Following: the documents that others write, and what they wrote while we were away.

Job    put in force what is newer; say why not where that cannot be, and try it again.
Life   `async with`, as long as the traffic: a task for each model that is followed.
Never  puts in force what nobody here could answer by; tries in a loop that its own failing
       load feeds.

What cannot be put in force leaves its model behind. It is tried again whenever a version of
that model became ready that was not, and besides at intervals that grow. While a model is
followed nothing is written unasked about it: what others have may be fine where they are.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol, Self

from gateway.core.documents import Document
from gateway.core.lifecycle import is_ready
from gateway.errors import GatewayError
from gateway.supervise.commits import Commits
from gateway.supervise.preparing import Loading, Preparing, needed
from gateway.supervise.register import Register

_log = logging.getLogger(__name__)
_FIRST_S = 5.0
_CEILING_S = 60.0


class Inventory(Loading, Protocol):
    """Who knows versions, and has documents put in force."""

    def document(self, model: str) -> Document | None:
        """Return by what a model's calls are shared."""

    async def adopt(self, *documents: Document, is_back: bool = False) -> None:
        """Share calls by these documents, by older ones than now where `is_back`."""


class Following:
    """Mutable state: what is kept and cannot be put in force here (`behind`), the revision and
    why, by model; who wakes the task that follows a model (`_heard`); what was ready when it
    was looked at last (`_ready`); what is stored and was not looked at yet (`_unsettled`); who
    was told to wait for us (`_held_off`).
    """

    def __init__(self, commits: Commits, preparing: Preparing) -> None:
        self._commits = commits
        self._preparing = preparing
        self.behind: dict[str, tuple[int, str]] = {}
        self._heard: dict[str, asyncio.Event] = {}
        self._ready: dict[str, frozenset[tuple[str, str]]] = {}
        self._unsettled: set[str] = set()
        self._held_off: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False

    def introduce(self, inventory: Inventory) -> None:
        """Say who knows versions, before anything is heard."""
        self._inventory = inventory

    async def __aenter__(self) -> Self:
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_closing = True
        for task in tuple(self._tasks):
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def expect(self, documents: Iterable[Document]) -> None:
        """Have these documents, which are stored, looked at once their versions were loaded."""
        self._unsettled.update(one.model for one in documents)

    async def settle(self) -> None:
        """Where a newest document cannot be answered by, go back to the newest that can.

        Where there is none the newest stays: its callers hear why, or are answered by its
        fallback.
        """
        for model in sorted(self._unsettled):
            document = self._inventory.document(model)
            if document is None or not self._preparing.was_asked(model):
                continue
            fault = self._preparing.fault(document)
            if fault is not None:
                await self._go_back(document, fault)
        self._unsettled.clear()
        await self._inventory.adopt()

    def hear(self, model: str) -> None:
        """Hear that somebody else has changed a model's document."""
        self._follow(model).set()

    def look(self, register: Register) -> None:
        """Look at what is ready of the models that are behind; what is new is worth a try."""
        for model in tuple(self.behind):
            ready = _ready(register, model)
            if ready - self._ready.get(model, ready):
                self.hear(model)
            self._ready[model] = ready
            current = register.document(model)
            if current is None:
                register.waive(model, self.trouble(model) or "")
            elif current.revision > self.behind[model][0]:
                self.forgive(model)

    def forgive(self, model: str) -> None:
        """Be behind no more: something newer is in force."""
        if self.behind.pop(model, None) is not None:
            self.hear(model)

    def is_awaited(self, model: str) -> bool:
        """Say whether others' words about a model stand out: nothing is written over them."""
        behind = self.behind.get(model)
        is_in_force = behind is not None and behind[0] <= self._current(model)
        found = model in self._unsettled
        if model in self._heard:
            found |= self._commits.store.is_shared or not is_in_force
        if found:
            self._held_off.add(model)
        return found

    def trouble(self, model: str) -> str | None:
        """Say why what is in force is not what is kept, or is no good here."""
        if model not in self.behind:
            return None
        revision, why = self.behind[model]
        if revision > self._current(model):
            return f"revision {revision} stays out: {why}"
        return f"revision {revision} is in force, and no good here: {why}"

    def _current(self, model: str) -> int:
        document = self._inventory.document(model)
        return 0 if document is None else document.revision

    async def _go_back(self, document: Document, fault: str) -> None:
        model = document.model
        found = await self._newest_good(document)
        self.behind[model] = document.revision, fault
        if found is not None:
            await self._inventory.adopt(found, is_back=True)
        then = "none that is kept can" if found is None else f"{found.revision} is in force"
        _log.error("%r: %s; %s", model, self.trouble(model), then)
        self._follow(model)

    async def _newest_good(self, document: Document) -> Document | None:
        """Return the newest older revision that can be prepared; it is then."""
        try:
            kept = await self._commits.store.revisions(document.model)
        except GatewayError as error:
            _log.error("older revisions of %r cannot be read: %s", document.model, error)
            return None
        refused: set[str] = set()
        for one in kept:
            if one.revision >= document.revision or refused.intersection(needed(one)):
                continue
            try:
                await self._preparing.prepare(one, one)
            except GatewayError:
                refused.update(self._missing(one))
            else:
                return one
        return None

    def _missing(self, document: Document) -> list[str]:
        known = self._inventory.known(document.model)
        return [
            one for one in needed(document) if one not in known or not is_ready(known[one].state)
        ]

    def _follow(self, model: str) -> asyncio.Event:
        """Return who wakes the task that follows a model, which there is from now on."""
        heard = self._heard.get(model)
        if heard is None:
            heard = asyncio.Event()
            if not self._is_closing:
                self._heard[model] = heard
                task = self._group.create_task(self._keep_following(model, heard))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return heard

    async def _keep_following(self, model: str, heard: asyncio.Event) -> None:
        """Try whenever there is a reason to, until the model is behind no more."""
        delay_s = _FIRST_S
        while heard.is_set() or model in self.behind:
            try:
                async with asyncio.timeout(delay_s):
                    await heard.wait()
            except TimeoutError:
                delay_s = min(2 * delay_s, _CEILING_S)
            heard.clear()
            await _unless_it_fails(self._try(model), model)
        del self._heard[model]
        if model in self._held_off:
            self._held_off.discard(model)
            await _unless_it_fails(self._inventory.adopt(), model)

    async def _try(self, model: str) -> None:
        """Put in force what somebody else has written, or say why not."""
        try:
            kept = await self._commits.store.revisions(model)
        except GatewayError as error:
            _log.error("the document of %r that somebody wrote cannot be read: %s", model, error)
            return
        current = self._inventory.document(model)
        if not kept or (current is not None and kept[0].revision < current.revision):
            return
        is_news = current is None or kept[0].revision > current.revision
        if not is_news and model not in self.behind:
            return
        try:
            if self._inventory.known(model):
                await self._preparing.prepare(kept[0], current if is_news else kept[0])
        except GatewayError as error:
            await self._stay_behind(kept[0], str(error))
            return
        self.behind.pop(model, None)
        if is_news:
            await self._inventory.adopt(kept[0])
            before = None if current is None else current.revision
            await self._commits.record(kept[0], "adopted", before)

    async def _stay_behind(self, document: Document, why: str) -> None:
        model, found = document.model, (document.revision, why)
        if self.behind.get(model) != found:
            self.behind[model] = found
            _log.error("%r: %s", model, self.trouble(model))
            await self._inventory.adopt()  # who names a version of it needs no document


async def _unless_it_fails(work: Coroutine[Any, Any, None], model: str) -> None:
    """Do the work; what nobody foresaw is logged, and others are followed all the same."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - it would end everybody's tasks
        _log.error("%r cannot be followed for now", model, exc_info=error)


def _ready(register: Register, model: str) -> frozenset[tuple[str, str]]:
    return frozenset(
        (version, one.assigned.proof.digest)
        for version, one in register.of(model).items()
        if is_ready(one.state) and one.assigned is not None
    )
