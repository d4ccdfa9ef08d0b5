"""Routing endpoints: what a change must say, and the order in which it is refused."""

import json
from typing import Any

import pytest

from gateway.core.lifecycle import Ready
from gateway.supervise.management.reception import MAX_BODY_BYTES
from tests.supervise.management.offices import ROUTES, FakeOffice, shadowed
from tests.supervise.management.requests import PROPOSED
from tests.supervise.management.test_guard import TOKENS
from tests.supervise.management.test_reception import get, say
from tests.wire.harness import Answer

ROLLBACK = ROUTES + b"/rollback"
AUDIT = b"/admin/v1/audit"
NOWHERE = b"/admin/v1/models/nothing/routes"
FAULTY = {"variants": [{"name": "stable", "version": "9", "weight": 50}], "reason": "", "x": 1}


def change(
    content: object = PROPOSED,
    if_match: str = '"2"',
    office: FakeOffice | None = None,
    *,
    method: str = "PUT",
    target: bytes = ROUTES,
    **more: Any,
) -> Answer:
    """Ask for a change; an empty `if_match` is none."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return say(office or FakeOffice(), method, target, body, if_match=if_match, **more)


def shares(answer: Answer) -> dict[str, tuple[str, float]]:
    return {one["name"]: (one["version"], one["weight"]) for one in answer.json["variants"]}


def revision(office: FakeOffice) -> int:
    return office.traffic.document("digits").revision


def unloadable() -> FakeOffice:
    """An office whose version 1 cannot be loaded."""
    office = FakeOffice()
    office.traffic.steered.inventory.refuses["1"] = "opset 99 is not known"
    return office


# what is in force


def test_a_document_is_shown_whole_with_its_revision_as_its_tag() -> None:
    answer = get(ROUTES)
    assert answer.headers["etag"] == '"2"'
    assert answer.json == {
        "model": "digits",
        "revision": 2,
        "variants": [{"name": "stable", "version": "2", "weight": 100}],
        "shadows": [{"name": "next", "version": "1", "sample_ratio": 0.5}],
        "rules": [],
        "sticky": None,
        "fallback": "stable",
        "reason": "compare",
        "changed_by": "ann",
        "changed_at": "2026-01-01T00:00:00.000+00:00",
    }


def test_what_may_be_old_says_why() -> None:
    office = FakeOffice()
    assert "x-gateway-stale" not in get(ROUTES, office).headers
    office.traffic.steered.store.says = "Redis cannot be asked: größer\r\nx-evil: 1"
    said = get(ROUTES, office).headers["x-gateway-stale"]
    assert said == "Redis cannot be asked: gr??er??x-evil: 1"


def test_a_host_that_stays_behind_says_of_which_revision_and_why() -> None:
    office = FakeOffice()
    office.traffic.steered.traffic.behind["digits"] = 3, "version 4 cannot be loaded"
    answer = get(ROUTES, office)
    assert answer.headers["etag"] == '"2"'
    assert answer.headers["x-gateway-stale"] == "revision 3 stays out: version 4 cannot be loaded"


def test_revisions_come_newest_first() -> None:
    kept = get(ROUTES + b"/revisions").json["revisions"]
    assert [(one["revision"], one["changed_by"]) for one in kept] == [
        (2, "ann"),
        (1, "the gateway"),
    ]


def test_shadows_are_shown_with_what_they_have_said() -> None:
    told = get(b"/admin/v1/models/digits/shadows", shadowed()).json
    assert told == {
        "shadows": [
            {
                "name": "next",
                "version": "1",
                "sample_ratio": 0.5,
                "is_noise_floor": False,
                "calls": {"agreed": 90, "disagreed": 6, "failed": 3, "dropped": 1},
                "disagreeing_rows": {"y": 6},
                "worst": [
                    {
                        "output": "y",
                        "distance": 3.0,
                        "asked": {"x": [0.5, 1.0, "cut", True]},
                        "told": [7],
                        "said": [4],
                        "at": 1_700_000_000.5,
                    }
                ],
            }
        ]
    }


@pytest.mark.parametrize("what", [b"routes", b"routes/revisions", b"shadows"])
def test_a_model_that_is_not_known_has_nothing_to_show(what: bytes) -> None:
    answer = get(b"/admin/v1/models/nothing/" + what)
    assert (answer.status, answer.code) == (404, "unknown_model")


def test_a_model_without_a_document_is_not_ready() -> None:
    office = FakeOffice()
    office.traffic.steered.inventory.have("new", "1", Ready())
    for what in (b"routes", b"routes/revisions", b"shadows"):
        answer = get(b"/admin/v1/models/new/" + what, office)
        assert (answer.status, answer.code) == (503, "not_ready")


# changes


def test_a_document_that_is_put_is_answered_as_it_is_in_force() -> None:
    office = FakeOffice()
    answer = change(office=office, token="a-secret", tokens=TOKENS)
    assert (answer.status, answer.headers["etag"]) == (200, '"3"')
    assert shares(answer) == {"stable": ("2", 95), "canary": ("1", 5)}
    assert (answer.json["reason"], answer.json["changed_by"]) == ("try 1", "alice")
    assert get(ROUTES, office).json == answer.json
    assert office.traffic.steered.inventory.loaded == ["1"]


def test_what_was_shown_may_be_put_again_with_a_reason_of_its_own() -> None:
    office = FakeOffice()
    shown = get(ROUTES, office).json
    answer = change(
        {**shown, "revision": 99, "changed_by": "eve", "reason": "again"}, office=office
    )
    assert (answer.status, answer.json["revision"]) == (200, 3)
    assert answer.json["changed_by"] == "local"


def test_what_was_shown_says_why_anew() -> None:
    office = FakeOffice()
    answer = change(get(ROUTES, office).json, office=office)
    assert (answer.status, revision(office)) == (400, 2)
    assert [one["path"] for one in answer.json["faults"]] == ["$.reason"]


def test_a_document_is_deleted_for_a_reason() -> None:
    office = FakeOffice()
    answer = change({"reason": "anew"}, method="DELETE", office=office)
    assert (answer.status, answer.headers["etag"]) == (200, '"3"')
    assert shares(answer) == {"stable": ("2", 100)}
    assert (answer.json["shadows"], answer.json["reason"]) == ([], "anew")


def roll_back(office: FakeOffice, content: object, if_match: str = "") -> Answer:
    return change(content, if_match, office, method="POST", target=ROLLBACK)


def test_a_rollback_goes_to_the_revision_before_or_to_the_one_it_says() -> None:
    office = FakeOffice()
    answer = roll_back(office, {"reason": "back"})
    assert (answer.status, answer.json["revision"], answer.json["shadows"]) == (200, 3, [])
    answer = roll_back(office, {"reason": "no", "revision": 2}, '"3"')
    assert (answer.json["revision"], len(answer.json["shadows"])) == (4, 1)
    assert (answer.json["reason"], answer.headers["etag"]) == ("no", '"4"')


def test_a_rollback_that_names_another_revision_than_the_current_one_is_refused() -> None:
    office = FakeOffice()
    answer = roll_back(office, {"reason": "back"}, '"1"')
    assert (answer.status, answer.json["current"], revision(office)) == (412, 2, 2)


def test_a_rollback_to_what_is_not_kept_is_a_faulty_document() -> None:
    answer = roll_back(FakeOffice(), {"reason": "back", "revision": 7})
    assert (answer.status, answer.code) == (400, "invalid_document")
    assert [one["path"] for one in answer.json["faults"]] == ["$.revision"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b'{"reason": ""}', b'{"reason": " \\n"}', b'{"reason": 1}', b"{", b'["reason"]',
        b'{"reason": null}', b'{"reason": "x", "more": 1}', b'{"reason": "%s"}' % (b"x" * 1001),
        b'{"reason": "x\\u0000"}', b'{"reason": "\\u0085x"}', b'{"reason": "x\\n\\u007f"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize(("method", "target"), [("DELETE", ROUTES), ("POST", ROLLBACK)])
def test_a_change_without_a_reason_is_400(method: str, target: bytes, body: bytes) -> None:
    office = FakeOffice()
    answer = change(body, method=method, target=target, office=office)
    assert (answer.status, answer.code, revision(office)) == (400, "malformed", 2)
    assert answer.json["error"].startswith("$")


@pytest.mark.parametrize("wanted", [0, -1, "1", 1.5, True])
def test_a_rollback_s_revision_is_a_whole_number_from_1_on(wanted: object) -> None:
    answer = roll_back(FakeOffice(), {"reason": "back", "revision": wanted})
    assert (answer.status, answer.code) == (400, "malformed")
    assert answer.json["error"].startswith("$.revision")


# which revision it changes


@pytest.mark.parametrize(
    "field", ['"2"', "*", " * ", '"1", "2"', '"2","7"', 'W/"1", "2"', '"x,y", "2"']
)
def test_a_change_is_made_where_one_tag_is_the_current_one(field: str) -> None:
    assert change(if_match=field).status == 200


@pytest.mark.parametrize(
    "field",
    ['"1"', '"3"', 'W/"2"', "2", '"02"', '"2', '"*"', '" 2"', '"1", W/"2"', "nonsense", ","],
)
def test_a_change_of_another_revision_is_412_and_is_told_the_current_one(field: str) -> None:
    office = FakeOffice()
    answer = change(if_match=field, office=office)
    assert (answer.status, answer.code) == (412, "revision_conflict")
    assert (answer.json["current"], answer.headers["etag"]) == (2, '"2"')
    assert (revision(office), office.traffic.steered.inventory.loaded) == (2, [])


def test_who_is_overtaken_is_412_though_it_named_what_it_had_read() -> None:
    office = FakeOffice()
    kept = office.traffic.steered.store.kept["digits"]
    kept.append(kept[-1])  # elsewhere; nobody has told us yet
    answer = change(office=office)
    assert (answer.status, answer.json["current"]) == (412, 2)
    assert revision(office) == 2


# the order of refusals


def test_who_asks_is_looked_at_first() -> None:
    everything: dict[str, Any] = {
        "content": b"{",
        "if_match": "",
        "target": NOWHERE,
        "tokens": TOKENS,
    }
    assert change(**everything).status == 401
    assert change(**everything, token="v-secret").status == 403
    assert change(**everything, token="a-secret").status == 404


def test_a_model_that_is_not_known_is_said_before_anything_about_the_change() -> None:
    for field in ("", '"1"', "*"):
        answer = change(b"{", field, target=NOWHERE)
        assert (answer.status, answer.code) == (404, "unknown_model")


def test_what_names_no_revision_is_428_whatever_else_is_wrong() -> None:
    for content in (b"{", FAULTY, PROPOSED):
        answer = change(content, "", unloadable())
        assert (answer.status, answer.code) == (428, "precondition_required")
        assert "if-match" in answer.json["error"]


def test_what_names_another_revision_is_412_whatever_it_proposes() -> None:
    for content in (b"{", FAULTY, PROPOSED):
        assert change(content, '"1"', unloadable()).status == 412


def test_a_faulty_document_is_400_though_it_could_not_be_prepared_either() -> None:
    office = unloadable()
    raw = {**PROPOSED, "reason": " "}
    assert change(raw, office=office).status == 400
    assert office.traffic.steered.inventory.loaded == []


def test_what_cannot_be_prepared_is_409_and_nothing_has_changed() -> None:
    office = unloadable()
    answer = change(office=office)
    assert (answer.status, answer.code) == (409, "cannot_prepare")
    assert answer.json["error"] == "opset 99 is not known"
    assert (revision(office), len(office.traffic.steered.store.kept["digits"])) == (2, 2)


def test_a_faulty_document_is_told_all_its_faults() -> None:
    answer = change(FAULTY)
    assert (answer.status, answer.code) == (400, "invalid_document")
    paths = [one["path"] for one in answer.json["faults"]]
    assert set(paths) == {"$.x", "$.variants", "$.variants[0].version", "$.reason"}
    assert all(one["fault"] for one in answer.json["faults"])
    assert "and 1 more" in answer.json["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"\xff", b"[" * 50 + b"]" * 50])
def test_what_is_no_json_is_400(body: bytes) -> None:
    answer = change(body)
    assert (answer.status, answer.code) == (400, "malformed")


@pytest.mark.parametrize("content", [[], 1, "text", None])
def test_what_is_json_and_no_document_is_400_at_its_root(content: object) -> None:
    answer = change(content)
    assert (answer.status, [one["path"] for one in answer.json["faults"]]) == (400, ["$"])


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-1", b"true", b'"95"'])
def test_a_weight_is_a_number_and_nothing_else(number: bytes) -> None:
    body = json.dumps(PROPOSED).encode().replace(b"95", number)
    answer = change(body)
    assert (answer.status, answer.code) == (400, "invalid_document")
    assert answer.json["faults"][0]["path"] == "$.variants[0].weight"


def test_what_is_quoted_of_a_faulty_document_is_text_whatever_it_holds() -> None:
    answer = change(b'{"variants": [], "reason": "x", "\\ud800": 1}')
    assert (answer.status, answer.code) in {(400, "invalid_document"), (400, "malformed")}


# the port's own bounds


@pytest.mark.parametrize(("method", "target"), [("PUT", ROUTES), ("DELETE", ROUTES)])
def test_a_page_of_another_origin_changes_nothing(method: str, target: bytes) -> None:
    office = FakeOffice()
    for field in ({"origin": "http://evil.org"}, {"host": "evil.org"}):
        answer = change(method=method, target=target, office=office, **field)
        assert (answer.status, answer.code, revision(office)) == (403, "forbidden", 2)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_change_that_is_no_json_by_its_type_is_415(method: str, kind: str) -> None:
    office = FakeOffice()
    answer = change(method=method, office=office, content_type=kind)
    assert (answer.status, revision(office)) == (415, 2)


def test_another_method_is_told_all_that_there_are() -> None:
    for method in ("POST", "PATCH", "OPTIONS"):
        answer = say(FakeOffice(), method, ROUTES)
        assert answer.status == (204 if method == "OPTIONS" else 405)
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "PUT", "DELETE"}
    head = say(FakeOffice(), "HEAD", ROUTES)
    assert (head.status, head.headers["etag"], head.body) == (200, '"2"', b"")


def test_a_document_too_large_is_413() -> None:
    office = FakeOffice()
    answer = change({**PROPOSED, "x": "x" * MAX_BODY_BYTES}, office=office)
    assert (answer.status, answer.code, revision(office)) == (413, "too_large", 2)


def test_a_store_that_cannot_be_asked_is_503_and_nothing_has_changed() -> None:
    office = FakeOffice()
    office.traffic.steered.store.is_away = True
    answer = change(office=office)
    assert (answer.status, answer.code, revision(office)) == (503, "not_ready", 2)
    assert "retry-after" in answer.headers
    assert get(ROUTES, office).status == 200
    assert get(ROUTES + b"/revisions", office).status == 503


# the audit


def test_the_audit_says_who_changed_what_when_and_why() -> None:
    office = FakeOffice()
    change(office=office, token="a-secret", tokens=TOKENS)
    newest, *older = get(AUDIT, office).json["entries"]
    assert newest == {
        "at": office.traffic.document("digits").changed_at,
        "who": "alice",
        "model": "digits",
        "action": "put",
        "from": 2,
        "to": 3,
        "reason": "try 1",
    }
    assert [(one["action"], one["from"], one["to"]) for one in older] == [
        ("put", 1, 2),
        ("first_sight", None, 1),
    ]


def test_the_audit_is_cut_and_of_one_model_where_that_is_asked_for() -> None:
    assert len(get(AUDIT + b"?limit=1").json["entries"]) == 1
    assert len(get(AUDIT + b"?model=digits").json["entries"]) == 2
    assert get(AUDIT + b"?model=nothing&limit=1000").json["entries"] == []
    assert len(get(AUDIT + b"?other=1").json["entries"]) == 2


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "1.5", "", "x", "%C2%B2", "9" * 20, "%201"])
def test_a_limit_that_is_none_is_400(limit: str) -> None:
    answer = get(AUDIT + b"?limit=" + limit.encode())
    assert (answer.status, answer.code) == (400, "malformed")
    assert "limit" in answer.json["error"]


def test_an_audit_that_cannot_be_read_is_503() -> None:
    office = FakeOffice()
    office.traffic.steered.audit.is_away = True
    answer = get(AUDIT, office)
    assert (answer.status, answer.code) == (503, "not_ready")
