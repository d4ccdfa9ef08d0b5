"""Reception: the whole app, asked as any ASGI server would ask it."""

import asyncio
import json
import logging
from typing import Any

import pytest

from gateway.errors import Draining, GatewayError, NotReady, Rejected
from gateway.supervise.management.endpoints import Endpoint
from gateway.supervise.management.guard import Guard, Role
from gateway.supervise.management.reception import MAX_BODY_BYTES, Ids, Reception
from gateway.supervise.management.routes import Answers, Settings
from tests.clock import play
from tests.supervise.management.offices import (
    DIGITS,
    NO_PROOF,
    TOLD,
    FakeOffice,
    Replica,
    Version,
)
from tests.supervise.management.requests import body_of, fields_of, target_of
from tests.supervise.management.test_guard import TOKENS
from tests.wire.asgi import Client, ask, part, scope
from tests.wire.harness import Answer, turns

LOAD = b"/admin/v1/models/digits/versions/1/load"
UNLOAD = b"/admin/v1/models/digits/versions/2/unload"
ENDPOINTS = Answers(FakeOffice(), Settings()).endpoints


def reception(office: FakeOffice, tokens: tuple[str, ...] = ()) -> Reception:
    return Reception(Answers(office, Settings()), Guard(tokens, ()), Ids())


def headers(token: str | None = None, **fields: str) -> list[tuple[bytes, bytes]]:
    named = {"host": "localhost", "content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in fields.items()
    }
    if token is not None:
        named["authorization"] = f"Bearer {token}"
    return [(name.encode(), value.encode()) for name, value in named.items() if value]


def say(
    office: FakeOffice,
    method: str,
    target: bytes,
    body: bytes = b"",
    *,
    token: str | None = None,
    tokens: tuple[str, ...] = (),
    **fields: str,
) -> Answer:
    """Ask once, in virtual time."""
    app = reception(office, tokens)
    return play(lambda: ask(app, method, target, body, headers(token, **fields)))


def get(target: bytes, office: FakeOffice | None = None) -> Answer:
    return say(office or FakeOffice(), "GET", target)


def obeyed(row: Endpoint, office: FakeOffice | None = None, **more: Any) -> Answer:
    """Ask an endpoint for what it does, where whoever asks may."""
    said = {**fields_of(row), **more}
    return say(office or FakeOffice(), row.method, target_of(row), body_of(row), **said)


def test_models_are_shown_with_their_versions() -> None:
    two = {"version": "2", "state": "READY", "reason": "", "is_default": True}
    two |= {"digest": "ab" * 32, "executor": "inline", "max_batch_size": 64}
    one = {"version": "1", "state": "UNAVAILABLE", "reason": "not loaded", "is_default": False}
    one |= {"digest": None, "executor": None, "max_batch_size": None}
    model = {"name": "digits", "default": "2", "versions": [one, two]}
    assert get(b"/admin/v1/models").json == {"models": [model]}
    assert get(b"/admin/v1/models/digits").json == model


def test_a_model_without_a_default_says_so() -> None:
    office = FakeOffice((Version("a"), Version("b", is_default=True)))
    models = get(b"/admin/v1/models", office).json["models"]
    assert [(one["name"], one["default"]) for one in models] == [("a", None), ("b", "1")]


def test_replicas_are_shown_with_the_time_of_their_start() -> None:
    office = FakeOffice(processes=(Replica(), Replica(1, 5, "starting", 3, 0.0)))
    assert get(b"/admin/v1/replicas", office).json == {
        "replicas": [
            {
                "slot": 0, "pid": 4711, "state": "serving", "restarts": 0,
                "started_at": "2023-11-14T22:13:20+00:00",
            },
            {
                "slot": 1, "pid": 5, "state": "starting", "restarts": 3,
                "started_at": "1970-01-01T00:00:00+00:00",
            },
        ]
    }  # fmt: skip


