"""Every message comes out as it went in, whatever its fields hold; nothing else is one."""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.control.messages import (
    MOST_REASON_BYTES,
    TO_REPLICA,
    TO_SUPERVISOR,
    Accept,
    Accepting,
    Ask,
    Assigned,
    Disagreed,
    Drain,
    Entry,
    Forget,
    Hello,
    Prepare,
    Prepared,
    Publish,
    Published,
    Release,
    Released,
    Reply,
    Retire,
    Retired,
    Shares,
    Started,
    Table,
    ToReplica,
    ToSupervisor,
    Withdraw,
)
from gateway.control.reports import BreakerTold, Report, Reported
from gateway.core.documents import (
    Comparison,
    Document,
    Matches,
    Piece,
    Rule,
    Shadow,
    Share,
    Sticky,
    Variant,
)
from gateway.repository.settings import ModelSettings
from tests.control.test_trial import PROOF, SETTINGS
from tests.core.drawn import documents

_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=8),
    bytes: st.text(max_size=8).map(str.encode),  # JSON, or nothing could be a line of it
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    types.NoneType: st.none(),
    Path: st.text("ab/. ", max_size=8).map(Path),
}


def anything(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type, drawn field by field: one that has a default is drawn as well."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return st.builds(kind, **{one.name: anything(hints[one.name]) for one in fields(kind)})
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return st.sampled_from(parts)
    if get_origin(kind) is tuple:
        if ... not in parts:
            return st.tuples(*map(anything, parts))
        return st.lists(anything(parts[0]), max_size=2).map(tuple)
    if get_origin(kind) is Mapping:
        return st.dictionaries(anything(parts[0]), anything(parts[1]), max_size=2)
    return st.one_of([anything(part) for part in parts])  # a union


def through_replica(message: ToReplica) -> ToReplica:
    """What a replica reads of a message."""
    line = TO_REPLICA.dump_json(message)
    assert b"\n" not in line  # it is a line
    return TO_REPLICA.validate_json(line)


def through_supervisor(message: ToSupervisor) -> ToSupervisor:
    """What the supervisor reads of a message."""
    line = TO_SUPERVISOR.dump_json(message)
    assert b"\n" not in line
    return TO_SUPERVISOR.validate_json(line)


@given(anything(ToReplica))
def test_whatever_a_replica_is_told_is_what_it_reads(message: ToReplica) -> None:
    assert through_replica(message) == message


@given(anything(ToSupervisor))
def test_whatever_a_replica_says_is_what_is_read(message: ToSupervisor) -> None:
    assert through_supervisor(message) == message


@pytest.mark.parametrize(
    "message",
    [
        Hello(0, 2, "{}"),
        Prepare(1, ()),
        Forget((1, 2)),
        Publish(Table(0)),
        Accept(1),
        Release(1),
        Withdraw(),
        Retire(1.5),
        Drain(0),
        Reply(1, "{}"),
        Shares({"shop": (0, 250_000), "lab": (None, 1)}),
        Reply(1, "there is none", "unknown_model"),
        Report(1),
    ],
)
def test_each_kind_keeps_its_kind_on_the_way_to_a_replica(message: ToReplica) -> None:
    read = through_replica(message)
    assert (type(read), read) == (type(message), message)


@pytest.mark.parametrize(
    "message",
    [
        Started(1),
        Prepared(1),
        Prepared(1, {"aa": "no memory"}),
        Published(1),
        Retired((1,)),
        Accepting(0),
        Released(0),
        Ask(1, "statistics"),
        Ask(1, "load", "m", "1", b'{"parameters": {}}'),
        Disagreed("m", 3, "next", "y", 1.5, {"x": (1, 0.5, True, "a")}, (1,), (1.0,), 2.5),
        Disagreed("m", 3, "next", "y", None, {}, (), (), 0.0),
        Reported(1, (BreakerTold("m", "1", "thread", "OPEN", 1.5, 20, 1.0, 0.0, None),)),
    ],
)
def test_each_kind_keeps_its_kind_on_the_way_to_the_supervisor(message: ToSupervisor) -> None:
    read = through_supervisor(message)
    assert (type(read), read) == (type(message), message)


@pytest.mark.parametrize("settings", [ModelSettings(), SETTINGS], ids=["empty", "full"])
def test_a_version_brings_all_that_it_declares(settings: ModelSettings) -> None:
    version = Assigned(replace(PROOF, found=replace(PROOF.found, settings=settings)), 7)
    read = through_replica(Prepare(1, (version,)))
    assert isinstance(read, Prepare)
    assert read.versions == (version,)
    assert read.versions[0].proof.found.settings == settings


def test_a_table_of_a_thousand_models_is_one_line_in_their_order() -> None:
    models = {
        f"model-{number}": Entry("2", {"1": f"{number:064x}", "2": "b" * 64}, {"3": "no 'x'\n"})
        for number in range(1000)
    }
    read = through_replica(Publish(Table(9, models)))
    assert isinstance(read, Publish)
    assert read.table == Table(9, models)
    assert list(read.table.models) == list(models)
    assert list(read.table.models["model-0"].served) == ["1", "2"]


WORDS = {
    "short": "why",
    "long": "begin" + "x" * (24 << 20) + "end",
    "of control characters": "\x00" * 100_000,
    "wide": "\U0001f600" * 100_000,
    "no text": "/models/\udcff" * 100_000,
}


def told(reason: str) -> list[ToReplica | ToSupervisor]:
    """Every message that can tell a reason, after it was read at the other end."""
    return [
        through_replica(Reply(1, reason, "malformed")),
        through_replica(Publish(Table(1, {"m": Entry(None, {}, {"1": reason, "2": "why"})}))),
        through_supervisor(Prepared(1, {"a": reason, "b": "why"})),
    ]


@pytest.mark.parametrize("reason", WORDS.values(), ids=WORDS)
def test_no_reason_is_too_long_to_be_told_or_cannot_be_read(reason: str) -> None:
    for message in told(reason):
        assert len(orjson.dumps(message)) <= 6 * MOST_REASON_BYTES + 200


def test_what_is_told_of_a_long_reason_is_its_beginning_and_its_end() -> None:
    reply, publish, prepared = told(WORDS["long"])
    assert isinstance(reply, Reply)
    assert isinstance(publish, Publish)
    assert isinstance(prepared, Prepared)
    assert (reply.body[:7], reply.body[-5:]) == ("beginxx", "xxend")
    assert publish.table.models["m"].unready == {"1": reply.body, "2": "why"}
    assert prepared.refused == {"a": reply.body, "b": "why"}


def test_a_message_is_cut_when_it_is_made_and_so_arrives_as_it_was() -> None:
    for reason in WORDS.values():
        said = Reply(1, reason, "malformed")
        assert through_replica(said) == said


def test_an_answer_is_no_reason_and_is_told_whole() -> None:
    body = '"' + "x" * 100_000 + '"'
    assert through_replica(Reply(1, body)) == Reply(1, body)
    assert Reply(1, body).body == body


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind": "nonsense"}',
        b"{}",
        b"null",
        b"[]",
        b"",
        b"{",
        b'{"kind": "accept"}',
        b'{"kind": "accept", "slot": "first"}',
        b'{"kind": "accepting"}',
        b'{"kind": "ask", "ticket": 1, "about": "the weather"}',
    ],
)
def test_what_is_no_message_is_refused_by_both(line: bytes) -> None:
    for adapter in (TO_REPLICA, TO_SUPERVISOR):
        with pytest.raises(ValidationError):
            adapter.validate_json(line)


