"""Every version that is known, and the table that callers are answered by."""

from dataclasses import replace

from gateway.control.messages import Entry, Table
from gateway.core.documents import Document, Variant
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


# routing documents


def document(revision: int, version: str = "1", model: str = "m") -> Document:
    variants = (Variant("stable", version, 9500), Variant("canary", "2", 500))
    return Document(model, revision, variants, fallback="stable")


def test_a_document_is_in_the_table_with_its_usual_version_as_the_default() -> None:
    register = Register()
    ready(register, "m", "1", "d", 1)
    ready(register, "m", "2", "e", 2)
    assert register.table().models["m"].default == "2"
    register.adopt(document(1))
    expected = Entry("1", {"1": "d", "2": "e"}, {}, document(1))
    assert register.table() == Table(2, {"m": expected})


def test_a_later_document_wins_in_whatever_order_they_come() -> None:
    register = Register()
    ready(register, "m", "1", "d", 1)
    for revision in (2, 1, 3, 3, 2):
        register.adopt(document(revision))
    assert register.document("m") == document(3)
    assert register.table().models["m"].document == document(3)


def test_another_document_of_the_same_revision_changes_nothing() -> None:
    """Of two writers the store lets one; what it has is what everybody adopts."""
    register = Register()
    ready(register, "m", "1", "d", 1)
    register.adopt(document(1))
    table = register.table()
    register.adopt(document(1, "2"))
    assert register.table() is table


def test_where_documents_are_needed_nothing_answers_by_default_without_one() -> None:
    register = Register(needs_documents=True)
    ready(register, "m", "1", "d", 1)
    assert register.table().models["m"] == Entry(None, {"1": "d"}, {})
    register.adopt(document(1))
    assert register.table().models["m"].default == "1"


def test_a_default_is_what_the_document_says_though_it_is_not_there() -> None:
    """Callers hear why it is not; another version would be an answer that nobody chose."""
    register = Register(needs_documents=True)
    ready(register, "m", "2", "e", 1)
    register.adopt(document(1, "1"))
    entry = register.table().models["m"]
    assert (entry.default, list(entry.served)) == ("1", ["2"])


def test_a_document_of_a_model_that_is_not_known_waits_for_it() -> None:
    register = Register(needs_documents=True)
    register.adopt(document(1))
    assert register.table() == Table(0)
    ready(register, "m", "1", "d", 1)
    assert register.table().models["m"].document == document(1)


def test_a_document_stays_while_its_model_comes_and_goes() -> None:
    register = Register(needs_documents=True)
    register.adopt(document(1))
    register.forget(register.know("m", "1"))
    assert register.table().models == {}
    ready(register, "m", "1", "d", 1)
    assert register.table().models["m"].document == document(1)


def test_what_has_changed_since_the_last_table_is_stale() -> None:
    register = Register()
    ready(register, "m", "1", "d", 1)
    ready(register, "n", "1", "e", 2)
    assert set(register.stale()) == {"m", "n"}
    table = register.table()
    assert register.stale() == ()
    register.adopt(document(1))
    assert register.stale() == ("m",)
    register.table()
    register.touch("n")
    assert register.stale() == ("n",)
    assert register.table().revision == table.revision + 1


def test_what_has_changed_is_unseen_until_somebody_looked_whatever_tables_are_made() -> None:
    register = Register()
    ready(register, "m", "1", "d", 1)
    ready(register, "n", "1", "e", 2)
    register.table()
    assert register.unseen() == {"m", "n"}
    register.see("m")
    assert register.unseen() == {"n"}
    register.adopt(document(1))
    assert register.unseen() == {"m", "n"}
