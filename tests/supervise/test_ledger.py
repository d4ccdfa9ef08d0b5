"""Whoever dies, is replaced, loaded or given up: what was written is counted, once."""

from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.observe import layout
from gateway.observe.counts import ZERO, Counts, plus, read
from gateway.observe.memory import Memory
from gateway.supervise.ledger import Ledger, LedgerFull, RowKey
from tests.supervise.cells import execute, refuse

ROW = layout.ROW_CELLS
NAMELESS = RowKey("", "", "", "")


@pytest.fixture
def memories() -> Iterator[list[Memory]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Memory.create()) for _ in range(3)]


def total(ledger: Ledger) -> Counts:
    summed = ZERO
    for counts in ledger.counts().values():
        summed = plus(summed, counts)
    return summed


def a_row() -> memoryview:
    """Return a row of no memory: what a key should count."""
    return memoryview(array("q", bytes(8 * ROW)))


def is_zero(row: memoryview) -> bool:
    return row.tobytes() == bytes(row.nbytes)


# Rows


def test_rows_are_numbered_from_one_and_each_has_one_owner() -> None:
    ledger = Ledger()
    assert [ledger.assign("m", "1", "a"), ledger.assign("m", "1", "a")] == [1, 2]
    assert ledger.assign("m", "2", "b") == 3


def test_a_ledger_gives_every_row_but_the_replicas_own_and_then_says_that_it_is_full() -> None:
    ledger = Ledger(most_rows=4)
    rows = [ledger.assign("m", "1", str(number)) for number in range(3)]
    with pytest.raises(LedgerFull, match="all 3 telemetry rows are taken"):
        ledger.assign("m", "1", "one too many")
    ledger.retire(rows[1])
    assert ledger.assign("m", "1", "now it fits") == rows[1]


def test_the_memory_has_as_many_rows_as_the_ledger_gives() -> None:
    ledger = Ledger()
    rows = [ledger.assign("m", "1", "a") for _ in range(layout.MOST_ROWS - 1)]
    assert max(rows) == layout.MOST_ROWS - 1
    with pytest.raises(LedgerFull):
        ledger.assign("m", "1", "a")


def test_a_row_is_free_when_every_memory_has_folded_it(memories: list[Memory]) -> None:
    ledger = Ledger(most_rows=2)
    for memory in memories:
        ledger.attach(memory)
    row = ledger.assign("m", "1", "a")
    ledger.retire(row)
    for memory in memories:
        with pytest.raises(LedgerFull):
            ledger.assign("m", "2", "b")
        ledger.fold(memory, (row,))
    assert ledger.assign("m", "2", "b") == row


def test_a_replica_may_say_its_last_word_before_the_row_is_retired(memories: list[Memory]) -> None:
    ledger = Ledger(most_rows=2)
    ledger.attach(memories[0])
    row = ledger.assign("m", "1", "a")
    ledger.fold(memories[0], (row,))
    with pytest.raises(LedgerFull):
        ledger.assign("m", "2", "b")
    ledger.retire(row)
    assert ledger.assign("m", "2", "b") == row


def test_a_dead_replica_holds_no_row(memories: list[Memory]) -> None:
    ledger = Ledger(most_rows=2)
    ledger.attach(memories[0])
    row = ledger.assign("m", "1", "a")
    ledger.retire(row)
    ledger.detach(memories[0])
    assert ledger.assign("m", "2", "b") == row


def test_a_memory_attached_after_a_row_was_retired_never_holds_it(memories: list[Memory]) -> None:
    ledger = Ledger(most_rows=2)
    ledger.attach(memories[0])
    row = ledger.assign("m", "1", "a")
    ledger.retire(row)
    ledger.attach(memories[1])
    ledger.fold(memories[0], (row,))
    assert ledger.assign("m", "2", "b") == row


