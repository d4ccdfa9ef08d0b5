"""Register: every version that is known, and the table that callers are answered by.

Job    hold each version's state; turn them all into a table, an index, and views.
Life   as long as the inventory, which alone changes it.
Never  waits. What is read here is whole at any moment.

A table is made anew when something changed, from one entry a model; an entry is made
anew when one of its versions changed. So a change costs one entry, however many models
are known, and a copy of the mapping.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.control.messages import Assigned, Entry, Table
from gateway.core.documents import Document, usual
from gateway.core.lifecycle import (
    Event,
    State,
    Unavailable,
    after,
    is_quarantined,
    is_ready,
    name_of,
    reason_of,
)
from gateway.core.versions import version_key
from gateway.repository.proof import Proof
from gateway.supervise.selection import OnDisk
from gateway.types import Signature


@dataclass(frozen=True, slots=True)
class VersionView:
    """One version as operators see it; what only a proof tells is None before the first.

    `version` is "" where a fault concerns a model of which no version is known.
    """

    model: str
    version: str
    state: str
    reason: str
    digest: str | None
    is_default: bool
    executor: str | None
    max_batch_size: int | None
    folder: Path | None
    signature: Signature | None


@dataclass(slots=True, eq=False)
class Known:
    """One version.

    `on_disk` is what the repository held when it was last looked at with an effect; None
    where it holds no such version, or a broken one. `assigned` is what callers are
    answered by, while they are. `private` is the folder of files that came with a request.
    """

    model: str
    version: str
    state: State = field(default_factory=Unavailable)
    on_disk: OnDisk | None = None
    proof: Proof | None = None  # the last one
    assigned: Assigned | None = None
    private: Path | None = None


class Register:
    """Every known version, by model, in the order of versions; and every routing document.

    Where documents are needed, a model without one has nothing that answers by default.
    """

    def __init__(self, needs_documents: bool = False) -> None:
        self._needs_documents = needs_documents
        self._models: dict[str, dict[str, Known]] = {}
        self._stale: set[str] = set()  # models whose entry may differ from the table's
        self._unseen: set[str] = set()  # models that changed since somebody looked at them
        self._entries: dict[str, Entry] = {}
        self._documents: dict[str, Document] = {}
        self._waived: dict[str, str] = {}  # models whose document cannot be had for now, and why
        self._table = Table(0)

    def __iter__(self) -> Iterator[Known]:
        for versions in self._models.values():
            yield from versions.values()

    def models(self) -> tuple[str, ...]:
        """Return the names of all models."""
        return tuple(self._models)

    def of(self, model: str) -> Mapping[str, Known]:
        """Return a model's versions, ascending; none where it is not known."""
        return dict(self._models.get(model, {}))

    def know(self, model: str, version: str) -> Known:
        """Return a version, known from now on if it was not."""
        versions = self._models.setdefault(model, {})
        if version not in versions:
            versions[version] = Known(model, version)
            ascending = sorted(versions, key=version_key)
            self._models[model] = {one: versions[one] for one in ascending}
            self.touch(model)
        return self._models[model][version]

    def forget(self, known: Known) -> None:
        """Know a version no more."""
        del self._models[known.model][known.version]
        if not self._models[known.model]:
            del self._models[known.model]
        self.touch(known.model)

    def step(self, known: Known, event: Event) -> None:
        """Have something happen to a version. Raises: lifecycle.Illegal."""
        known.state = after(known.state, event)
        self.touch(known.model)

    def stale(self) -> tuple[str, ...]:
        """Return the models of which something has changed since the last table."""
        return tuple(self._stale)

    def touch(self, model: str) -> None:
        """Have a model looked at again, though nothing here has changed."""
        self._stale.add(model)
        self._unseen.add(model)

    def unseen(self) -> frozenset[str]:
        """Return the models of which something has changed since `see`, table or not."""
        return frozenset(self._unseen)

    def see(self, model: str) -> None:
        """Take a model for looked at, as it is now."""
        self._unseen.discard(model)

    def adopt(self, document: Document, is_back: bool = False) -> None:
        """Have a model's calls shared by `document`, unless a later one is known and meant."""
        known = self._documents.get(document.model)
        if known is None or is_back or known.revision < document.revision:
            self._documents[document.model] = document
            self.touch(document.model)

    def waive(self, model: str, why: str) -> None:
        """Have a model's versions be ready, for whoever names one, without a document."""
        self._waived[model] = why

    def document(self, model: str) -> Document | None:
        """Return by what a model's calls are shared; None: by nothing."""
        return self._documents.get(model)

    def documents(self) -> Mapping[str, Document]:
        """Return by what the calls of every known model are shared."""
        found = ((model, self._documents.get(model)) for model in self._models)
        return {model: document for model, document in found if document is not None}

    def assigned(self) -> tuple[Assigned, ...]:
        """Return all that is served."""
        return tuple(known.assigned for known in self if known.assigned is not None)

    def table(self) -> Table:
        """Return what callers are answered by; the revision grows with every change of it."""
        changed = False
        for model in self._stale:
            entry = self._entry(model) if model in self._models else None
            if entry == self._entries.get(model):
                continue
            changed = True
            if entry is None:
                self._entries.pop(model, None)
            else:
                self._entries[model] = entry
        self._stale.clear()
        if changed:
            self._table = Table(self._table.revision + 1, dict(sorted(self._entries.items())))
        return self._table

    def _entry(self, model: str) -> Entry:
        document = self._documents.get(model)
        entry = _entry(self._models[model])
        if document is None:
            return replace(entry, default=None) if self._needs_documents else entry
        return replace(entry, default=usual(document).version, document=document)

    def views(self) -> tuple[VersionView, ...]:
        """Return every version: models by name, versions ascending."""
        entries = self.table().models
        return tuple(
            self._shown(_view(known, entries[model].default))
            for model, versions in sorted(self._models.items())
            for known in versions.values()
        )

    def _shown(self, view: VersionView) -> VersionView:
        """Show nobody as ready whom callers cannot ask before a first document is written."""
        if not self._needs_documents or view.state != "READY":
            return view
        if view.model in self._documents:
            return view
        if view.model in self._waived:
            return replace(view, reason=f"no routing document: {self._waived[view.model]}")
        return replace(view, state="LOADING", reason="its first routing document is being written")


def _entry(versions: Mapping[str, Known]) -> Entry:
    """Return a model's entry: the newest that is ready, or that killed, answers by default.

    A quarantined version stays the default, so that its callers hear of it: who may
    answer in its stead, an operator decides.
    """
    default: str | None = None
    served: dict[str, str] = {}
    unready: dict[str, str] = {}
    for version, known in versions.items():
        if is_ready(known.state):
            assert known.assigned is not None
            served[version] = known.assigned.proof.digest
        else:
            unready[version] = reason_of(known.state)
        if is_ready(known.state) or is_quarantined(known.state):
            default = version
    return Entry(default, served, unready)


def _view(known: Known, default: str | None) -> VersionView:
    proof = known.proof
    found = proof.found if proof else known.on_disk.found if known.on_disk else None
    return VersionView(
        model=known.model,
        version=known.version,
        state=name_of(known.state),
        reason=reason_of(known.state),
        digest=proof.digest if proof else None,
        is_default=known.version == default,
        executor=proof.executor if proof else None,
        max_batch_size=proof.signature.max_batch_rows if proof else None,
        folder=found.folder if found else None,
        signature=proof.signature if proof else None,
    )
