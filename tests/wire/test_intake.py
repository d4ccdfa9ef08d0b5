"""Intake: what a request asks for becomes a call, or its refusal."""

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest

from gateway.core.documents import Document
from gateway.core.quotas import Quota
from gateway.errors import (
    DeadlineExceeded,
    Draining,
    GatewayError,
    Malformed,
    ModelFailed,
    NotReady,
    Overloaded,
)
from gateway.flow import Plan, Tally
from gateway.types import Call, Version
from gateway.wire.codings import Coding
from gateway.wire.decode import Limits
from gateway.wire.exchange import Codec, Exchange
from gateway.wire.intake import Intake, Policy
from gateway.wire.keys import Keys
from gateway.wire.meters import Meter, Meters
from gateway.wire.paths import InferTarget
from gateway.wire.port import Port
from gateway.wire.terms import NO_TERMS, Terms
from gateway.wire.unpacking import Then, unpack_at_once
from tests.clock import play
from tests.fakes import Tallied, a_record
from tests.wire.asgi import ask
from tests.wire.bodies import version
from tests.wire.harness import (
    DOUBLE,
    Answer,
    Desk,
    Echo,
    Line,
    answers,
    echo,
    infer,
    monotonic,
    numbers,
    port_of,
    turns,
)
from tests.wire.splitting import (
    FIRST,
    GLASS,
    SECOND,
    SPLIT,
    TICKET,
    TO_CANARY,
    TO_STABLE,
    Fork,
    told,
)

HALF = version(("x", "FP32", (-1, 2)), outputs=(("y", "FP16", (-1,)),), max_batch_rows=4)
TARGET = InferTarget("m", None)


def request(**more: Any) -> bytes:
    return orjson.dumps(orjson.loads(numbers(1, 2)) | more)


def binary(extra: bytes = b"") -> tuple[bytes, Terms]:
    """A request of one row as a blob, and the terms that say where it begins."""
    tensor = {
        "name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}
    }  # fmt: skip
    text = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    return text + bytes(8) + extra, Terms(json_length=len(text))


class Counter:
    """An intake before a desk, and what it was asked."""

    def __init__(self, *versions: Version, policy: Policy | None = None) -> None:
        self.desk = Desk(*versions)
        self.tally = Tallied()
        self.intake = Intake(self.desk, policy or Policy(), self.tally, lambda: 100.25)
        self.heard: list[Exchange] = []

    def ask(
        self, body: bytes, terms: Terms = NO_TERMS, target: InferTarget = TARGET
    ) -> Call | Answer:
        """Start a request at second 100; return its call, or the answer that it got at once."""
        exchange = Exchange(b"r-1", self.heard.append)
        self.intake.start(exchange, terms, target, body, 100.0)
        if exchange.call is not None:
            return exchange.call
        (answer,) = answers(exchange.render(closes=False))
        return answer

    def call(self, body: bytes, terms: Terms = NO_TERMS) -> Call:
        call = self.ask(body, terms)
        assert isinstance(call, Call), call
        return call

    def refusal(self, body: bytes, terms: Terms = NO_TERMS, target: InferTarget = TARGET) -> Answer:
        answer = self.ask(body, terms, target)
        assert isinstance(answer, Answer)
        return answer


PLAIN = request()
ODD = request(parameters={"a": 1})  # for the decoder


@pytest.mark.parametrize("body", [PLAIN, ODD, bytearray(PLAIN), request(id="me")])
def test_a_request_becomes_a_call(body: bytes) -> None:
    counter = Counter()
    call = counter.call(body)
    assert counter.desk.calls == [call]
    assert (call.arm.version, call.rows, call.shapes) == (DOUBLE, 1, ((2,),))
    assert (call.arrived, call.deadline, call.priority) == (100.0, 110.0, 2)
    echo(call)
    (answer,) = answers(counter.heard[0].render(closes=False))
    assert answer.json["outputs"][0]["data"] == [1, 2]
    assert answer.json.get("id") == orjson.loads(body).get("id")


