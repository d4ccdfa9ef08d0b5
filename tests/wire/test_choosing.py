"""Choosing: which arm answers a request, by the lane and by any ASGI server alike."""

import asyncio
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.core.documents import Document, Matches, Rule, Share, Sticky
from gateway.errors import ModelFailed
from gateway.types import Call
from gateway.wire.codings import Coding
from gateway.wire.decode import Limits
from gateway.wire.exchange import Exchange
from gateway.wire.intake import Intake, Policy
from gateway.wire.paths import Dialect, InferTarget
from gateway.wire.terms import NO_TERMS, Terms
from gateway.wire.unpacking import Then
from tests.clock import play
from tests.fakes import Tallied
from tests.wire.asgi import ask as ask_by_asgi
from tests.wire.bodies import version, with_blobs
from tests.wire.harness import (
    Answer,
    Desk,
    Echo,
    Line,
    answers,
    monotonic,
    numbers,
    port_of,
    request,
    turns,
)
from tests.wire.splitting import (
    FIRST,
    KEYS,
    SECOND,
    SPLIT,
    TO_CANARY,
    TO_STABLE,
    Fork,
    unit_of,
)

BY_HEADER = replace(SPLIT, sticky=Sticky("header", "x-user-id", "salt"))
BY_PARAMETER = replace(SPLIT, sticky=Sticky("parameter", "user", "salt"))
TEAM = Rule("canary", (Matches("header", "x-team", "fraud"),), needs_all=True)
TIER = Rule("canary", (Matches("parameter", "tier", "gold"),), needs_all=True)
TARGET = InferTarget("m", None)


