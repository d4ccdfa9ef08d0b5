"""Exchange: one request becomes one answer, heard once."""

import logging

import numpy as np
import pytest

from gateway.errors import ClientGone, DeadlineExceeded, Malformed, ModelFailed, Overloaded
from gateway.types import Arm, Call, Outputs, Version
from gateway.wire.decode import Limits, Wanted
from gateway.wire.exchange import Exchange, Losses, codec_of
from gateway.wire.forms import JSON, form
from tests.fakes import Tallied
from tests.wire.bodies import version
from tests.wire.harness import DOUBLE, Answer, answers

NOBODY = Losses(Tallied(), lambda: 0.0)
CODEC = codec_of(Arm(DOUBLE), Limits(), NOBODY)
BINARY = (Wanted(0, binary=True),)


class Heard(list[Exchange]):
    """Whoever listens to an exchange."""

    def only(self) -> Answer:
        (exchange,) = self
        (answer,) = answers(exchange.render(closes=False))
        return answer


def asked(heard: Heard, rows: int = 1) -> tuple[Exchange, Call]:
    """An exchange whose call is in the flow."""
    exchange = Exchange(b"r-1", heard.append)
    exchange.codec = CODEC
    exchange.call = Call(CODEC.arm, (), rows, ((2,),), exchange.settle)
    return exchange, exchange.call


def give(call: Call, *values: float) -> None:
    array = np.array(values, np.float32).reshape(-1, 2)
    call.answer(Outputs([array], 1), 0, len(array))


def test_a_call_that_is_answered_is_the_answer() -> None:
    heard = Heard()
    exchange, call = asked(heard)
    exchange.id = "me"
    give(call, 1, 2)
    answer = heard.only()
    assert (answer.status, answer.json["id"]) == (200, "me")
    assert answer.json["outputs"][0]["data"] == [1, 2]
    assert list(answer.headers) == [
        "content-type", "x-gateway-version", "x-request-id", "content-length",
    ]  # fmt: skip
    assert exchange.call is None


def test_an_answer_with_blobs_says_where_they_begin() -> None:
    heard = Heard()
    exchange, call = asked(heard)
    exchange.manner = BINARY
    give(call, 1, 2)
    answer = heard.only()
    assert answer.headers["content-type"] == "application/octet-stream"
    start = int(answer.headers["inference-header-content-length"])
    assert answer.body[start:] == np.array([1, 2], "<f4").tobytes()
    assert answer.headers["content-length"] == str(len(answer.body))


def test_blobs_without_a_byte_are_plain_json() -> None:
    heard = Heard()
    exchange, call = asked(heard)
    exchange.manner = ()
    give(call, 1, 2)
    answer = heard.only()
    assert answer.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in answer.headers


def test_a_call_that_fails_is_its_error_with_the_version_that_was_chosen() -> None:
    heard = Heard()
    _, call = asked(heard)
    call.fail(DeadlineExceeded("too late"))
    answer = heard.only()
    assert (answer.status, answer.headers["x-gateway-version"]) == (504, "1")
    assert answer.json == {"error": "too late", "code": "deadline_exceeded", "request_id": "r-1"}


def test_an_error_before_a_version_is_chosen_names_none() -> None:
    heard = Heard()
    Exchange(b"r-1", heard.append).refuse(Malformed("no"))
    answer = heard.only()
    assert (answer.status, answer.code) == (400, "malformed")
    assert "x-gateway-version" not in answer.headers


def test_the_headers_of_an_error_reach_the_answer() -> None:
    heard = Heard()
    Exchange(b"r-1", heard.append).refuse(Overloaded("full", retry_after_s=3))
    assert heard.only().headers["retry-after"] == "3"


def test_an_answer_that_cannot_be_written_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()
    exchange, call = asked(heard)
    exchange.codec = codec_of(Arm(version(("x", "FP32", (-1,)), outputs=())), Limits(), NOBODY)
    give(call, 1, 2)  # one output more than the signature has
    answer = heard.only()
    assert (answer.status, answer.json["error"]) == (500, "internal error")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_errors_that_we_named_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    Exchange(b"r-1", None).refuse(Malformed("no"))
    assert caplog.records == []


def test_abandoning_drops_the_call_and_nobody_hears() -> None:
    heard = Heard()
    exchange, call = asked(heard)
    exchange.abandon()
    assert call.done
    assert isinstance(call.error, ClientGone)
    assert (heard, exchange.form, exchange.call) == ([], None, None)
    give(call, 1, 2)
    assert heard == []


def test_abandoning_before_or_after_the_call_is_nothing() -> None:
    heard = Heard()
    Exchange(b"r-1", heard.append).abandon()
    exchange, call = asked(heard)
    give(call, 1, 2)
    exchange.abandon()
    assert len(heard) == 1


def test_an_answer_that_nobody_listens_for_is_held() -> None:
    exchange = Exchange(b"r-1", None)
    exchange.answer(form(200, (JSON,)), b"{}")
    assert (exchange.form, exchange.body) == (form(200, (JSON,)), b"{}")


# counting

LATE_S = 0.25