def test_calls_of_one_version_share_the_object_that_says_their_shapes() -> None:
    counter = Counter()
    assert counter.call(PLAIN).shapes is counter.call(PLAIN).shapes


def test_a_binary_request_is_answered_in_binary() -> None:
    counter = Counter()
    for _ in range(3):
        echo(counter.call(*binary()))
        (answer,) = answers(counter.heard[-1].render(closes=False))
        assert answer.headers["content-type"] == "application/octet-stream"
    assert counter.refusal(*binary(b"x")).status == 400


@pytest.mark.parametrize("body", [PLAIN, ODD])
@pytest.mark.parametrize(
    ("timeout_s", "deadline"), [(None, 110.0), (0.25, 100.25), (9.0, 109.0), (60.0, 110.0)]
)
def test_a_header_may_lower_the_time_and_never_raise_it(
    body: bytes, timeout_s: float | None, deadline: float
) -> None:
    assert Counter().call(body, Terms(timeout_s=timeout_s)).deadline == deadline


@pytest.mark.parametrize(
    ("timeout_us", "timeout_s", "deadline"),
    [
        (250_000, None, 100.25),
        (0, None, 110.0),
        (60_000_000, None, 110.0),
        (2_000_000, 1.0, 101.0),
        (1_000_000, 2.0, 101.0),
    ],
)
def test_a_parameter_may_lower_the_time_too(
    timeout_us: int, timeout_s: float | None, deadline: float
) -> None:
    body = request(parameters={"timeout": timeout_us})
    assert Counter().call(body, Terms(timeout_s=timeout_s)).deadline == deadline


@pytest.mark.parametrize("body", [PLAIN, ODD])
@pytest.mark.parametrize(("asked", "rank"), [(0, 2), (1, 1), (3, 3), (4, 4), (5, 2), (999, 2)])
def test_a_priority_beyond_the_lowest_level_is_the_default(
    body: bytes, asked: int, rank: int
) -> None:
    assert Counter().call(body, Terms(priority=asked)).priority == rank


def test_the_priority_in_the_body_comes_before_the_one_in_the_headers() -> None:
    body = request(parameters={"priority": 3})
    assert Counter().call(body, Terms(priority=1)).priority == 3
    body = request(parameters={"priority": 0})
    assert Counter().call(body, Terms(priority=1)).priority == 1


def test_the_levels_are_the_policys() -> None:
    policy = Policy(default_deadline_s=3.0, priority_levels=2, default_priority=1)
    call = Counter(policy=policy).call(PLAIN, Terms(priority=3))
    assert (call.priority, call.deadline) == (1, 103.0)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (InferTarget("n", None), "unknown_model"),
        (InferTarget("m", "2"), "unknown_version"),
        (InferTarget("m", "x" * 65), "unknown_version"),
    ],
)
def test_an_unknown_model_or_version_is_a_404(target: InferTarget, code: str) -> None:
    counter = Counter()
    answer = counter.refusal(b"{", target=target)
    assert (answer.status, answer.code) == (404, code)
    assert "x-gateway-version" not in answer.headers
    assert counter.desk.calls == []


def test_a_version_is_found_by_its_number() -> None:
    counter = Counter()
    assert isinstance(counter.ask(PLAIN, target=InferTarget("m", "01")), Call)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", request(id=5), request(inputs=[])])
def test_a_bad_body_is_refused_with_the_version_that_was_chosen(body: bytes) -> None:
    counter = Counter()
    answer = counter.refusal(body)
    assert (answer.status, answer.headers["x-gateway-version"]) == (400, "1")
    assert counter.desk.calls == []


def test_an_output_that_json_cannot_carry_is_refused_before_it_is_made() -> None:
    counter = Counter(HALF)
    for body in (PLAIN, ODD):
        answer = counter.refusal(body)
        assert (answer.status, answer.code) == (400, "invalid_tensor")
        assert "sending FP16 data via JSON is not supported" in answer.json["error"]
    assert counter.desk.calls == []
    assert counter.call(*binary()).rows == 1


