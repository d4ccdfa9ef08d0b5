"""Every bad request of the tables gets its 4xx, and the next good one its answer."""

import pytest

from tests.badinput.bodies import BODIES
from tests.badinput.dialects import DIALECTS
from tests.badinput.framing import FRAMING
from tests.badinput.rows import LENGTH, Row
from tests.badinput.targets import TARGETS
from tests.badinput.tensors import TENSORS
from tests.server import Answer, Server, infer, tensor

TABLES = {
    "framing": FRAMING,
    "target": TARGETS,
    "body": BODIES,
    "tensor": TENSORS,
    "dialect": DIALECTS,
}
ROWS = [row for rows in TABLES.values() for row in rows]
IDS = [f"{table}: {row.sentence}" for table, rows in TABLES.items() for row in rows]

each_row = pytest.mark.parametrize("row", ROWS, ids=IDS)
VALUES = [1.0, 2.0, 3.0, 4.0]
GOOD = infer("echo", tensor("x", "FP32", [1, 4], VALUES))


def check_refusal(answer: Answer, row: Row) -> None:
    assert (answer.status, answer.json["code"]) == (row.status, row.code)
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) == {"error", "code", "request_id"}
    assert all(isinstance(text, str) and text for text in answer.json.values())
    assert answer.headers["x-request-id"] == answer.json["request_id"]
    error = answer.json["error"].lower()
    assert [word for word in row.words if word.lower() not in error] == []
    assert ("allow" in answer.headers) == (row.status == 405)
    assert answer.closes == (not row.keeps)


def check_good(answer: Answer) -> None:
    assert answer.outputs == {"y": VALUES}


@each_row
def test_a_bad_request_is_refused_and_the_next_good_one_answered(server: Server, row: Row) -> None:
    with server.connect() as wire:
        check_refusal(wire.ask(row.request), row)
        if row.keeps:
            check_good(wire.ask(GOOD))
        else:
            assert wire.is_ended()
    check_good(server.ask(GOOD))


def test_the_tables_hold_at_least_150_requests_and_none_twice() -> None:
    assert len({row.request for row in ROWS}) == len(ROWS) == len(set(IDS)) >= 150


@pytest.mark.parametrize("table", ["body", "tensor"])
def test_a_refused_body_is_told_where_its_fault_lies(server: Server, table: str) -> None:
    errors = [server.ask(row.request).json["error"] for row in TABLES[table]]
    places = ("$", LENGTH, "output 'y'")
    assert [text for text in errors if not any(place in text for place in places)] == []


def test_after_all_of_it_the_server_has_nothing_to_complain_of(server: Server) -> None:
    assert server.complaints() == ""