def counted(heard: Heard, codec_version: Version = DOUBLE) -> tuple[Exchange, Call, Tallied]:
    """An exchange whose call came in at second 1, a quarter of a second ago."""
    tally = Tallied()
    exchange, call = asked(heard, rows=3)
    exchange.codec = codec_of(Arm(codec_version), Limits(), Losses(tally, lambda: 1.0 + LATE_S))
    call.arrived = 1.0
    return exchange, call, tally


def test_what_there_was_no_room_for_is_counted_by_its_reason_too() -> None:
    _, call, tally = counted(Heard())
    call.fail(Overloaded("full", shed="rows"))
    assert (tally.codes(), tally.sheds) == (["overloaded"], ["rows"])


def test_a_call_that_could_not_be_in_time_is_shed_and_one_that_was_not_is_none() -> None:
    _, early, tally = counted(Heard())
    early.fail(DeadlineExceeded("too late already", "admission"))
    _, late, other = counted(Heard())
    late.fail(DeadlineExceeded("too late", "queue"))
    assert tally.codes() == other.codes() == ["deadline_exceeded"]
    assert (tally.sheds, other.sheds) == (["deadline"], [])


def test_what_succeeds_is_counted_by_the_batch_alone() -> None:
    _, call, tally = counted(heard := Heard())
    give(call, 1, 2)
    assert heard.only().status == 200
    assert tally.refused == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DeadlineExceeded("late"), "deadline_exceeded"),
        (ModelFailed("nan"), "model_failed"),
        (Overloaded("full"), "overloaded"),
        (ValueError("odd"), "internal"),
    ],
)
def test_a_call_that_fails_is_counted_once_before_its_answer(error: Exception, code: str) -> None:
    counts: list[int] = []
    exchange, call, tally = counted(Heard())
    exchange.send = lambda _exchange: counts.append(len(tally.refused))
    call.fail(error)
    call.fail(error)
    give(call, 1, 2)
    assert tally.refused == [(code, LATE_S, 3)]
    assert counts == [1]


def test_a_client_that_left_is_counted_once_whatever_comes_later() -> None:
    exchange, call, tally = counted(heard := Heard())
    exchange.abandon()
    exchange.abandon()
    call.fail(DeadlineExceeded("late"))
    give(call, 1, 2)
    assert tally.refused == [("client_gone", LATE_S, 3)]
    assert heard == []


def test_a_client_that_leaves_after_its_answer_is_not_counted() -> None:
    exchange, call, tally = counted(Heard())
    give(call, 1, 2)
    exchange.abandon()
    assert tally.refused == []


def test_a_client_that_left_before_it_asked_anything_is_not_counted() -> None:
    exchange, _, tally = counted(Heard())
    exchange.call = None
    exchange.abandon()
    assert tally.refused == []


def test_an_answer_that_cannot_be_written_is_counted_though_the_model_succeeded() -> None:
    """It was counted as a success with its batch, and that stays."""
    odd = version(("x", "FP32", (-1,)), outputs=())
    _, call, tally = counted(heard := Heard(), odd)
    give(call, 1, 2)
    assert heard.only().status == 500
    assert tally.codes() == ["internal"]


# rendering


def answered(body: bytes = b"{}", status: int = 200) -> Exchange:
    exchange = Exchange(b"r-1", None)
    exchange.answer(form(status, (JSON,)), body)
    return exchange


PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: r-1\r\n"


def test_an_answer_is_written_as_its_pairs_say() -> None:
    exchange = answered()
    assert exchange.render(closes=False) == PLAIN + b"content-length: 2\r\n\r\n{}"
    (answer,) = answers(exchange.render(closes=False))
    assert [(name.encode(), value.encode()) for name, value in answer.headers.items()] == list(
        exchange.pairs()
    )


def test_the_last_answer_says_that_it_is() -> None:
    expected = PLAIN + b"connection: close\r\ncontent-length: 2\r\n\r\n{}"
    assert answered().render(closes=True) == expected


def test_a_bare_answer_counts_a_body_that_it_does_not_send() -> None:
    exchange = answered()
    exchange.is_bare = True
    assert exchange.render(closes=False) == PLAIN + b"content-length: 2\r\n\r\n"


def test_headers_of_one_answer_stand_behind_the_request_id() -> None:
    exchange = answered()
    exchange.more = ((b"x-a", b"1"),)
    expected = PLAIN + b"x-a: 1\r\ncontent-length: 2\r\n\r\n{}"
    assert exchange.render(closes=False) == expected
    assert exchange.pairs()[-2:] == ((b"x-a", b"1"), (b"content-length", b"2"))


def test_an_empty_body_is_counted_and_no_content_is_not() -> None:
    assert answered(b"").render(closes=False).endswith(b"content-length: 0\r\n\r\n")
    assert b"content-length" not in answered(b"", 204).render(closes=False)


def test_what_is_not_answered_yet_has_only_its_name() -> None:
    pairs = Exchange(b"r-1", None).pairs()
    assert pairs == ((b"x-request-id", b"r-1"), (b"content-length", b"0"))


def test_a_codec_knows_what_does_not_change() -> None:
    assert CODEC.quick is not None
    assert CODEC.row_shapes == ((2,),)
    assert CODEC.json_form.pairs == (JSON, (b"x-gateway-version", b"1"))
    assert CODEC.binary_form.pairs[0] == (b"content-type", b"application/octet-stream")
    assert codec_of(Arm(DOUBLE), Limits(max_rank=1), NOBODY).quick is None