@pytest.mark.parametrize(
    "limits",
    [Limits(max_elements=1), Limits(max_rank=1), Limits(max_json_depth=3)],
)
def test_a_limit_holds_for_the_plainest_request(limits: Limits) -> None:
    answer = Counter(policy=Policy(limits=limits)).refusal(PLAIN)
    assert answer.status == 400
    assert "(limits.max_" in answer.json["error"]


@pytest.mark.parametrize("simd_from_bytes", [0, 10, 1 << 30])
def test_a_request_is_read_the_same_whoever_reads_it(simd_from_bytes: int) -> None:
    policy = Policy(limits=Limits(simd_from_bytes=simd_from_bytes))
    call = Counter(policy=policy).call(PLAIN)
    echo(call)
    assert call.outputs is not None
    assert call.outputs.arrays[0].tolist() == [[1, 2]]


def test_a_flow_that_breaks_is_a_500() -> None:
    class Broken(Desk):
        def infer(self, call: Call) -> None:
            raise RuntimeError

    counter = Counter()
    counter.intake = Intake(Broken(), Policy(), Tallied())
    exchange = Exchange(b"r-1", counter.heard.append)
    counter.intake.start(exchange, NO_TERMS, TARGET, PLAIN, 100.0)
    assert [one.form.status for one in counter.heard if one.form is not None] == [500]


# counting


def kept(*versions: Version) -> tuple[Counter, dict[Version, Tallied]]:
    """An intake whose versions count for themselves."""
    counter = Counter(*versions)
    tallies = {version: Tallied() for version in versions}
    keep(counter, tallies)
    return counter, tallies


def keep(counter: Counter, tallies: Mapping[Version, Tally]) -> None:
    counter.intake.keep({counter.desk.find(one.model, None): tallies[one] for one in tallies})


@pytest.mark.parametrize("body", [b"{", request(inputs=[])])
def test_a_request_that_does_not_fit_is_counted_by_its_version(body: bytes) -> None:
    counter, tallies = kept(DOUBLE)
    code = counter.refusal(body).code
    assert tallies[DOUBLE].refused == [(code, 0.25, 0)]
    assert counter.tally.refused == []


@pytest.mark.parametrize(
    ("target", "code"),
    [(InferTarget("n", None), "unknown_model"), (InferTarget("m", "2"), "unknown_version")],
)
def test_a_request_without_a_version_is_counted_by_the_replica(
    target: InferTarget, code: str
) -> None:
    counter, tallies = kept(DOUBLE)
    counter.refusal(PLAIN, target=target)
    assert counter.tally.refused == [(code, 0.25, 0)]
    assert tallies[DOUBLE].refused == []


def test_a_version_that_nobody_counts_for_is_counted_by_the_replica() -> None:
    counter = Counter()
    counter.refusal(b"{")
    assert counter.tally.codes() == ["malformed"]


def test_a_call_that_fails_later_is_counted_by_its_version() -> None:
    counter, tallies = kept(DOUBLE)
    counter.call(PLAIN).fail(Overloaded("full"))
    assert tallies[DOUBLE].refused == [("overloaded", 0.25, 1)]


def test_what_could_not_be_read_is_counted_by_the_replica_and_answered() -> None:
    counter, _ = kept(DOUBLE)
    counter.intake.refuse(Exchange(b"r-1", counter.heard.append), Malformed("no"))
    assert counter.tally.refused == [("malformed", 0.0, 0)]
    assert len(counter.heard) == 1


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"nonsense\r\n\r\n", "malformed"),
        (infer(1, "x-request-timeout-ms: soon"), "malformed"),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999\r\n\r\n", "too_large"),
    ],
)
def test_what_a_connection_cannot_read_is_counted_by_the_replica(sent: bytes, code: str) -> None:
    async def scene() -> tuple[list[str], list[str]]:
        tally, flow = Tallied(), Echo()
        port = port_of(flow, clock=monotonic())
        port.intake = Intake(flow, Policy(), tally)
        line = Line(flow, port=port)
        line.send(sent)
        await turns()
        return tally.codes(), [answer.code for answer in line.answers()]

    assert play(scene) == ([code], [code])


