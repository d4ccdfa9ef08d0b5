"""Call: answered or failed once, whatever else is said to it."""

import numpy as np
import pytest

from gateway.errors import ClientGone, ModelFailed
from gateway.types import Call, Outputs
from tests.fakes import TWICE, a_call


def outputs() -> Outputs:
    return Outputs([np.zeros((4, 1))], 2)


def test_an_answered_call_knows_its_rows_and_tells_its_owner() -> None:
    heard: list[Call] = []
    call = a_call(1, 2, on_done=heard.append)
    shared = outputs()
    call.answer(shared, 1, 3)
    assert heard == [call]
    assert (call.done, call.outputs, call.start, call.stop) == (True, shared, 1, 3)
    assert call.error is None


def test_a_failed_call_keeps_its_error_and_tells_its_owner() -> None:
    heard: list[Call] = []
    call = a_call(1, on_done=heard.append)
    error = ModelFailed("nan")
    call.fail(error)
    assert heard == [call]
    assert (call.done, call.error, call.outputs) == (True, error, None)


@pytest.mark.parametrize("first", ["answer", "fail"])
def test_a_call_hears_nothing_after_its_end(first: str) -> None:
    heard: list[Call] = []
    call = a_call(1, on_done=heard.append)
    if first == "answer":
        call.answer(outputs(), 0, 1)
    else:
        call.fail(ClientGone("left"))
    before = (call.outputs, call.error, call.start, call.stop)
    call.answer(outputs(), 2, 3)
    call.fail(ModelFailed("late"))
    assert heard == [call]
    assert (call.outputs, call.error, call.start, call.stop) == before


def test_a_call_is_done_before_its_owner_hears_of_it() -> None:
    """So that an owner who answers back, or closes, cannot answer it again."""
    seen: list[tuple[bool, bool]] = []

    def hear(call: Call) -> None:
        seen.append((call.done, call.error is not None))
        call.fail(ModelFailed("again"))

    a_call(1, on_done=hear).fail(ClientGone("left"))
    assert seen == [(True, True)]


def test_calls_and_versions_are_known_by_identity() -> None:
    """Two clients may say the same: they are two calls, and both are answered."""
    assert a_call(1) != a_call(1)
    assert len({a_call(1), a_call(1)}) == 2
    assert TWICE == TWICE  # noqa: PLR0124 - identity is the case
    assert hash(TWICE) == hash(TWICE)