class Crossing:
    """An intake before a desk whose model has a document; chance says `drawn`."""

    def __init__(
        self,
        document: Document = SPLIT,
        drawn: int = TO_STABLE,
        absent: str | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.draws = 0
        self.drawn = drawn
        self.desk = Desk(FIRST, SECOND, draw=self.draw)
        self.fork = Fork(self.desk, document, absent)
        self.tally = Tallied()
        self.intake = Intake(self.desk, policy or Policy(), self.tally, lambda: 100.25)

    def draw(self) -> int:
        self.draws += 1
        return self.drawn

    def ask(
        self,
        body: bytes | None = None,
        terms: Terms = NO_TERMS,
        target: InferTarget = TARGET,
        **fields: str,
    ) -> Exchange:
        """Start a request; `fields` are its headers."""
        exchange = Exchange(b"r-1", lambda _: None)
        headers = [
            (name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()
        ]
        self.intake.start(
            exchange, terms, target, numbers(1, 2) if body is None else body, 100.0, headers
        )
        return exchange

    def variant(self, *given: Any, **more: Any) -> str | None:
        """Who a request is given to."""
        exchange = self.ask(*given, **more)
        assert exchange.call is not None, exchange.body
        return exchange.call.arm.variant

    def refusal(self, *given: Any, **more: Any) -> Answer:
        exchange = self.ask(*given, **more)
        assert exchange.call is None
        (answer,) = answers(exchange.render(closes=False))
        return answer


def saying(**given: object) -> bytes:
    """A request of DOUBLE with parameters."""
    return orjson.dumps(orjson.loads(numbers(1, 2)) | {"parameters": given})


def in_binary(**given: object) -> tuple[bytes, Terms]:
    """The same with its tensor as bytes."""
    size = {"binary_data_size": 8}
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": size}
    body, length = with_blobs({"inputs": [tensor], "parameters": given}, bytes(8))
    return body, Terms(json_length=length)


# weights, units and rules


@pytest.mark.parametrize(("drawn", "variant"), [(TO_STABLE, "stable"), (TO_CANARY, "canary")])
def test_who_has_no_unit_is_drawn_by_weight_once(drawn: int, variant: str) -> None:
    crossing = Crossing(drawn=drawn)
    assert crossing.variant() == variant
    assert crossing.draws == 1


@pytest.mark.parametrize("variant", ["stable", "canary"])
def test_a_unit_is_always_given_to_the_same_variant(variant: str) -> None:
    crossing = Crossing(BY_HEADER)
    unit = unit_of(variant)
    assert {crossing.variant(x_user_id=unit) for _ in range(5)} == {variant}
    assert crossing.draws == 0


@pytest.mark.parametrize("fields", [{}, {"x_user_id": ""}, {"x_user": "1"}])
def test_who_does_not_say_who_he_is_is_drawn(fields: Mapping[str, str]) -> None:
    assert Crossing(BY_HEADER, TO_CANARY).variant(**fields) == "canary"


@pytest.mark.parametrize(
    ("fields", "variant"),
    [({"x_team": "fraud"}, "canary"), ({"x_team": "Fraud"}, "stable"), ({}, "stable")],
)
def test_a_rule_goes_before_the_weights(fields: Mapping[str, str], variant: str) -> None:
    assert Crossing(replace(SPLIT, rules=(TEAM,))).variant(**fields) == variant


def test_a_rule_goes_before_the_unit() -> None:
    crossing = Crossing(replace(BY_HEADER, rules=(TEAM,)))
    assert crossing.variant(x_team="fraud", x_user_id=unit_of("stable")) == "canary"


def test_a_share_of_a_rule_is_drawn_for_itself() -> None:
    rule = Rule("canary", (Share(10_000), TEAM.conditions[0]), needs_all=True)
    crossing = Crossing(replace(SPLIT, rules=(rule,)), TO_STABLE)
    assert crossing.variant(x_team="fraud") == "canary"
    assert crossing.variant() == "stable"


# by what the body says


@pytest.mark.parametrize("make", [lambda **given: (saying(**given), NO_TERMS), in_binary])
@pytest.mark.parametrize("variant", ["stable", "canary"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_unit_in_the_parameters_is_found_in_every_kind_of_body(
    make: Callable[..., tuple[bytes, Terms]], variant: str, packed: bool
) -> None:
    body, terms = make(user=unit_of(variant))
    if packed:
        body, terms = gzip.compress(body), replace(terms, coding=Coding.GZIP)
    crossing = Crossing(BY_PARAMETER)
    exchange = crossing.ask(body, terms)
    assert exchange.call is not None
    assert exchange.call.arm.variant == variant
    assert exchange.call.rows == 1
    assert crossing.draws == 0


@pytest.mark.parametrize(("tier", "variant"), [("gold", "canary"), ("tin", "stable")])
def test_a_rule_may_ask_for_a_parameter(tier: str, variant: str) -> None:
    crossing = Crossing(replace(SPLIT, rules=(TIER,)))
    assert crossing.variant(saying(tier=tier)) == variant
    body, terms = in_binary(tier=tier)
    assert crossing.variant(body, terms) == variant


@pytest.mark.parametrize(
    ("body", "terms"),
    [
        (numbers(1, 2), NO_TERMS),
        (saying(), NO_TERMS),
        (saying(other="user-1"), NO_TERMS),
        (bytes(8), Terms(json_length=0)),  # nothing but a tensor
        (gzip.compress(bytes(8)), Terms(json_length=0, coding=Coding.GZIP)),
    ],
)
def test_whose_parameters_say_nothing_is_drawn(body: bytes, terms: Terms) -> None:
    crossing = Crossing(BY_PARAMETER, TO_CANARY)
    assert crossing.variant(body, terms) == "canary"
    assert crossing.draws == 1


def test_another_dialect_has_no_parameters_and_is_drawn() -> None:
    terms = Terms(dialect=Dialect.V1)
    target = InferTarget("m", None, Dialect.V1)
    crossing = Crossing(BY_PARAMETER, TO_CANARY)
    assert crossing.variant(b'{"instances":[[1,2]]}', terms, target) == "canary"


def test_a_request_that_was_read_for_its_parameters_is_read_as_any_other() -> None:
    body = orjson.dumps(
        orjson.loads(saying(user="user-1", timeout=250_000, priority=1)) | {"id": "me"}
    )
    exchange = Crossing(BY_PARAMETER).ask(body)
    plain = Crossing().ask(body)
    assert exchange.call is not None
    assert plain.call is not None
    assert exchange.id == plain.id == "me"
    for name in ("payloads", "rows", "shapes", "deadline", "priority", "arrived"):
        assert getattr(exchange.call, name) == getattr(plain.call, name)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"parameters":[]}', saying(user=[1])])
def test_a_body_that_cannot_be_read_is_refused_before_an_arm_is_chosen(body: bytes) -> None:
    crossing = Crossing(BY_PARAMETER)
    answer = crossing.refusal(body)
    assert (answer.status, answer.code) == (400, "malformed")
    assert "x-gateway-variant" not in answer.headers
    assert crossing.tally.codes() == ["malformed"]


def many_rows(rows: int) -> bytes:
    tensor = {"name": "x", "shape": [rows, 2], "datatype": "FP32", "data": [0.25] * (2 * rows)}
    return orjson.dumps({"inputs": [tensor], "parameters": {"user": unit_of("canary")}})


WIDE = replace(
    version(("x", "FP32", (-1, 2)), outputs=(("y", "FP32", (-1, 2)),), max_batch_rows=512),
    version="2",
)


def test_a_body_may_be_as_large_as_the_variant_that_takes_most() -> None:
    """Which of them it will be is not known before the body is read."""
    desk = Desk(FIRST, WIDE)
    Fork(desk, BY_PARAMETER)
    exchange = Exchange(b"r-1", lambda _: None)
    Intake(desk, Policy(), Tallied()).start(exchange, NO_TERMS, TARGET, many_rows(300), 100.0)
    assert exchange.call is not None
    assert (exchange.call.rows, exchange.call.arm.variant) == (300, "canary")


def test_which_variant_takes_most_is_asked_anew_under_another_document() -> None:
    desk = Desk(FIRST, WIDE)
    narrow = replace(BY_PARAMETER, variants=tuple(replace(v, version="1") for v in SPLIT.variants))
    intake = Intake(desk, Policy(), Tallied())
    accepted = []
    for document in (narrow, BY_PARAMETER, narrow):
        Fork(desk, document)
        exchange = Exchange(b"r-1", lambda _: None)
        intake.start(exchange, NO_TERMS, TARGET, many_rows(300), 100.0)
        accepted.append(exchange.call is not None)
    assert accepted == [False, True, False]


def test_limits_hold_where_the_body_is_read_first() -> None:
    policy = Policy(limits=Limits(max_json_depth=3))
    answer = Crossing(BY_PARAMETER, policy=policy).refusal(saying(user="user-1"))
    assert (answer.status, "limits.max_json_depth" in answer.json["error"]) == (400, True)


def test_a_compressed_request_is_decided_once_and_when_it_is_unpacked() -> None:
    """Else the draw of one table could meet the body under another."""
    crossing = Crossing(drawn=TO_CANARY)
    waiting: list[Then] = []
    crossing.intake = Intake(
        crossing.desk,
        Policy(),
        crossing.tally,
        unpack=lambda _body, _coding, then: waiting.append(then),
    )
    exchange = crossing.ask(b"", Terms(coding=Coding.GZIP))
    assert (crossing.draws, exchange.codec) == (0, None)
    Fork(crossing.desk, replace(SPLIT, revision=8))
    waiting[0](numbers(1, 2))
    assert crossing.draws == 1
    assert exchange.call is not None
    assert (exchange.call.arm.variant, exchange.call.arm.revision) == ("canary", 8)


def test_what_cannot_be_unpacked_is_counted_by_the_replica() -> None:
    crossing = Crossing()
    assert crossing.refusal(b"nonsense", Terms(coding=Coding.GZIP)).status == 400
    assert crossing.tally.codes() == ["malformed"]
    assert crossing.draws == 0


# versions and pins


@pytest.mark.parametrize("asked", ["2", "02"])
def test_an_explicit_version_bypasses_the_document(asked: str) -> None:
    crossing = Crossing(replace(BY_PARAMETER, rules=(TEAM,)))
    exchange = crossing.ask(target=InferTarget("m", asked), x_team="fraud")
    assert exchange.call is not None
    assert (exchange.call.arm.variant, exchange.call.arm.version) == (None, SECOND)
    assert crossing.draws == 0


@pytest.mark.parametrize("variant", ["stable", "canary"])
def test_a_pin_with_a_key_that_may_is_obeyed_whatever_the_split_says(variant: str) -> None:
    crossing = Crossing(replace(SPLIT, rules=(TEAM,)), TO_CANARY)
    exchange = crossing.ask(terms=Terms(pin=variant.encode()), x_team="fraud")
    assert exchange.call is not None
    assert exchange.call.arm is crossing.desk.models["m"].pinned[variant]
    assert exchange.call.arm is not crossing.fork.arms[variant]
    assert crossing.draws == 0


def test_a_pin_holds_for_a_compressed_request_too() -> None:
    terms = Terms(pin=b"canary", coding=Coding.GZIP)
    assert Crossing().variant(gzip.compress(numbers(1, 2)), terms) == "canary"


@pytest.mark.parametrize("pin", [b"", b"nobody", b"Canary", b"canary, canary", b"\xe9" * 500])
def test_an_unknown_variant_is_refused_with_those_that_there_are(pin: bytes) -> None:
    answer = Crossing().refusal(terms=Terms(pin=pin))
    assert (answer.status, answer.code) == (400, "malformed")
    assert "variant of model 'm': expected stable, canary, got" in answer.json["error"]
    assert len(answer.json["error"]) < 400


def test_a_model_without_a_document_has_no_variant() -> None:
    exchange = Exchange(b"r-1", lambda _: None)
    intake = Intake(Desk(), Policy(), Tallied())
    intake.start(exchange, Terms(pin=b"canary"), TARGET, numbers(1, 2), 100.0)
    (answer,) = answers(exchange.render(closes=False))
    assert (answer.status, "no routing document" in answer.json["error"]) == (400, True)


def test_a_pin_of_a_model_that_is_not_there_is_a_404() -> None:
    terms = Terms(pin=b"canary")
    answer = Crossing().refusal(terms=terms, target=InferTarget("n", None))
    assert (answer.status, answer.code) == (404, "unknown_model")


def test_a_pin_beside_a_version_in_the_path_is_refused() -> None:
    terms = Terms(pin=b"canary")
    answer = Crossing().refusal(terms=terms, target=InferTarget("m", "2"))
    assert (answer.status, answer.code) == (400, "malformed")
    assert answer.json["error"] == (
        "header x-gateway-variant: expected none, because the path asks for version 2, got 'canary'"
    )


def test_a_pin_of_an_absent_variant_is_not_ready_and_nobody_stands_in() -> None:
    crossing = Crossing(absent="canary")
    answer = crossing.refusal(terms=Terms(pin=b"canary"))
    assert (answer.status, answer.code) == (503, "not_ready")
    assert "'m' variant canary is not at ready state: a bad checksum" in answer.json["error"]
    assert crossing.fork.lost.fallbacks == 0


# the lane and the ASGI app

Fields = Sequence[tuple[str, str]]


def by_lane(flow: Echo, body: bytes, fields: Fields, path: str) -> Answer:
    async def scene() -> Answer:
        port = port_of(flow, clock=monotonic(), keys=KEYS)
        line = Line(flow, port=port)
        line.send(request("POST", path, body, *[f"{name}: {value}" for name, value in fields]))
        await turns()
        (answer,) = line.answers()
        return answer

    return play(scene)


def by_asgi(flow: Echo, body: bytes, fields: Fields, path: str) -> Answer:
    pairs = [(name.lower().encode(), value.encode()) for name, value in fields]
    app = port_of(flow, keys=KEYS).app
    return asyncio.run(ask_by_asgi(app, "POST", path.encode(), body, pairs))


PIN: Fields = [("x-gateway-variant", "canary"), ("x-api-key", "lever")]
INFER = "/v2/models/m/infer"
SAME: dict[str, tuple[Document, bytes, Fields, str, tuple[str | None, str | None]]] = {
    "by weight": (SPLIT, numbers(1, 2), [], INFER, ("stable", "1")),
    "by a rule": (
        replace(SPLIT, rules=(TEAM,)),
        numbers(1, 2),
        [("X-Team", "fraud")],
        INFER,
        ("canary", "2"),
    ),
    "by a unit": (
        BY_HEADER,
        numbers(1, 2),
        [("X-User-Id", unit_of("canary"))],
        INFER,
        ("canary", "2"),
    ),
    "by a unit in the body": (
        BY_PARAMETER,
        saying(user=unit_of("canary")),
        [],
        INFER,
        ("canary", "2"),
    ),
    "by a version": (SPLIT, numbers(1, 2), [], "/v2/models/m/versions/2/infer", (None, "2")),
    "by a pin": (SPLIT, numbers(1, 2), PIN, INFER, ("canary", "2")),
    "by a pin under V1": (
        SPLIT,
        b'{"instances":[[1,2]]}',
        PIN,
        "/v1/models/m:predict",
        ("canary", "2"),
    ),
    "a pin without a key": (SPLIT, numbers(1, 2), PIN[:1], INFER, (None, None)),
}


@pytest.mark.parametrize("ask", [by_lane, by_asgi])
@pytest.mark.parametrize("name", SAME)
def test_the_lane_and_the_app_choose_alike_and_say_what_they_chose(
    name: str, ask: Callable[[Echo, bytes, Fields, str], Answer]
) -> None:
    document, body, fields, path, (variant, of) = SAME[name]
    flow = Echo(FIRST, SECOND)
    Fork(flow, document)
    answer = ask(flow, body, fields, path)
    found = [answer.headers.get(f"x-gateway-{part}") for part in ("variant", "version", "revision")]
    assert found == [variant, of, None if variant is None else "7"]
    assert answer.status == (401 if of is None else 200)


@pytest.mark.parametrize("ask", [by_lane, by_asgi])
def test_a_refusal_after_the_choice_names_the_arm(
    ask: Callable[[Echo, bytes, Fields, str], Answer],
) -> None:
    flow = Echo(FIRST, SECOND)
    Fork(flow)
    answer = ask(flow, b"{", [], INFER)
    assert answer.status == 400
    assert answer.headers["x-gateway-variant"] == "stable"
    assert answer.headers["x-gateway-revision"] == "7"


# falling back


def heard(exchange: Exchange) -> tuple[int, str | None, str | None]:
    """Status, variant and version of an answer."""
    (answer,) = answers(exchange.render(closes=False))
    headers = answer.headers
    return answer.status, headers.get("x-gateway-variant"), headers.get("x-gateway-version")


def only(calls: list[Call]) -> Call:
    (call,) = calls
    return call


def test_an_absent_variant_is_answered_by_its_fallback_and_counted_as_lost() -> None:
    crossing = Crossing(drawn=TO_CANARY, absent="canary")
    exchange = crossing.ask()
    call = only(crossing.desk.calls)
    assert (call.arm.variant, call.arm.version) == ("stable", FIRST)
    call.fail(ModelFailed("broken"))  # and nobody is asked after that
    assert heard(exchange) == (500, "stable", "1")
    assert crossing.fork.lost.refused == [("not_ready", 0.0, 0)]
    assert crossing.fork.lost.fallbacks == 1


def test_an_absent_variant_without_a_fallback_is_not_ready() -> None:
    crossing = Crossing(replace(SPLIT, fallback=None), TO_CANARY, absent="canary")
    answer = crossing.refusal()
    assert (answer.status, answer.code) == (503, "not_ready")
    assert crossing.tally.codes() == ["not_ready"]


def test_all_variants_may_be_absent_where_the_body_decides() -> None:
    crossing = Crossing(BY_PARAMETER, absent="stable")
    Fork(crossing.desk, replace(BY_PARAMETER, variants=SPLIT.variants[:1]), absent="stable")
    assert crossing.refusal(saying(user="user-1")).code == "not_ready"