def test_a_version_that_is_kept_keeps_its_codec_and_another_is_forgotten() -> None:
    other = Version("n", "1", DOUBLE.signature)
    counter, tallies = kept(DOUBLE, other)

    def codecs() -> list[Codec | None]:
        for name in ("m", "n"):
            counter.refusal(b"{", target=InferTarget(name, None))
        return [exchange.codec for exchange in counter.heard[-2:]]

    first = codecs()
    keep(counter, {DOUBLE: tallies[DOUBLE]})
    again = codecs()
    assert again[0] is first[0]
    assert again[1] is not first[1]


def test_a_version_that_left_is_counted_by_the_replica_from_then_on() -> None:
    """Its row belongs to somebody else by then."""
    counter, tallies = kept(DOUBLE)
    counter.refusal(b"{")
    counter.intake.keep({})
    counter.refusal(b"{")
    assert (tallies[DOUBLE].codes(), counter.tally.codes()) == (["malformed"], ["malformed"])


def test_a_version_that_came_back_counts_in_its_new_tally() -> None:
    counter, tallies = kept(DOUBLE)
    counter.refusal(b"{")
    new = Tallied()
    keep(counter, {DOUBLE: new})
    counter.refusal(b"{")
    assert (tallies[DOUBLE].codes(), new.codes()) == (["malformed"], ["malformed"])


def test_a_flow_that_breaks_is_counted_once_and_its_call_is_answered_no_more() -> None:
    class Broken(Desk):
        def infer(self, call: Call) -> None:
            self.calls.append(call)
            raise RuntimeError

    counter = Counter()
    broken = Broken()
    counter.intake = Intake(broken, Policy(), counter.tally)
    counter.intake.start(Exchange(b"r-1", counter.heard.append), NO_TERMS, TARGET, PLAIN, 100.0)
    echo(broken.calls[0])
    assert counter.tally.codes() == ["internal"]
    assert len(counter.heard) == 1


def test_a_listener_that_breaks_is_not_counted_again() -> None:
    """The answer was made, and counted for what it was."""

    class Full(Desk):
        def infer(self, call: Call) -> None:
            call.fail(Overloaded("full"))

    def hear(exchange: Exchange) -> None:
        heard.append(exchange)
        if len(heard) == 1:
            raise RuntimeError

    heard: list[Exchange] = []
    tally = Tallied()
    exchange = Exchange(b"r-1", hear)
    Intake(Full(), Policy(), tally).start(exchange, NO_TERMS, TARGET, PLAIN, 100.0)
    assert tally.codes() == ["overloaded"]


def test_ids_are_never_given_twice() -> None:
    first, second = Intake(Desk(), Policy(), Tallied()), Intake(Desk(), Policy(), Tallied())
    ids = [intake.new_id() for intake in (first, second) for _ in range(100)]
    assert len(set(ids)) == 200
    assert all(one.decode("ascii").isprintable() for one in ids)


# compressed


@pytest.mark.parametrize("coding", list(Coding))
def test_a_compressed_request_asks_for_what_it_holds(coding: Coding) -> None:
    pack = gzip.compress if coding is Coding.GZIP else zlib.compress
    counter = Counter()
    plain = counter.call(numbers(1, 2))
    packed = counter.call(pack(numbers(1, 2)), Terms(coding=coding, timeout_s=0.5, priority=1))
    assert packed.payloads == plain.payloads
    assert (packed.deadline, packed.priority, packed.arrived) == (100.5, 1, 100.0)