def test_neither_side_takes_the_others_words_for_its_own() -> None:
    with pytest.raises(ValidationError):
        TO_REPLICA.validate_json(TO_SUPERVISOR.dump_json(Started(1)))
    with pytest.raises(ValidationError):
        TO_SUPERVISOR.validate_json(TO_REPLICA.dump_json(Withdraw()))


# routing documents

DOCUMENT = Document(
    "m",
    7,
    (Variant("stable", "1", 9500), Variant("canary", "v2.0-rc_1", 500)),
    (
        Shadow(
            "next", "3", 0.25, {"y": Comparison("numeric", 1e-9, 0.1), "z": Comparison("label")}
        ),
        Shadow("floor", "1", 1.0, {"": Comparison("top_k", k=5)}),
    ),
    (
        Rule("canary", (Matches("header", "x-tier", "beta"), Share(1)), needs_all=True),
        Rule("stable", (Share(10_000), Matches("parameter", "größe", "")), needs_all=False),
    ),
    Sticky("parameter", "user", "s\u2028alt"),
    "stable",
    "try\n2",
    "ann",
    "2026-01-01T00:00:00.000+00:00",
    (Piece(0, 1 << 31, "stable"), Piece(1 << 31, 1 << 32, "canary")),
)


def entry_through(entry: Entry) -> Entry:
    read = through_replica(Publish(Table(1, {"m": entry})))
    assert isinstance(read, Publish)
    return read.table.models["m"]


def test_a_document_reaches_a_replica_as_it_is_in_force() -> None:
    entry = Entry("1", {"1": "a"}, {"3": "no memory"}, DOCUMENT, {"stable": 4, "canary": 5})
    read = entry_through(entry)
    assert read == entry
    assert read.document == DOCUMENT


@given(documents())
def test_whatever_a_document_says_every_replica_reads_the_same(document: Document) -> None:
    read = entry_through(Entry(None, document=document)).document
    assert read == document
    assert repr(read) == repr(document)  # 1 is no 1.0, and a header is no parameter


def test_each_condition_and_each_comparison_keeps_its_kind() -> None:
    read = entry_through(Entry(None, document=DOCUMENT)).document
    assert read is not None
    kinds = [[type(one) for one in rule.conditions] for rule in read.rules]
    assert kinds == [[Matches, Share], [Share, Matches]]
    assert [one.kind for one in read.shadows[0].compare.values()] == ["numeric", "label"]


def test_elements_that_disagree_keep_their_types() -> None:
    """What was true is not told as 1, nor 1.0 as 1."""
    some = (True, 1, 1.0, "1", False, 0, -0.5, "", 1 << 60)
    read = through_supervisor(Disagreed("m", 1, "next", "y", 0.0, {"x": some}, some, some, 0.0))
    assert isinstance(read, Disagreed)
    for row in (read.asked["x"], read.told, read.said):
        assert [(type(one), one) for one in row] == [(type(one), one) for one in some]