def test_breakers_are_shown_with_their_replica_and_when_they_are_tried_again() -> None:
    shown = get(b"/admin/v1/breakers", FakeOffice(told=TOLD)).json
    assert shown["silent"] == [2]
    assert shown["breakers"][0] == {
        "model": "digits", "version": "2", "executor": "thread", "replica": 0, "pid": 4711,
        "state": "OPEN", "since": "2023-11-14T22:13:20.500+00:00", "calls": 24,
        "failure_ratio": 0.75, "slow_ratio": 0.0, "next_try": "2023-11-14T22:13:25.250+00:00",
    }  # fmt: skip
    assert [one["next_try"] for one in shown["breakers"][1:]] == [None]


def test_telemetry_is_the_offices_word_for_word() -> None:
    assert get(b"/admin/v1/telemetry").json == {"epoch": "e", "rows": [1, 2]}


def test_metrics_come_in_the_format_that_was_asked_for() -> None:
    answer = say(FakeOffice(), "GET", b"/metrics", accept="application/openmetrics-text")
    assert answer.body == b"# asked for application/openmetrics-text\n"
    assert answer.headers["content-type"] == "text/plain; version=1.0.0"


@pytest.mark.parametrize("refusal", [NotReady, Draining])
def test_readiness_is_503_with_the_reason(refusal: type[Rejected]) -> None:
    office = FakeOffice(why_unready=refusal("no replica serves yet"))
    answer = get(b"/readyz", office)
    assert (answer.status, answer.code) == (503, refusal.code)
    assert answer.json["error"] == "no replica serves yet"
    assert int(answer.headers["retry-after"]) >= 1
    assert "no replica serves yet" in get(b"/", office).body.decode()
    assert get(b"/livez", office).json == {"live": True}
    assert get(b"/readyz").json == {"ready": True}


def test_a_load_is_answered_with_what_the_model_became() -> None:
    office = FakeOffice()
    answer = say(office, "POST", LOAD, b'{"reason": "better"}')
    assert office.obeyed == [("load", "digits", "1")]
    assert [one["state"] for one in answer.json["versions"]] == ["READY", "READY"]


def test_an_unload_is_answered_with_what_the_model_became() -> None:
    office = FakeOffice()
    answer = say(office, "POST", UNLOAD, b"{}")
    assert office.obeyed == [("unload", "digits", "2")]
    assert [one["state"] for one in answer.json["versions"]] == ["UNAVAILABLE", "UNAVAILABLE"]


@pytest.mark.parametrize("what", ["load", "unload"])
def test_a_change_without_a_version_leaves_the_choice_to_the_office(what: str) -> None:
    office = FakeOffice()
    say(office, "POST", f"/admin/v1/models/digits/{what}".encode(), b"{}")
    assert office.obeyed == [(what, "digits", None)]


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        (b"/admin/v1/models/nothing/versions/1/load", 404, "unknown_model"),
        (b"/admin/v1/models/digits/versions/9/load", 404, "unknown_version"),
    ],
)
def test_what_is_not_known_is_404(target: bytes, status: int, code: str) -> None:
    answer = say(FakeOffice(), "POST", target, b"{}")
    assert (answer.status, answer.code) == (status, code)


def test_a_model_that_is_not_known_cannot_be_read() -> None:
    answer = get(b"/admin/v1/models/nothing")
    assert (answer.status, answer.code) == (404, "unknown_model")


def test_a_version_that_cannot_be_loaded_is_409_with_its_reason() -> None:
    answer = say(FakeOffice(refusal=NO_PROOF), "POST", LOAD, b"{}")
    assert (answer.status, answer.code) == (409, "cannot_prepare")
    assert answer.json["error"] == str(NO_PROOF)