def test_the_length_of_the_json_part_counts_after_decompression() -> None:
    body, terms = binary()
    call = Counter().call(gzip.compress(body), replace(terms, coding=Coding.GZIP))
    assert bytes(call.payloads[0]) == bytes(8)  # type: ignore[arg-type]  # no strings


def test_what_cannot_be_unpacked_is_refused_and_counted() -> None:
    counter = Counter()
    answer = counter.refusal(b"nonsense", Terms(coding=Coding.GZIP))
    assert (answer.status, answer.code) == (400, "malformed")
    assert counter.tally.refused == [("malformed", 0.25, 0)]


def test_what_holds_too_much_is_too_large() -> None:
    intake = Intake(Desk(), Policy(), Tallied(), unpack=partial(unpack_at_once, max_bytes=10))
    exchange = Exchange(b"r-1", lambda _: None)
    packed = gzip.compress(numbers(1, 2))
    intake.start(exchange, Terms(coding=Coding.GZIP), TARGET, packed, 100.0)
    (answer,) = answers(exchange.render(closes=False))
    assert (answer.status, answer.code) == (413, "too_large")


def test_who_leaves_while_the_body_is_unpacked_starts_nothing() -> None:
    waiting: list[Then] = []
    desk, tally = Desk(), Tallied()
    intake = Intake(desk, Policy(), tally, unpack=lambda body, coding, then: waiting.append(then))
    exchange = Exchange(b"r-1", lambda _: None)
    intake.start(exchange, Terms(coding=Coding.GZIP), TARGET, b"", 100.0)
    exchange.abandon()
    (then,) = waiting
    then(numbers(1, 2))
    assert desk.calls == []
    assert [code for code, *_ in tally.refused] == ["client_gone"]


# falling back


# quotas


def metered(burst: float) -> tuple[Counter, Terms]:
    counter = Counter()
    return counter, Terms(meter=Meter(Quota(0.5, burst), a_record()))


@pytest.mark.parametrize("body", [PLAIN, b"{", b""])
def test_who_is_over_the_quota_hears_when_to_come_and_the_body_is_not_looked_at(
    body: bytes,
) -> None:
    counter, terms = metered(1)
    counter.call(PLAIN, terms)
    answer = counter.refusal(body, terms)
    assert (answer.status, answer.code) == (429, "quota_exceeded")
    assert answer.headers["retry-after"] == "2"
    assert "x-gateway-version" not in answer.headers  # none was looked for
    assert counter.tally.codes() == ["quota_exceeded"]
    assert counter.tally.sheds == ["quota"]
    assert len(counter.desk.calls) == 1


def test_a_model_that_is_not_there_is_not_told_to_who_is_over_the_quota() -> None:
    counter, terms = metered(1)
    assert counter.refusal(PLAIN, terms, InferTarget("n", None)).status == 404
    assert counter.refusal(PLAIN, terms, InferTarget("n", None)).status == 429


def test_a_compressed_request_is_counted_once() -> None:
    counter, terms = metered(2)
    packed = replace(terms, coding=Coding.GZIP)
    for _ in range(2):
        counter.call(gzip.compress(PLAIN), packed)
    assert counter.refusal(gzip.compress(PLAIN), packed).status == 429


SHOP = [told("predict", TICKET, "shop"), told("feedback", GLASS, "shop")]
LAB = told("predict", b"other", "lab")
REFUSED = [
    (TICKET, "x-request-timeout-ms: soon", 400),
    (TICKET, "x-request-priority: high", 400),
    (TICKET, "inference-header-content-length: 5, 6", 400),
    (TICKET, "content-encoding: br", 415),
    (TICKET, "x-gateway-variant: canary", 403),
    (GLASS, "accept: */*", 403),
    (TICKET, "content-length: 100000000", 413),
]  # a key of the shop's, a header, and what it is refused with


