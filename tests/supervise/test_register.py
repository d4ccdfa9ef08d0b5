"""Every version that is known, and the table that callers are answered by."""

from dataclasses import replace

from gateway.control.messages import Entry, Table
from gateway.core.lifecycle import Load, Loaded, Quarantined, Refused, Unload, Unloaded
from gateway.supervise.register import Register
from tests.supervise.fakes import assigned


def ready(register: Register, model: str, version: str, digest: str, row: int) -> None:
    known = register.know(model, version)
    register.step(known, Load())
    known.assigned = assigned(digest, row)
    known.proof = known.assigned.proof
    register.step(known, Loaded())


def test_a_table_is_the_same_until_something_changes_for_callers() -> None:
    register = Register()
    assert register.table() == Table(0)
    ready(register, "m", "1", "d", 1)
    table = register.table()
    assert table == Table(1, {"m": Entry("1", {"1": "d"}, {})})
    register.step(register.know("m", "1"), Refused("its replacement was"))
    assert register.table() is table


def test_a_change_of_one_model_leaves_the_entries_of_the_others() -> None:
    register = Register()
    ready(register, "m", "1", "d", 1)
    ready(register, "n", "1", "e", 2)
    before = register.table()
    ready(register, "n", "2", "f", 3)
    assert register.table().models["m"] is before.models["m"]
    assert "2" not in before.models["n"].served


def test_versions_ascend_and_the_newest_that_is_ready_is_the_default() -> None:
    register = Register()
    for row, version in enumerate(["10", "9", "alpha"], 1):
        ready(register, "m", version, version, row)
    register.know("m", "11")
    entry = register.table().models["m"]
    assert list(entry.served) == ["alpha", "9", "10"]
    assert entry.default == "10"
    assert entry.unready == {"11": "not loaded"}


def test_a_quarantined_version_stays_the_default() -> None:
    register = Register()
    ready(register, "m", "1", "d", 1)
    ready(register, "m", "2", "e", 2)
    two = register.know("m", "2")
    two.assigned = None
    register.step(two, Quarantined("it killed"))
    assert register.table().models["m"] == Entry("2", {"1": "d"}, {"2": "it killed"})
    register.step(two, Load())
    assert register.table().models["m"] == Entry("2", {"1": "d"}, {"2": "it killed"})


def test_a_model_without_a_ready_version_has_no_default() -> None:
    register = Register()
    register.know("m", "1")
    assert register.table().models["m"] == Entry(None, {}, {"1": "not loaded"})


def test_what_is_forgotten_is_in_no_table_and_no_view() -> None:
    register = Register()
    ready(register, "m", "1", "d", 1)
    known = register.know("m", "1")
    register.step(known, Unload())
    known.assigned = None
    register.step(known, Unloaded())
    register.forget(known)
    assert register.table().models == {}
    assert (register.views(), register.models(), list(register)) == ((), (), [])


def test_views_come_by_model_and_version() -> None:
    register = Register()
    for row, (model, version) in enumerate([("n", "1"), ("m", "2"), ("m", "1")], 1):
        ready(register, model, version, f"{model}{version}", row)
    views = register.views()
    assert [(one.model, one.version) for one in views] == [("m", "1"), ("m", "2"), ("n", "1")]
    assert [one.is_default for one in views] == [False, True, True]
    assert replace(views[0], folder=None).executor == "inline"
    assert [one.row for one in register.assigned()] == [1, 3, 2]