def test_a_row_that_comes_back_is_zero_in_every_memory(memories: list[Memory]) -> None:
    ledger = Ledger(most_rows=2)
    for memory in memories:
        ledger.attach(memory)
    row = ledger.assign("m", "1", "a")
    for memory in memories:
        execute(memory.row(row), 7)
    ledger.retire(row)
    for memory in memories:
        ledger.fold(memory, (row,))
    ledger.assign("m", "2", "b")
    for memory in memories:
        assert is_zero(memory.row(row))
    assert ledger.counts()[RowKey("m", "2", "b")] == ZERO


def test_retiring_a_row_that_nobody_owns_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Ledger().retire(1)


# Counts


def test_a_version_that_was_never_asked_counts_zeros(memories: list[Memory]) -> None:
    ledger = Ledger()
    ledger.attach(memories[0])
    ledger.assign("m", "1", "a")
    assert ledger.counts() == {RowKey("m", "1", "a"): ZERO}


def test_counts_are_summed_over_replicas(memories: list[Memory]) -> None:
    ledger, expected = Ledger(), a_row()
    row = ledger.assign("m", "1", "a")
    for rows, memory in enumerate(memories, start=1):
        ledger.attach(memory)
        execute(memory.row(row), rows)
        execute(expected, rows)
        memory.row(row)[layout.LAST_INFERENCE_MS] = 0
    expected[layout.LAST_INFERENCE_MS] = 0
    assert ledger.counts() == {RowKey("m", "1", "a"): read(expected)}


def test_the_last_inference_is_the_latest_of_all(memories: list[Memory]) -> None:
    ledger = Ledger()
    row = ledger.assign("m", "1", "a")
    for ms, memory in zip((5, 9, 2), memories, strict=True):
        ledger.attach(memory)
        memory.row(row)[layout.LAST_INFERENCE_MS] = ms
    ledger.detach(memories[1])
    (counts,) = ledger.counts().values()
    assert counts.last_inference_ms == 9


def test_two_rows_of_one_key_are_one_sum(memories: list[Memory]) -> None:
    ledger, expected = Ledger(), a_row()
    ledger.attach(memories[0])
    for row in (ledger.assign("m", "1", "a"), ledger.assign("m", "1", "a")):
        execute(memories[0].row(row), row)
        execute(expected, row)
        memories[0].row(row)[layout.LAST_INFERENCE_MS] = 2
    assert ledger.counts() == {RowKey("m", "1", "a"): read(expected)}


def test_arms_and_revisions_are_keys_of_their_own(memories: list[Memory]) -> None:
    ledger = Ledger()
    ledger.attach(memories[0])
    for arm, revision in (("stable", 0), ("canary", 0), ("canary", 1)):
        row = ledger.assign("m", "1", "a", arm, revision)
        execute(memories[0].row(row), row)
    counted = {
        (key.arm, key.revision): counts.inferences for key, counts in ledger.counts().items()
    }
    assert counted == {("stable", 0): 1, ("canary", 0): 2, ("canary", 1): 3}


def test_what_the_dead_wrote_is_counted_once(memories: list[Memory]) -> None:
    ledger = Ledger()
    row = ledger.assign("m", "1", "a")
    for memory in memories[:2]:
        ledger.attach(memory)
        execute(memory.row(row), 3)
    before = ledger.counts()
    for _ in range(2):  # a second word about a death means nothing
        ledger.detach(memories[0])
        assert ledger.counts() == before
    ledger.fold(memories[0], (row,))  # nor does what it said before and is heard after
    assert ledger.counts() == before
    execute(memories[1].row(row), 4)
    assert ledger.counts()[RowKey("m", "1", "a")].inferences == 10


def test_what_was_folded_is_counted_once(memories: list[Memory]) -> None:
    ledger = Ledger()
    ledger.attach(memories[0])
    row = ledger.assign("m", "1", "a")
    execute(memories[0].row(row), 3)
    before = ledger.counts()
    ledger.fold(memories[0], (row, row))
    assert ledger.counts() == before
    ledger.retire(row)
    assert ledger.counts() == before
    ledger.detach(memories[0])
    assert ledger.counts() == before