def shop_port() -> Port:
    """A port of which the shop may ask once."""
    meters = Meters(["shop:0.001:1"], a_record())
    return port_of(Echo(), clock=monotonic(), keys=Keys([*SHOP, LAB], meters))


def headed(key: bytes, field: str) -> bytes:
    fields = ["POST /v2/models/m/infer HTTP/1.1", "host: h", f"x-api-key: {key.decode()}", field]
    return "\r\n".join([*fields, "", ""]).encode()


@pytest.mark.parametrize(("key", "field", "status"), REFUSED)
def test_what_a_holder_is_refused_for_by_its_head_counts_against_his_quota(
    key: bytes, field: str, status: int
) -> None:
    async def scene() -> list[int]:
        port = shop_port()
        asked = [headed(key, field), headed(key, field), infer(1, "x-api-key: ticket")]
        lines = [Line(Echo(), port=port) for _ in (*asked, port)]
        for line, raw in zip(lines, [*asked, infer(1, "x-api-key: other")], strict=True):
            line.send(raw)
        return [status for line in lines for status in line.statuses()]

    assert play(scene) == [status, 429, 429, 200]


@pytest.mark.parametrize(("key", "field", "status"), REFUSED[:-1])
def test_the_app_counts_what_it_refuses_by_its_head_too(
    key: bytes, field: str, status: int
) -> None:
    async def scene() -> list[int]:
        name, _, value = field.encode().partition(b": ")
        headers = ((b"x-api-key", key), (name, value))
        port = shop_port()
        found = [await ask(port.app, "POST", b"/v2/models/m/infer", PLAIN, headers) for _ in "ab"]
        return [answer.status for answer in found]

    assert play(scene) == [status, 429]


def test_a_body_in_chunks_that_grows_too_large_counts_against_the_quota() -> None:
    async def scene() -> list[int]:
        port = shop_port()
        lines = [Line(Echo(), port=port) for _ in "ab"]
        for line in lines:
            line.send(headed(TICKET, "transfer-encoding: chunked"), b"fffffff\r\n")
        return [status for line in lines for status in line.statuses()]

    assert play(scene) == [413, 429]


class Splitting(Counter):
    """An intake before a model that is split in halves, each arm with a tally of its own.

    Chance gives everybody to the canary, whose fallback is stable.
    """

    def __init__(self, document: Document = SPLIT, flow: Desk | None = None) -> None:
        super().__init__()
        self.desk = flow or Desk(FIRST, SECOND, draw=lambda: TO_CANARY)
        self.intake = Intake(self.desk, Policy(), self.tally, lambda: 100.25)
        self.fork = Fork(self.desk, document)
        self.tallies = {arm: Tallied() for arm in self.fork.plan.batchers}
        self.intake.keep(self.tallies)

    def canary(self, body: bytes = PLAIN, terms: Terms = NO_TERMS) -> Call:
        """Ask, and return the call that the canary got."""
        call = self.call(body, terms)
        assert call.arm is self.fork.arms["canary"]
        return call

    def heard_last(self) -> Answer:
        (answer,) = answers(self.heard[-1].render(closes=False))
        return answer

    def counted(self) -> dict[str | None, tuple[list[str], int]]:
        """The losses and fallbacks of every arm that had any."""
        return {
            arm.variant: (tally.codes(), tally.fallbacks)
            for arm, tally in self.tallies.items()
            if tally.refused or tally.fallbacks
        }


@pytest.mark.parametrize("body", [PLAIN, ODD])
def test_a_call_that_the_canary_fails_is_answered_by_stable_in_its_name(body: bytes) -> None:
    splitting = Splitting()
    first = splitting.canary(body)
    first.fail(ModelFailed("broken"))
    assert splitting.heard == []
    _, second = splitting.desk.calls
    assert second.arm is splitting.desk.models["m"].pinned["stable"]
    for name in ("payloads", "rows", "shapes", "deadline", "priority", "arrived"):
        assert getattr(second, name) is getattr(first, name)
    echo(second)
    answer = splitting.heard_last()
    assert (answer.status, answer.first) == (200, 1)
    named = [answer.headers[f"x-gateway-{part}"] for part in ("variant", "version", "revision")]
    assert named == ["stable", "1", "7"]
    assert answer.json["model_version"] == "1"
    assert splitting.counted() == {"canary": (["model_failed"], 1)}
    assert splitting.tally.refused == []


