import os

from hypothesis import given
from hypothesis import strategies as st

from bench.accounting import (
    MachineTicks,
    ProcessLine,
    cpu_seconds,
    family,
    parse_machine,
    parse_pressure_us,
    parse_process,
    parse_resident_bytes,
    read_machine,
    resident_bytes,
)

STAT = (
    "4711 (nginx: (a b) c) S 4710 4711 4711 0 -1 4194368 513 0 0 0 "
    "120 34 7 8 20 0 1 0 99 13582336 1426 18446744073709551615\n"
)
MACHINE = "cpu  100 1 20 800 5 0 4 70 9 9\ncpu0 50 0 10 400 2 0 2 35 4 4\nintr 1 2 3\n"


def test_a_name_with_brackets_and_spaces_does_not_shift_the_fields() -> None:
    assert parse_process(STAT) == ProcessLine(pid=4711, parent=4710, cpu_ticks=169)


def test_user_and_system_time_are_counted_and_that_of_dead_children_is_not_lost() -> None:
    assert parse_process(STAT).cpu_ticks == 120 + 34 + 7 + 8


def test_guest_time_is_not_counted_twice() -> None:
    assert parse_machine(MACHINE) == MachineTicks(total=1000, stolen=70)


def test_stolen_time_is_a_share_of_what_passed_between_two_looks() -> None:
    earlier, later = MachineTicks(1000, 70), MachineTicks(1200, 80)
    assert later.stolen_ratio_since(earlier) == 0.05


def test_two_looks_at_the_same_tick_have_nothing_stolen() -> None:
    assert MachineTicks(5, 1).stolen_ratio_since(MachineTicks(5, 1)) == 0.0


def test_resident_memory_is_given_in_bytes() -> None:
    assert parse_resident_bytes("Name:\tnginx\nVmRSS:\t    5712 kB\nThreads:\t1\n") == 5712 * 1024


def test_a_process_without_memory_of_its_own_has_none() -> None:
    assert parse_resident_bytes("Name:\tkworker\nThreads:\t1\n") == 0


def test_waiting_is_told_by_its_total() -> None:
    text = (
        "some avg10=5.66 avg60=16.52 avg300=9.95 total=136097924\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    )
    assert parse_pressure_us(text) == 136_097_924


def test_a_family_is_the_process_and_all_that_descend_from_it() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    processes = {pid: ProcessLine(pid, parent, 0) for pid, parent in parents.items()}
    assert family(10, processes) == {10, 11, 12}


def test_the_family_of_a_process_that_is_gone_is_empty() -> None:
    assert family(99, {1: ProcessLine(1, 0, 0)}) == frozenset()


@given(st.dictionaries(st.integers(1, 30), st.integers(0, 30)), st.integers(1, 30))
def test_every_member_but_the_root_has_its_parent_in_the_family(
    parents: dict[int, int], root: int
) -> None:
    processes = {pid: ProcessLine(pid, parent, 0) for pid, parent in parents.items()}
    members = family(root, processes)
    assert all(processes[pid].parent in members | {root} for pid in members - {root})


def test_this_process_has_used_time_and_holds_memory() -> None:
    assert cpu_seconds(os.getpid()) > 0
    assert resident_bytes(os.getpid()) > 1 << 20


def test_this_machine_has_ticked() -> None:
    assert read_machine().total > 0
