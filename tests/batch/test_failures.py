"""What a batcher says when it cannot run a call, or when running it failed."""

import logging

import pytest

from gateway.batch.failures import (
    is_by_a_call,
    log_listener,
    model_failure,
    queue_full,
    too_many_shapes,
)
from gateway.errors import BreakerOpen, DeadlineExceeded, Draining, ModelFailed, Overloaded
from tests.fakes import a_call


def test_a_full_queue_is_named_with_its_model() -> None:
    refusal = queue_full(a_call(1), 7, 2.5)
    expected = "Exceeds maximum queue size of 7 rows for model 'twice' version 1"
    assert (type(refusal), str(refusal)) == (Overloaded, expected)


def test_too_many_shapes_are_a_full_queue() -> None:
    assert "Exceeds maximum queue size" in str(too_many_shapes())


def test_a_named_failure_is_told_to_each_caller_by_an_object_of_its_own() -> None:
    error = ModelFailed("index out of range")
    failure = model_failure(error)
    assert str(failure) == "index out of range"
    assert failure is not error
    assert failure.__cause__ is error


def test_the_text_of_an_unnamed_failure_goes_to_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        assert str(model_failure(KeyError("secret"))) == "the model failed"
    assert "secret" in caplog.text


def test_a_listener_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        log_listener(ZeroDivisionError("in a listener"))
    assert "in a listener" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("no room", retry_after_s=7.0, shed="limit"),
        BreakerOpen("too often"),
        DeadlineExceeded("too late", "execute"),
    ],
)
def test_what_was_refused_or_came_too_late_is_told_as_that_to_each(error: Exception) -> None:
    told = model_failure(error)
    assert type(told) is type(error)
    assert told is not error
    assert (str(told), told.__dict__) == (str(error), error.__dict__)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModelFailed("odd"), True),
        (KeyError("odd"), True),
        (ModelFailed("nobody answered", by_a_call=False), False),
        (Draining("closing"), False),
        (DeadlineExceeded("too late"), False),
    ],
)
def test_a_guilty_call_is_looked_for_where_there_may_be_one(
    error: Exception, expected: bool
) -> None:
    assert is_by_a_call(error) == expected