def test_rows_that_nobody_knows_are_folded_to_no_effect(memories: list[Memory]) -> None:
    ledger = Ledger()
    ledger.attach(memories[0])
    ledger.fold(memories[0], (0, 1, 4095, 10_000))
    ledger.fold(memories[1], (1,))
    assert ledger.counts() == {}


def test_an_execution_that_died_with_its_replica_is_not_running(memories: list[Memory]) -> None:
    ledger = Ledger()
    for memory in memories[:2]:
        ledger.attach(memory)
    row = ledger.assign("m", "1", "a")
    for memory in memories[:2]:
        memory.row(row)[layout.EXECUTING] = 1
    (before,) = ledger.counts().values()
    ledger.detach(memories[0])
    (after,) = ledger.counts().values()
    assert (before.executing, after.executing) == (2, 1)


def test_an_image_changes_no_more(memories: list[Memory]) -> None:
    ledger = Ledger()
    ledger.attach(memories[0])
    row = ledger.assign("m", "1", "a")
    execute(memories[0].row(row), 3)
    image, expected = ledger.image(), ledger.counts()
    execute(memories[0].row(row), 4)
    ledger.fold(memories[0], (row,))
    ledger.retire(row)
    refuse(memories[0].row(0), "malformed")
    ledger.assign("m", "2", "b")
    assert image.counts() == expected
    assert image.refusals == ZERO


def test_every_size_that_was_executed_is_counted(memories: list[Memory]) -> None:
    ledger = Ledger()
    ledger.attach(memories[0])
    row = memories[0].row(ledger.assign("m", "1", "a"))
    for rows in range(layout.MOST_SIZES, 0, -1):
        execute(row, rows)
    (counts,) = ledger.counts().values()
    assert {rows: size[0] for rows, size in counts.sizes.items()} == dict.fromkeys(
        range(1, layout.MOST_SIZES + 1), 1
    )


