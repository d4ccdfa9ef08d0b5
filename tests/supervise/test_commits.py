"""What is committed is kept first, then in force, then in the audit."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gateway.core.documents import WHOLE_BP, Document, Variant
from gateway.core.pinning import AUTOMATIC
from gateway.errors import NotReady, RevisionConflict
from gateway.supervise.commits import Commits
from tests.clock import play
from tests.supervise.steered import MemoryAudit, MemoryStore


def document(revision: int, model: str = "m", by: str = "ann") -> Document:
    arm = Variant("stable", "1", WHOLE_BP)
    at = f"2026-01-01T00:00:{revision:02}"
    why = f"reason {revision}"
    return Document(model, revision, (arm,), reason=why, changed_by=by, changed_at=at)


class Committing:
    """Commits among neighbours that write down, in one list, what they are asked for."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.store, self.audit = Written(self.steps), Recorded(self.steps)
        self.commits = Commits(self.store, self.audit)
        self.commits.introduce(self)
        self.fault: Exception | None = None

    async def adopt(self, *documents: Document) -> None:
        self.steps += [f"adopt {one.revision}" for one in documents]
        if self.fault is not None:
            raise self.fault


class Written(MemoryStore):
    def __init__(self, steps: list[str]) -> None:
        super().__init__()
        self._steps = steps

    async def write(self, document: Document) -> None:
        await super().write(document)
        self._steps.append(f"write {document.revision}")


class Recorded(MemoryAudit):
    def __init__(self, steps: list[str]) -> None:
        super().__init__()
        self._steps = steps

    async def append(self, entry: Any) -> None:
        await super().append(entry)
        self._steps.append(f"append {entry.after}")


def committing(scene: Callable[[Committing], Coroutine[Any, Any, None]]) -> Committing:
    made = Committing()
    play(lambda: scene(made))
    return made


def test_a_commit_is_kept_then_in_force_then_recorded() -> None:
    async def scene(made: Committing) -> None:
        await made.commits.commit(document(1), "put")
        await made.commits.commit(document(2), "rollback")

    made = committing(scene)
    assert made.steps == ["write 1", "adopt 1", "append 1", "write 2", "adopt 2", "append 2"]
    assert made.audit.told() == [
        ("ann", "put", None, 1, "reason 1"),
        ("ann", "rollback", 1, 2, "reason 2"),
    ]
    assert made.audit.entries[1].at == document(2).changed_at


@pytest.mark.parametrize("kept", [0, 3])
def test_who_was_too_late_is_told_the_revision_in_force_and_nothing_has_changed(kept: int) -> None:
    async def scene(made: Committing) -> None:
        made.store.kept["m"] = [document(one) for one in range(1, kept + 1)]
        with pytest.raises(RevisionConflict, match=f"the current one is {kept}") as refused:
            await made.commits.commit(document(2), "put")
        assert refused.value.current == kept

    assert committing(scene).steps == []


def test_what_the_store_does_not_take_is_neither_in_force_nor_recorded() -> None:
    async def scene(made: Committing) -> None:
        made.store.is_away = True
        with pytest.raises(NotReady, match="away"):
            await made.commits.commit(document(1), "put")

    assert committing(scene).steps == []


def test_what_cannot_be_recorded_is_in_force_all_the_same_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene(made: Committing) -> None:
        made.audit.is_full = True
        await made.commits.commit(document(1), "put")

    assert committing(scene).steps == ["write 1", "adopt 1"]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "revision 1 of 'm' yet: no space left on device" in record.getMessage()


def test_a_start_completes_what_a_death_has_left_out_of_the_audit() -> None:
    async def scene(made: Committing) -> None:
        await made.commits.record(document(1), "put", None)
        await made.commits.complete([document(3), document(1, "n", AUTOMATIC)])
        await made.commits.complete([document(3), document(1, "n", AUTOMATIC)])  # once

    assert committing(scene).audit.told() == [
        ("ann", "put", None, 1, "reason 1"),
        (AUTOMATIC, "first_sight", None, 1, "reason 1"),
        ("ann", "put", 2, 3, "reason 3"),
    ]


@pytest.mark.parametrize("what", ["is_full", "is_away"])
def test_a_start_that_cannot_complete_the_audit_says_so_and_goes_on(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(made: Committing) -> None:
        setattr(made.audit, what, True)
        await made.commits.complete([document(1)])

    committing(scene)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("the audit may not know of every change yet: ")