def test_a_binary_call_falls_back_to_a_binary_answer() -> None:
    splitting = Splitting()
    splitting.canary(*binary()).fail(ModelFailed("broken"))
    echo(splitting.desk.calls[1])
    answer = splitting.heard_last()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-gateway-variant"] == "stable"


@pytest.mark.parametrize(
    "error",
    [
        DeadlineExceeded("late"),
        Overloaded("full"),
        Draining("going"),
        NotReady("not here"),
        ValueError("ours"),
    ],
)
def test_what_the_model_did_not_do_is_not_made_good(error: Exception) -> None:
    splitting = Splitting()
    splitting.canary().fail(error)
    assert len(splitting.desk.calls) == 1
    answer = splitting.heard_last()
    assert answer.status >= 429
    assert answer.headers["x-gateway-variant"] == "canary"
    assert splitting.counted() == {"canary": ([answer.code], 0)}


def test_who_left_is_not_answered_by_anybody_else() -> None:
    splitting = Splitting()
    exchange = Exchange(b"r-1", splitting.heard.append)
    splitting.intake.start(exchange, NO_TERMS, TARGET, PLAIN, 100.0)
    exchange.abandon()
    assert len(splitting.desk.calls) == 1
    assert splitting.heard == []
    assert splitting.counted() == {"canary": (["client_gone"], 0)}


def test_who_leaves_while_the_fallback_is_asked_takes_that_call_along() -> None:
    splitting = Splitting()
    exchange = Exchange(b"r-1", splitting.heard.append)
    splitting.intake.start(exchange, NO_TERMS, TARGET, PLAIN, 100.0)
    splitting.desk.calls[0].fail(ModelFailed("broken"))
    exchange.abandon()
    assert splitting.desk.calls[1].done
    assert splitting.counted() == {
        "canary": (["model_failed"], 1),
        "stable": (["client_gone"], 0),
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [(ModelFailed("stable broke"), 500), (DeadlineExceeded("late"), 504), (Overloaded("x"), 429)],
)
def test_what_befalls_the_fallback_is_what_the_caller_hears(
    error: GatewayError, status: int
) -> None:
    splitting = Splitting()
    splitting.canary().fail(ModelFailed("canary broke"))
    splitting.desk.calls[1].fail(error)
    answer = splitting.heard_last()
    assert (answer.status, answer.code, answer.json["error"]) == (status, error.code, str(error))
    assert answer.headers["x-gateway-variant"] == "stable"
    assert len(splitting.desk.calls) == 2
    assert len(splitting.heard) == 1
    assert splitting.counted() == {
        "canary": (["model_failed"], 1),
        "stable": ([error.code], 0),
    }


def test_nobody_is_asked_in_its_stead_when_the_time_is_over() -> None:
    """The canary fails a quarter of a second after the request was read."""
    splitting = Splitting()
    splitting.canary(terms=Terms(timeout_s=0.25)).fail(ModelFailed("broken"))
    assert len(splitting.desk.calls) == 1
    assert splitting.heard_last().status == 500
    splitting.canary(terms=Terms(timeout_s=0.26)).fail(ModelFailed("broken"))
    assert len(splitting.desk.calls) == 3


def test_stable_itself_falls_back_to_nobody() -> None:
    splitting = Splitting(flow=Desk(FIRST, SECOND, draw=lambda: TO_STABLE))
    splitting.call(PLAIN).fail(ModelFailed("broken"))
    assert len(splitting.desk.calls) == 1
    assert splitting.heard_last().status == 500
    assert splitting.counted() == {"stable": (["model_failed"], 0)}