def test_names_are_decoded_once_after_the_path_was_cut() -> None:
    office = FakeOffice((Version("a/b %41", "1"),))
    assert get(b"/admin/v1/models/a%2Fb%20%2541", office).json["name"] == "a/b %41"
    assert get(b"/admin/v1/models/a/b", office).code == "not_found"
    assert get(b"/admin/v1/models/%zz", office).code == "malformed"


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", b"/nowhere", 404, "not_found"),
        ("GET", b"/admin/v1/models/", 404, "not_found"),
        ("GET", b"/metrics/", 404, "not_found"),
        ("POST", b"/v2/models/digits/infer", 404, "not_found"),
        ("POST", b"/metrics", 405, "method_not_allowed"),
        ("GET", LOAD, 405, "method_not_allowed"),
        ("DELETE", b"/admin/v1/models/digits", 405, "method_not_allowed"),
    ],
)
def test_what_is_no_endpoint_is_refused_in_our_form(
    method: str, target: bytes, status: int, code: str
) -> None:
    answer = say(FakeOffice(), method, target)
    assert (answer.status, answer.code) == (status, code)
    assert set(answer.json) == {"error", "code", "request_id"}
    assert ("allow" in answer.headers) == (status == 405)


def test_options_names_the_methods() -> None:
    answer = say(FakeOffice(), "OPTIONS", LOAD)
    assert (answer.status, answer.headers["allow"], answer.body) == (204, "POST", b"")


def test_an_error_carries_the_callers_request_id() -> None:
    answer = say(FakeOffice(), "GET", b"/nowhere", x_request_id="abc-1")
    assert answer.json["request_id"] == "abc-1"


# who may


OPEN_TO_ALL = [row for row in ENDPOINTS if row.role is None]
READS = [row for row in ENDPOINTS if row.role is Role.VIEWER]
CHANGES = [row for row in ENDPOINTS if row.role is Role.OPERATOR]


def test_every_change_needs_an_operator_and_only_to_get_is_no_change() -> None:
    assert [row.path for row in OPEN_TO_ALL] == ["/metrics", "/livez", "/readyz"]
    assert [row for row in ENDPOINTS if (row.method != "GET") != (row in CHANGES)] == []
    assert {row.method for row in CHANGES} == {"POST", "PUT", "DELETE"}


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: f"{row.method} {row.path}")
def test_each_endpoint_lets_in_whom_its_row_says(row: Endpoint) -> None:
    who = (None, "wrong", "v-secret", "a-secret")
    got = {one: obeyed(row, token=one, tokens=TOKENS).status for one in who}
    expected = {
        None: {None: 200, "wrong": 200, "v-secret": 200, "a-secret": 200},
        Role.VIEWER: {None: 401, "wrong": 401, "v-secret": 200, "a-secret": 200},
        Role.OPERATOR: {None: 401, "wrong": 401, "v-secret": 403, "a-secret": 200},
    }[row.role]
    assert got == expected


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: f"{row.method} {row.path}")
def test_without_tokens_everything_is_allowed_on_this_machine(row: Endpoint) -> None:
    assert obeyed(row).status == 200


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: f"{row.method} {row.path}")
@pytest.mark.parametrize(("host", "origin"), [("evil.org", ""), ("localhost", "http://evil.org")])
def test_without_tokens_a_strangers_page_is_shown_nothing_but_probes(
    row: Endpoint, host: str, origin: str
) -> None:
    answer = obeyed(row, host=host, origin=origin)
    assert answer.status == (200 if row.path in ("/livez", "/readyz") else 403)
    assert b"digits" not in answer.body


@pytest.mark.parametrize("row", OPEN_TO_ALL, ids=lambda row: row.path)
def test_with_tokens_what_is_open_to_all_is_so_under_every_name(row: Endpoint) -> None:
    answer = obeyed(row, tokens=TOKENS, host="10.1.2.3:8081")
    assert answer.status == 200


def test_who_is_refused_changes_nothing() -> None:
    office = FakeOffice()
    say(office, "POST", LOAD, b"{}", token="v-secret", tokens=TOKENS)
    say(office, "POST", LOAD, b"{}", host="evil.org")
    say(office, "POST", LOAD, b"{}", origin="http://evil.org")
    say(office, "POST", LOAD, b"{}", content_type="text/plain")
    say(office, "POST", LOAD, b"nonsense")
    assert (office.begun, office.known) == (0, DIGITS)


def test_a_refusal_without_a_token_says_what_is_wanted() -> None:
    answer = say(FakeOffice(), "GET", b"/admin/v1/models", tokens=TOKENS)
    assert answer.code == "unauthenticated"
    assert answer.headers["www-authenticate"] == 'Bearer realm="gateway"'


