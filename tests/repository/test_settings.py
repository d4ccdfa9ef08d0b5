"""Settings: what a version declares, and what it declares by saying nothing."""

import dataclasses

import pytest

from gateway.repository.settings import BatchingSettings, ExecutionSettings, ModelSettings


def test_a_model_that_says_nothing_has_no_batch_axis() -> None:
    assert ModelSettings().batching.max_batch_size == 0


def test_a_model_that_says_nothing_runs_where_its_cost_says_on_one_thread() -> None:
    assert ModelSettings().execution == ExecutionSettings(
        executor="auto", instances=1, intra_op_threads=1, inter_op_threads=1
    )


def test_a_model_that_says_nothing_takes_the_wait_of_the_gateway() -> None:
    assert BatchingSettings().max_wait_ms is None


def test_two_models_share_no_metrics() -> None:
    assert ModelSettings().metrics is not ModelSettings().metrics


@pytest.mark.parametrize("settings", [BatchingSettings(), ExecutionSettings(), ModelSettings()])
def test_settings_do_not_change(
    settings: BatchingSettings | ExecutionSettings | ModelSettings,
) -> None:
    name = dataclasses.fields(settings)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, name, None)