def test_without_a_fallback_the_canarys_failure_is_heard() -> None:
    splitting = Splitting(replace(SPLIT, fallback=None))
    splitting.canary().fail(ModelFailed("broken"))
    answer = splitting.heard_last()
    assert (answer.status, answer.headers["x-gateway-variant"]) == (500, "canary")


def test_a_pinned_and_an_explicit_call_fall_back_to_nobody() -> None:
    splitting = Splitting()
    splitting.intake = Intake(splitting.desk, Policy(), splitting.tally)
    splitting.call(PLAIN, Terms(pin=b"canary")).fail(ModelFailed("broken"))
    explicit = splitting.ask(PLAIN, target=InferTarget("m", "2"))
    assert isinstance(explicit, Call)
    explicit.fail(ModelFailed("broken"))
    assert len(splitting.desk.calls) == 2
    assert [one.form.status for one in splitting.heard if one.form] == [500, 500]


def test_after_a_new_revision_the_fallback_is_the_version_under_its_own_name() -> None:
    splitting = Splitting()
    call = splitting.canary()
    fork = Fork(splitting.desk, replace(SPLIT, revision=8))
    splitting.intake.keep({arm: Tallied() for arm in fork.plan.batchers})
    call.fail(ModelFailed("broken"))
    echo(splitting.desk.calls[1])
    answer = splitting.heard_last()
    assert (answer.status, answer.headers["x-gateway-version"]) == (200, "1")
    assert "x-gateway-variant" not in answer.headers
    assert splitting.counted() == {"canary": (["model_failed"], 1)}  # in its own row, still


def test_after_the_fallbacks_version_has_left_the_failure_is_heard() -> None:
    splitting = Splitting()
    call = splitting.canary()
    splitting.desk.replace(Plan())
    splitting.intake.keep({})
    call.fail(ModelFailed("broken"))
    answer = splitting.heard_last()
    assert (answer.status, answer.headers["x-gateway-variant"]) == (500, "canary")
    assert splitting.counted() == {"canary": (["model_failed"], 0)}


@pytest.mark.parametrize("does_answer", [True, False])
def test_a_flow_that_breaks_while_it_is_asked_again_harms_nobody_else(does_answer: bool) -> None:
    """The batch whose model failed hears nothing of it, and goes on with its other calls."""

    class Broken(Desk):
        def infer(self, call: Call) -> None:
            super().infer(call)
            if len(self.calls) == 2:
                if does_answer:
                    echo(call)
                raise RuntimeError

    splitting = Splitting(flow=Broken(FIRST, SECOND, draw=lambda: TO_CANARY))
    splitting.canary().fail(ModelFailed("broken"))
    answer = splitting.heard_last()
    assert answer.status == 500
    assert splitting.desk.calls[1].done
    losses = {"canary": (["model_failed"], 1)}
    assert splitting.counted() == (
        losses if does_answer else losses | {"stable": (["internal"], 0)}
    )


# codecs


def test_arms_of_one_version_share_what_was_learned_of_it() -> None:
    splitting = Splitting()
    splitting.ask(PLAIN, target=InferTarget("m", "2"))
    splitting.canary()
    direct, canary = (call.arm for call in splitting.desk.calls)
    codecs = splitting.intake._codecs  # noqa: SLF001 - sharing shows nowhere else
    assert codecs[direct].encoder is codecs[canary].encoder
    assert codecs[direct].quick is codecs[canary].quick
    assert codecs[direct].layouts is codecs[canary].layouts
    assert codecs[direct].json_form != codecs[canary].json_form


def test_what_was_learned_is_forgotten_with_the_version() -> None:
    splitting = Splitting()
    splitting.canary()
    splitting.intake.keep({})
    assert not splitting.intake._codecs  # noqa: SLF001 - a leak shows nowhere else
    assert not splitting.intake._by_version  # noqa: SLF001 - as above