def test_a_browser_is_told_that_it_may_ask_for_the_token() -> None:
    answer = say(FakeOffice(), "GET", b"/", tokens=TOKENS)
    assert "Bearer" in answer.headers["www-authenticate"]
    assert 'Basic realm="gateway"' in answer.headers["www-authenticate"]


# bounds


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"reason": 1}', b'{"raeson": "x"}', b"\xff", b'{"reason": "%01001d"}' % 0],
    ids=["empty", "list", "torn", "number", "unknown member", "no text", "long"],
)
def test_a_body_that_cannot_be_read_is_400(body: bytes) -> None:
    office = FakeOffice()
    answer = say(office, "POST", LOAD, body)
    assert (answer.status, answer.code) == (400, "malformed")
    assert answer.json["error"].startswith("$")
    assert office.obeyed == []


def test_a_body_too_large_is_413_before_it_is_whole() -> None:
    async def scene() -> tuple[Any, int]:
        app = reception(FakeOffice())
        half = b"x" * (MAX_BODY_BYTES // 2 + 1)
        client = Client(*(part(half, more=True) for _ in range(9)))
        await app(scope(LOAD.decode(), headers=headers()), client.receive, client.send)
        return client.status, len(client.messages)

    assert play(scene) == (413, 7)


def test_a_change_that_takes_too_long_is_504_and_undone() -> None:
    async def scene() -> tuple[Answer, FakeOffice]:
        office = FakeOffice(gate=asyncio.Event())
        return await ask(reception(office), "POST", LOAD, b"{}", headers()), office

    answer, office = play(scene)
    assert (answer.status, answer.code) == (504, "deadline_exceeded")
    assert (office.cancelled, office.obeyed) == (1, [])


def test_changes_may_not_pile_up() -> None:
    async def scene() -> tuple[Answer, list[int]]:
        office = FakeOffice(gate=asyncio.Event())
        app = reception(office)
        asked = [asyncio.create_task(ask(app, "POST", LOAD, b"{}", headers())) for _ in range(16)]
        await turns()
        assert (await ask(app, "GET", b"/livez")).status == 200
        refused = await ask(app, "POST", LOAD, b"{}", headers())
        assert office.gate is not None
        office.gate.set()
        done = [(await one).status for one in asked]
        done.append((await ask(app, "POST", LOAD, b"{}", headers())).status)
        return refused, done

    refused, done = play(scene)
    assert (refused.status, refused.code) == (429, "overloaded")
    assert done == [200] * 17


def test_what_nobody_foresaw_tells_a_client_nothing() -> None:
    """The server behind it logs what Starlette raises again."""
    client = Client(part(b"{}"))
    app = reception(FakeOffice(refusal=RuntimeError("secret")))
    with pytest.raises(RuntimeError):
        play(lambda: app(scope(LOAD.decode(), headers=headers()), client.receive, client.send))
    assert client.status == 500
    assert json.loads(client.body)["error"] == "internal error"


# what stays behind


def test_a_change_is_logged_with_who_and_why_on_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        body = json.dumps({"reason": "a\nb"}).encode()
        say(FakeOffice(), "POST", LOAD, body, token="a-secret", tokens=TOKENS)
        say(FakeOffice(), "POST", b"/admin/v1/models/digits/unload", b"{}")
    assert caplog.messages == [
        "alice asks to load 'digits' version '1': 'a\\nb'",
        "local asks to unload 'digits': no reason given",
    ]


def test_no_answer_is_kept_by_a_cache_or_taken_for_something_else() -> None:
    for row in ENDPOINTS:
        answer = obeyed(row)
        assert answer.headers["cache-control"] == "no-store", row.path
        assert answer.headers["x-content-type-options"] == "nosniff", row.path


def test_pages_forbid_scripts_and_frames() -> None:
    for target in (b"/", b"/docs"):
        policy = get(target).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy


def test_a_refusal_is_never_a_success() -> None:
    for error in (NO_PROOF, GatewayError("x")):
        assert say(FakeOffice(refusal=error), "POST", LOAD, b"{}").status >= 400
