"""Suspects: who is tried again after a process died, and who is guilty."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.suspects import Loss, Suspect, WorkerLost, after_loss
from gateway.errors import ModelFailed
from gateway.types import Call
from tests.fakes import a_call

LOSSES: tuple[Loss, ...] = ("crashed", "killed", "stalled", "late")


def calls(count: int) -> list[Call]:
    return [a_call(row) for row in range(count)]


def test_a_lost_worker_is_a_model_that_failed() -> None:
    lost = WorkerLost("it died", "killed")
    assert isinstance(lost, ModelFailed)
    assert (lost.code, lost.loss, str(lost)) == ("model_failed", "killed", "it died")


def test_after_a_crash_each_of_several_calls_is_tried_alone() -> None:
    batch = calls(3)
    assert after_loss(batch, None, "crashed") == tuple(Suspect([one], 1) for one in batch)


@pytest.mark.parametrize("loss", ["killed", "stalled"])
def test_a_batch_that_need_not_have_done_it_is_tried_again_as_it_is(loss: Loss) -> None:
    batch = calls(3)
    assert after_loss(batch, None, loss) == (Suspect(batch, 1),)


@pytest.mark.parametrize("loss", ["crashed", "killed", "stalled"])
def test_who_was_alone_has_one_more_try(loss: Loss) -> None:
    batch = calls(1)
    assert after_loss(batch, None, loss) == (Suspect(batch, 1),)


@pytest.mark.parametrize("loss", ["crashed", "killed", "stalled"])
def test_a_batch_that_costs_a_second_process_is_taken_apart(loss: Loss) -> None:
    batch = calls(3)
    assert after_loss(batch, Suspect(batch), loss) == tuple(Suspect([one], 2) for one in batch)


def test_who_kills_a_process_alone_in_the_refuge_is_guilty() -> None:
    batch = calls(1)
    assert after_loss(batch, Suspect(batch), "crashed") == ()
    assert after_loss(batch, Suspect(batch, is_patient=True), "crashed") == ()


def test_who_stalls_alone_is_tried_last_and_once_more() -> None:
    batch = calls(1)
    (last,) = after_loss(batch, Suspect(batch), "stalled")
    assert last == Suspect(batch, 2, is_patient=True)
    assert after_loss(batch, last, "stalled") == ()


@pytest.mark.parametrize("is_patient", [False, True])
def test_whoever_is_killed_by_others_is_not_tried_for_ever(is_patient: bool) -> None:
    batch = calls(1)
    suspect = Suspect(batch, is_patient=is_patient)
    tries = 0
    while again := after_loss(batch, suspect, "killed"):
        (suspect,) = again
        assert suspect.is_patient == is_patient
        tries += 1
    assert tries == 2  # and the first one, and the one in company


@pytest.mark.parametrize("lost", [None, Suspect(calls(2))])
def test_what_nobody_waited_for_is_not_tried_again(lost: Suspect | None) -> None:
    assert after_loss(calls(2), lost, "late") == ()


@given(st.integers(1, 20), st.lists(st.sampled_from(LOSSES), min_size=30, max_size=30))
def test_every_call_is_tried_again_in_one_suspect_at_most_and_not_for_ever(
    count: int, losses: list[Loss]
) -> None:
    batch = calls(count)
    waiting: list[tuple[list[Call], Suspect | None]] = [(batch, None)]
    for loss in losses:
        tried, suspect = waiting.pop()
        again = after_loss(tried, suspect, loss)
        ids = [id(call) for one in again for call in one.calls]
        assert len(set(ids)) == len(ids)
        assert set(ids) in (set(), {id(call) for call in tried})
        assert all(one.losses == (suspect.losses if suspect else 0) + 1 for one in again)
        waiting += [(one.calls, one) for one in again]
        if not waiting:
            break
    assert all(suspect is not None and suspect.losses <= 5 for _, suspect in waiting)
