"""Inventory: which versions are known, which of them are served, and why the others are not.

Job    load, unload and refresh versions without a gap; take out what replicas die of.
Life   `async with`; `start` loads what should be served; leaving refuses and gives up.
Never  serves a version that some replica could not load; harms one for another's fault.

Theory of operation. Whatever takes time is an order, and orders are worked off one at a
time by one task: look at the disk, prove, assign a row, have the fleet prepare; then, in one
step, change the register; publish its table, once the sight has seen it; at last take back the
rows that left. Till then callers notice nothing, and a failure is a reason in the index.

`quarantine` does not wait for its turn; see changes.py. Readers read the register, which
is whole between any two steps. What a single replica cannot load, though it was loaded
before, is served by the others, and tried again there; here it is only shown.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from gateway.control.messages import Assigned, Table
from gateway.core.documents import Document
from gateway.core.lifecycle import Cause, Quarantined, Unloaded
from gateway.core.versions import canonical_version
from gateway.errors import CannotPrepare, GatewayError, UnknownModel, UnknownVersion
from gateway.repository.discover import Parse, RepositoryError
from gateway.supervise.attempts import Attempt, Fleet, Ledger, Prover
from gateway.supervise.changes import Changes, Sight, see_nothing
from gateway.supervise.orders import Orders
from gateway.supervise.overriding import make_home, overridden, remove, remove_others
from gateway.supervise.register import Known, Register, VersionView
from gateway.supervise.selection import EMPTY, Policy, Shelf, sentence, survey, survey_model
from gateway.supervise.stocktaking import asked, check_name, due, gone, has_files, note

__all__ = ["Inventory", "Policy", "VersionView"]

_log = logging.getLogger(__name__)
_MOST_ORDERS = 64


class Inventory:
    """Everything that could be served, and what is.

    Mutable state: the register, and the folder of files that came with requests.
    """

    def __init__(
        self,
        root: Path,
        parse: Parse,
        policy: Policy,
        prover: Prover,
        fleet: Fleet,
        ledger: Ledger,
        sight: Sight = see_nothing,
    ) -> None:
        """`sight` sees what is about to be published; with one, every model needs a document."""
        # What blocks runs there: disks may be slow, and the loop is not ours alone.
        self.off_loop: Callable[..., Any] = asyncio.to_thread
        self._root, self._parse, self._policy = root, parse, policy
        self._fleet = fleet
        self._register = Register(needs_documents=sight is not see_nothing)
        self._changes = Changes(self._register, prover, fleet, ledger, sight)
        self._orders = Orders(_MOST_ORDERS)
        self._home: Path | None = None

    async def __aenter__(self) -> Self:
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        work = (self._orders.work(), self._changes.keep_up())
        self._tasks = [self._group.create_task(one) for one in work]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._orders.close()
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(None, None, None)
        if self._home is not None:
            await self.off_loop(remove, self._home)

    async def start(self) -> None:
        """Load all that should be served, each version by itself, and publish.

        Raises: RepositoryError where the repository cannot be read.
        """
        await self._orders.give(self._start)

    async def refresh(self) -> None:
        """Look at the repository again; follow it, unless others say what is loaded.

        Raises: RepositoryError, and nothing has changed; Overloaded, Draining. Cancel:
        safe; it is done all the same.
        """
        await self._orders.give(self._refresh)

    async def load(
        self,
        model: str,
        version: str | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> None:
        """Serve a version as it is on disk now; without one, exactly what its policy selects.

        All of it arrives, or nothing changes for callers. `parameters` may bring a
        configuration and files. It ends a quarantine.

        Raises: UnknownModel, UnknownVersion, Malformed, CannotPrepare, Overloaded, Draining.
        Cancel: safe; it is done all the same.
        """
        check_name(model)
        canonical = None if version is None else canonical_version(version)
        await self._orders.give(partial(self._load, model, canonical, dict(parameters or {})))

    async def unload(self, model: str, version: str | None = None) -> None:
        """Stop serving a version, or all of a model's; return when no new call reaches it.

        Raises: UnknownModel, UnknownVersion, Overloaded, Draining. Cancel: safe; it is done
        all the same.
        """
        canonical = None if version is None else canonical_version(version)
        await self._orders.give(partial(self._unload, model, canonical))

    def quarantine(self, digest: str, reason: str) -> bool:
        """Take out what killed; say whether it was news."""
        return self._changes.condemn(digest, Quarantined(reason))

    async def adopt(self, *documents: Document, is_back: bool = False) -> None:
        """Share calls by these documents; return when every replica does. Cancel: safe."""
        for one in documents:
            self._register.adopt(one, is_back)
        await self._changes.publish()

    def known(self, model: str) -> Mapping[str, Known]:
        """Return a model's versions, ascending; none where it is not known."""
        return {name: one for name, one in self._register.of(model).items() if name}

    def document(self, model: str) -> Document | None:
        """Return by what a model's calls are shared."""
        return self._register.document(model)

    def documents(self) -> Mapping[str, Document]:
        """Return by what the calls of every known model are shared."""
        return self._register.documents()

    def assigned(self) -> tuple[Assigned, ...]:
        """Return all that is served."""
        return self._register.assigned()

    def table(self) -> Table:
        """Return what callers are answered by."""
        return self._register.table()

    def published(self) -> Table:
        """Return what callers of every replica are answered by."""
        return self._changes.published

    def views(self) -> tuple[VersionView, ...]:
        """Return every known version: models by name, versions ascending."""
        lacking = self._fleet.lacking()
        return tuple(
            replace(one, reason=lacking[one.digest])
            if one.state == "READY" and one.digest is not None and one.digest in lacking
            else one
            for one in self._register.views()
        )

    def index(self, ready: bool) -> list[dict[str, str]]:
        """Return the protocol's rows, of those that are ready or of all."""
        return [
            {"name": one.model, "version": one.version, "state": one.state, "reason": one.reason}
            for one in self.views()
            if not ready or one.state == "READY"
        ]

    # orders: each runs alone

    async def _start(self) -> None:
        shelves = await self.off_loop(survey, self._root, self._parse)
        attempts: list[Attempt] = []
        for model, shelf in shelves.items():
            note(self._register, model, shelf)
            if self._policy.wants(model):
                attempts += due(self._register, model, shelf)
        for model in sorted(set(self._policy.startup) - set(shelves)):
            _log.warning("model %r is to be loaded at the start, and is not there", model)
        await self._changes.bring_in(attempts, is_whole=False)
        await self._changes.publish()

    async def _refresh(self) -> None:
        shelves = await self.off_loop(survey, self._root, self._parse)
        for model in sorted({*shelves, *self._register.models()}):
            await self._follow(model, shelves.get(model, EMPTY))

    async def _follow(self, model: str, shelf: Shelf) -> None:
        """Have one model be what its folder says."""
        note(self._register, model, shelf)
        leaving = gone(self._register, model, shelf)
        if self._policy.control == "none":
            failed = await self._changes.bring_in(due(self._register, model, shelf), is_whole=False)
            if failed:  # what was to be replaced stays, as long as its files do
                leaving = [one for one in leaving if not await self.off_loop(has_files, one)]
        else:
            leaving = [one for one in leaving if one.assigned is None]
        for one in leaving:
            one.on_disk = None
        await self._take_out(leaving, Unloaded())

    async def _load(
        self, model: str, version: str | None, parameters: Mapping[str, object]
    ) -> None:
        shelf = await self._look(model)
        note(self._register, model, shelf)
        try:
            wanted = await self._bring_in(model, version, shelf, parameters)
        except GatewayError:
            await self._tidy()  # callers hear the new reason
            raise
        leaving = gone(self._register, model, shelf) if version is None else []
        for one in leaving:
            one.on_disk = None
        others = self._register.of(model).values() if version is None else ()
        left = [one for one in others if one.version not in wanted]
        await self._take_out(
            [one for one in left if one.assigned or one in leaving],
            Unloaded(Cause.UNASKED, "not loaded"),
        )

    async def _bring_in(
        self, model: str, version: str | None, shelf: Shelf, parameters: Mapping[str, object]
    ) -> tuple[str, ...]:
        """Load what was asked for, all of it or nothing; return its versions."""
        offered, private = shelf, None
        if parameters:
            offered, private = await self._overridden(model, shelf, parameters)
        wanted = asked(model, version, offered)
        attempts = []
        for one in wanted:
            known = self._register.know(model, one)
            known.on_disk = shelf.versions.get(one)
            attempts.append(Attempt(known, offered.versions[one].found, private))
        failed = await self._changes.bring_in(attempts, is_whole=True)
        if failed:
            self._forget(one.known for one in attempts if one.private)
            raise CannotPrepare(f"failed to load '{model}': {sentence(failed)}")
        return wanted

    async def _unload(self, model: str, version: str | None) -> None:
        known = self._register.of(model)
        if not known:
            raise UnknownModel(f"Request for unknown model: '{model}' is not found")
        if version is not None and version not in known:
            what = f"Request for unknown model: '{model}' version {version} is not found"
            raise UnknownVersion(what)
        meant = [one for one in known.values() if version in (None, one.version)]
        # What is only a fault has nothing to unload, and keeps its reason.
        await self._take_out([o for o in meant if o.on_disk or o.proof], Unloaded())

    async def _take_out(self, versions: Sequence[Known], event: Unloaded) -> None:
        await self._changes.take_out(versions, event)
        self._forget(versions)
        await self._tidy()

    async def _look(self, model: str) -> Shelf:
        try:
            shelf: Shelf = await self.off_loop(survey_model, self._root, model, self._parse)
        except RepositoryError as error:
            text = f"failed to load '{model}', failed to poll from model repository: {error}"
            raise CannotPrepare(text) from error
        return shelf

    async def _overridden(
        self, model: str, shelf: Shelf, parameters: Mapping[str, object]
    ) -> tuple[Shelf, Path | None]:
        try:
            if self._home is None:
                self._home = await self.off_loop(make_home)
            brought: tuple[Shelf, Path | None] = await self.off_loop(
                overridden, model, shelf, parameters, self._parse, self._home
            )
        except OSError as error:
            raise CannotPrepare(f"failed to load '{model}': {error.strerror}") from error
        return brought

    def _forget(self, versions: Iterable[Known]) -> None:
        """Know no more what is neither on disk nor served."""
        for known in versions:
            if known.on_disk is None and known.assigned is None:
                self._register.forget(known)

    async def _tidy(self) -> None:
        """Publish what is left to be said; remove the files of what is served no more."""
        await self._changes.publish()
        if self._home is not None:
            used = {known.private for known in self._register if known.assigned}
            await self.off_loop(remove_others, self._home, used)