class Watched:
    """A memory that hears which rows are looked at."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def row(self, number: int) -> memoryview:
        self.seen.append(number)
        return a_row()


def test_counting_reads_only_rows_in_use() -> None:
    ledger, memory = Ledger(), Watched()
    ledger.attach(memory)  # type: ignore[arg-type]  # a memory as far as it is used
    rows = [ledger.assign("m", str(version), "a") for version in range(3)]
    ledger.counts()
    assert sorted(memory.seen) == [0, *rows]


def test_an_image_of_some_names_reads_only_their_rows() -> None:
    ledger, memory = Ledger(), Watched()
    ledger.attach(memory)  # type: ignore[arg-type]  # a memory as far as it is used
    rows = [ledger.assign("m", version, "a") for version in "1221"]
    ledger.assign("n", "2", "a")
    ledger.image({("m", "2"), ("o", "1")})
    assert sorted(memory.seen) == [0, *rows[1:3]]


def test_an_image_of_some_names_counts_all_that_has_no_name(memories: list[Memory]) -> None:
    ledger = Ledger()
    for memory in memories[:2]:
        ledger.attach(memory)
        execute(memory.row(ledger.assign("m", "1", "a")))
        refuse(memory.row(0), "unknown_model", 2)
        memory.row(0)[layout.CONNECTIONS] = 5
        memory.row(0)[layout.MOVED] = 2
    assert ledger.image(()) == replace(ledger.image(), settled={}, cells=())


# What a replica is executing


def test_the_digests_that_a_replica_was_executing_are_its_own(memories: list[Memory]) -> None:
    ledger = Ledger()
    for memory in memories[:2]:
        ledger.attach(memory)
    rows = [ledger.assign("m", digest, digest) for digest in "abc"]
    memories[0].row(rows[0])[layout.EXECUTING] = 2
    memories[0].row(rows[2])[layout.EXECUTING] = 1
    memories[1].row(rows[1])[layout.EXECUTING] = 1
    assert ledger.executing(memories[0]) == ("a", "c")
    assert ledger.executing(memories[1]) == ("b",)
    assert ledger.executing(memories[2]) == ()


@pytest.mark.parametrize(
    ("callers", "shadows", "accused"),
    [("a", "b", ("b",)), ("ab", "bc", ("c",)), ("a", "a", ()), ("ab", "", ("a", "b"))],
)
def test_where_a_shadow_ran_only_what_shadows_alone_were_executing_is_accused(
    memories: list[Memory], callers: str, shadows: str, accused: tuple[str, ...]
) -> None:
    ledger = Ledger()
    ledger.attach(memories[0])
    for digests, is_shadow in ((callers, False), (shadows, True)):
        for digest in digests:
            row = ledger.assign("m", digest, digest, "arm", 1, is_shadow)
            memories[0].row(row)[layout.EXECUTING] = 1
    assert ledger.executing(memories[0]) == accused


def test_a_digest_under_two_names_is_named_once(memories: list[Memory]) -> None:
    ledger = Ledger()
    ledger.attach(memories[0])
    for model in ("m", "n"):
        memories[0].row(ledger.assign(model, "1", "a"))[layout.EXECUTING] = 1
    assert ledger.executing(memories[0]) == ("a",)


# Row 0


def test_refusals_are_summed_and_survive_their_replica(memories: list[Memory]) -> None:
    ledger = Ledger()
    for memory in memories[:2]:
        ledger.attach(memory)
        refuse(memory.row(0), "unknown_model", 2)
    before = ledger.refusals()
    assert before.outcomes[layout.OUTCOME_NAMES.index("unknown_model")] == 4
    ledger.detach(memories[0])
    ledger.detach(memories[0])
    assert ledger.refusals() == before


def test_a_heartbeat_is_no_count(memories: list[Memory]) -> None:
    ledger = Ledger()
    ledger.attach(memories[0])
    memories[0].row(0)[layout.HEARTBEAT_NS] = 1 << 60
    memories[0].row(0)[layout.CONNECTIONS] = 9
    assert ledger.refusals() == ZERO
    assert ledger.counts() == {}


def test_connections_end_with_their_replica_and_moves_do_not(memories: list[Memory]) -> None:
    ledger = Ledger()
    for memory in memories[:2]:
        ledger.attach(memory)
        memory.row(0)[layout.CONNECTIONS] = 5
        memory.row(0)[layout.MOVED] = 2
    assert (ledger.image().connections, ledger.image().moved) == (10, 4)
    ledger.detach(memories[0])
    assert (ledger.image().connections, ledger.image().moved) == (5, 4)


def test_every_ledger_has_an_epoch_of_its_own() -> None:
    epochs = {Ledger().epoch for _ in range(8)}
    assert len(epochs) == 8
    assert all(len(epoch) == 32 for epoch in epochs)


# What is settled


def test_a_key_loaded_again_goes_on_where_it_was(memories: list[Memory]) -> None:
    ledger = Ledger()
    ledger.attach(memories[0])
    for turn in range(1, 4):
        row = ledger.assign("m", "1", "a")
        execute(memories[0].row(row))
        ledger.fold(memories[0], (row,))
        ledger.retire(row)
        assert ledger.counts()[RowKey("m", "1", "a")].inferences == turn


@pytest.mark.slow
def test_ten_thousand_reloads_leave_a_bounded_ledger(memories: list[Memory]) -> None:
    ledger = Ledger(most_retired=100)
    ledger.attach(memories[0])
    for turn in range(10_000):
        row = ledger.assign("m", "1", f"digest {turn}")
        memories[0].row(row)[layout.INFERENCES] = 1
        ledger.retire(row)
        ledger.fold(memories[0], (row,))
    assert len(ledger.counts()) == 101
    assert ledger.counts()[RowKey("m", "1", "")].inferences == 9_900
    assert total(ledger).inferences == 10_000


@pytest.mark.slow
def test_ten_thousand_versions_leave_a_bounded_ledger(memories: list[Memory]) -> None:
    ledger = Ledger(most_retired=100)
    ledger.attach(memories[0])
    for turn in range(10_000):
        row = ledger.assign("m", str(turn), f"digest {turn}")
        memories[0].row(row)[layout.INFERENCES] = 1
        ledger.retire(row)
        ledger.fold(memories[0], (row,))
    assert len(ledger.counts()) == 201
    assert ledger.counts()[NAMELESS].inferences == 9_800
    assert total(ledger).inferences == 10_000


def test_a_key_that_looks_like_a_sum_is_added_to_it(memories: list[Memory]) -> None:
    ledger = Ledger(most_retired=1)
    ledger.attach(memories[0])
    for version in ("1", "2", "1"):
        row = ledger.assign("m", version, "")
        execute(memories[0].row(row))
        ledger.fold(memories[0], (row,))
        ledger.retire(row)
    assert ledger.counts()[RowKey("m", "1", "")].inferences == 2


def test_a_name_under_which_something_stands_is_not_given_up(memories: list[Memory]) -> None:
    ledger = Ledger(most_retired=1)
    ledger.attach(memories[0])
    for turn in range(10):
        row = ledger.assign("kept", "1", f"kept {turn}")
        memories[0].row(row)[layout.INFERENCES] = 1
        if turn < 9:
            ledger.retire(row)
            ledger.fold(memories[0], (row,))
    for turn in range(10):
        row = ledger.assign("passing", str(turn), f"passing {turn}")
        ledger.retire(row)
        ledger.fold(memories[0], (row,))
    counted = ledger.counts()
    kept = [counts.inferences for key, counts in counted.items() if key.model == "kept"]
    assert sum(kept) == 10
    assert len(counted) <= 4


class Lives(RuleBasedStateMachine):
    """Replicas, versions and rows come and go in any order that the ledger's terms allow.

    A replica writes to a row from its assignment, or its own start, until its last word
    on it. One started after a row was retired is not told of that row.
    """

    versions: ClassVar[tuple[str, ...]]
    most_retired: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(most_rows=5, most_retired=self.most_retired)
        self.writers: dict[Memory, set[int]] = {}
        self.owners: dict[int, RowKey] = {}
        self.retired: set[int] = set()
        self.expected: dict[RowKey, memoryview] = {}
        self.refused = 0

    def teardown(self) -> None:
        for memory in self.writers:
            memory.close()

    @precondition(lambda self: len(self.writers) < 3)
    @rule()
    def attach(self) -> None:
        memory = Memory.create()
        self.ledger.attach(memory)
        self.writers[memory] = set(self.owners) - self.retired

    @precondition(lambda self: self.writers)
    @rule(draw=st.data())
    def detach(self, draw: st.DataObject) -> None:
        memory = self.a_memory(draw)
        del self.writers[memory]
        self.ledger.detach(memory)
        memory.close()
        self.free()

    @rule(
        draw=st.data(),
        digest=st.sampled_from("abcd"),
        arm=st.sampled_from(["stable", "canary"]),
        revision=st.integers(0, 1),
    )
    def assign(self, draw: st.DataObject, digest: str, arm: str, revision: int) -> None:
        version = draw.draw(st.sampled_from(self.versions))
        key = RowKey("m", version, digest, arm, revision)
        if len(self.owners) == 4:
            with pytest.raises(LedgerFull):
                self.ledger.assign("m", version, digest, arm, revision)
            return
        row = self.ledger.assign("m", version, digest, arm, revision)
        assert row not in self.owners
        self.owners[row] = key
        for memory, rows in self.writers.items():
            assert is_zero(memory.row(row))
            rows.add(row)

    @precondition(lambda self: any(self.writers.values()))
    @rule(draw=st.data(), rows=st.integers(1, 3), each_ns=st.integers(0, 1 << 40))
    def write(self, draw: st.DataObject, rows: int, each_ns: int) -> None:
        memory, row = self.a_writer(draw)
        expected = self.expected.setdefault(self.owners[row], a_row())
        for cells in (memory.row(row), expected):
            execute(cells, rows, each_ns)
        memory.row(row)[layout.LAST_INFERENCE_MS] = 7
        expected[layout.LAST_INFERENCE_MS] = 7

    @precondition(lambda self: any(self.writers.values()))
    @rule(draw=st.data())
    def fold(self, draw: st.DataObject) -> None:
        memory, row = self.a_writer(draw)
        self.writers[memory].discard(row)
        self.ledger.fold(memory, (row,))
        self.free()

    @precondition(lambda self: set(self.owners) - self.retired)
    @rule(draw=st.data())
    def retire(self, draw: st.DataObject) -> None:
        row = draw.draw(st.sampled_from(sorted(set(self.owners) - self.retired)))
        self.retired.add(row)
        self.ledger.retire(row)
        self.free()

    @precondition(lambda self: self.writers)
    @rule(draw=st.data())
    def refuse(self, draw: st.DataObject) -> None:
        refuse(self.a_memory(draw).row(0), "malformed")
        self.refused += 1

    def a_memory(self, draw: st.DataObject) -> Memory:
        memories = list(self.writers)
        return memories[draw.draw(st.integers(0, len(memories) - 1))]

    def a_writer(self, draw: st.DataObject) -> tuple[Memory, int]:
        pairs = [(memory, row) for memory, rows in self.writers.items() for row in sorted(rows)]
        return pairs[draw.draw(st.integers(0, len(pairs) - 1))]

    def free(self) -> None:
        for row in tuple(self.retired):
            if not any(row in rows for rows in self.writers.values()):
                self.retired.discard(row)
                del self.owners[row]

    @invariant()
    def everything_written_is_counted_once(self) -> None:
        expected = ZERO
        for row in self.expected.values():
            expected = plus(expected, read(row))
        assert total(self.ledger) == expected
        refusals = self.ledger.refusals()
        assert refusals.outcomes[layout.OUTCOME_NAMES.index("malformed")] == self.refused

    @invariant()
    def a_key_in_use_counts_no_other_keys_calls(self) -> None:
        counted = self.ledger.counts()
        for key in self.owners.values():
            written = self.expected.get(key)
            ceiling = read(written).inferences if written is not None else 0
            assert counted[key].inferences <= ceiling

    @invariant()
    def an_image_of_some_names_is_that_part_of_the_whole(self) -> None:
        names = {("m", "1"), ("m", "2")}
        whole = [item for item in self.ledger.counts().items() if item[0].version in ("1", "2")]
        assert list(self.ledger.image(names).counts().items()) == whole

    @invariant()
    def the_ledger_is_bounded(self) -> None:
        standing = 4 + self.most_retired  # the rows in use, and keys retired lately
        assert len(self.ledger.counts()) <= 2 * standing + 1


class FewNames(Lives):
    """No more names than the ledger keeps by themselves: each is counted exactly."""

    versions = ("1",)
    most_retired = 2  # one version, two arms

    @invariant()
    def every_name_counts_what_was_written_under_it(self) -> None:
        counted: Counter[tuple[str, str]] = Counter()
        for key, counts in self.ledger.counts().items():
            counted[key.version, key.arm] += counts.inferences
        expected: Counter[tuple[str, str]] = Counter()
        for key, row in self.expected.items():
            expected[key.version, key.arm] += read(row).inferences
        assert +counted == +expected


class ManyNames(Lives):
    """More names than the ledger keeps by themselves."""

    versions = ("1", "2", "3")
    most_retired = 1


TestFewNames = pytest.mark.slow(FewNames.TestCase)
TestManyNames = pytest.mark.slow(ManyNames.TestCase)
TestFewNames.settings = TestManyNames.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None
)
