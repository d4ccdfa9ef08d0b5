"""From a version on disk to one that is warm, measured and placed."""

from dataclasses import replace
from pathlib import Path

import pytest
from onnx import TensorProto

from gateway.core.costs import Bounds, Placement
from gateway.execute.session import LoadFailed
from gateway.repository.digest import digest
from gateway.repository.discover import Found
from gateway.repository.load import Loaded, load, samples
from gateway.repository.settings import BatchingSettings, ExecutionSettings, ModelSettings
from tests import models_onnx
from tests.fakes import a_call, first_column

BATCHES = ModelSettings(batching=BatchingSettings(max_batch_size=512))
# Bounds beyond any machine's noise: what a test asks for is what it gets.
CHEAP = Bounds(inline_row_s=1e6, inline_batch_s=1e9, thread_batch_s=1e9)
DEAR = Bounds(inline_row_s=0.0, inline_batch_s=1e9, thread_batch_s=1e9)


def found(onnx: Path, settings: ModelSettings = BATCHES) -> Found:
    return Found("twice", "7", onnx.parent, onnx, settings)


def twice(folder: Path, rows: str | int = "rows") -> Path:
    return models_onnx.twice(folder / "twice" / "7" / "model.onnx", rows)


def declaring(
    executor: ExecutionSettings | None = None, batching: BatchingSettings | None = None
) -> ModelSettings:
    return replace(
        BATCHES,
        execution=executor or BATCHES.execution,
        batching=batching or BATCHES.batching,
    )


def test_a_version_is_loaded_with_its_name_signature_and_digest(tmp_path: Path) -> None:
    onnx = twice(tmp_path)
    loaded = load(found(onnx), CHEAP, "onnxruntime_onnx")
    version = loaded.version
    assert (version.model, version.version, version.platform) == ("twice", "7", "onnxruntime_onnx")
    assert version.digest == digest(onnx.parent)
    assert version.signature is loaded.session.signature
    assert version.signature.max_batch_rows == 512
    assert loaded.settings is BATCHES


def test_what_is_loaded_can_be_run(tmp_path: Path) -> None:
    session = load(found(twice(tmp_path)), CHEAP, "p").session
    outputs = session.execute([a_call(1, 2), a_call(3)])
    assert first_column(outputs.arrays[0]) == [2, 4, 6]


def test_its_cost_is_measured(tmp_path: Path) -> None:
    cost = load(found(twice(tmp_path)), CHEAP, "p").cost
    assert cost.of(1) > 0
    assert cost.of(128) >= cost.of(1)


def test_a_tiny_model_runs_on_the_loop_under_generous_bounds(tmp_path: Path) -> None:
    """A second a row is a million times what it costs: no machine is as slow as that."""
    bounds = Bounds(inline_row_s=1.0, inline_batch_s=10.0)
    assert load(found(twice(tmp_path)), bounds, "p").placement.is_inline


def placement(folder: Path, bounds: Bounds, settings: ModelSettings) -> Placement:
    loaded: Loaded = load(found(twice(folder), settings), bounds, "p")
    return loaded.placement


@pytest.mark.parametrize(
    ("execution", "bounds", "is_inline"),
    [
        (ExecutionSettings("auto"), CHEAP, True),
        (ExecutionSettings("auto"), DEAR, False),
        (ExecutionSettings("auto", instances=2), CHEAP, False),
        (ExecutionSettings("inline"), DEAR, True),
        (ExecutionSettings("thread"), CHEAP, False),
    ],
)
def test_the_executor_is_the_one_declared_and_else_what_it_costs_decides(
    tmp_path: Path, execution: ExecutionSettings, bounds: Bounds, is_inline: bool
) -> None:
    assert placement(tmp_path, bounds, declaring(execution)) == Placement(is_inline, 512)


TIGHT = Bounds(inline_row_s=1e6, inline_batch_s=20e-6, thread_batch_s=40e-6)
NO_TIME = Bounds(inline_row_s=1e6, inline_batch_s=0.0, thread_batch_s=0.0)


@pytest.mark.parametrize(
    ("execution", "budget_s"),
    [
        (ExecutionSettings("inline"), TIGHT.inline_batch_s),
        (ExecutionSettings("auto"), TIGHT.inline_batch_s),
        (ExecutionSettings("auto", instances=2), TIGHT.thread_batch_s),
        (ExecutionSettings("thread"), TIGHT.thread_batch_s),
    ],
)
def test_an_execution_has_as_many_rows_as_its_budget_allows(
    tmp_path: Path, execution: ExecutionSettings, budget_s: float
) -> None:
    loaded = load(found(twice(tmp_path), declaring(execution)), TIGHT, "p")
    assert loaded.placement.max_rows == min(512, loaded.cost.rows_within(budget_s))


@pytest.mark.parametrize(
    ("execution", "bounds", "expected"),
    [
        (ExecutionSettings("inline"), CHEAP, Placement(True, 8)),
        (ExecutionSettings("auto"), CHEAP, Placement(True, 8)),
        (ExecutionSettings("thread"), CHEAP, Placement(False, 8)),
    ],
)
def test_the_rows_of_an_execution_may_be_declared(
    tmp_path: Path, execution: ExecutionSettings, bounds: Bounds, expected: Placement
) -> None:
    batching = BatchingSettings(max_batch_size=512, max_execution_rows=8)
    assert placement(tmp_path, bounds, declaring(execution, batching)) == expected


def test_rows_declared_for_a_thread_stand_though_the_line_would_choose_fewer(
    tmp_path: Path,
) -> None:
    wide = models_onnx.echo(tmp_path / "model.onnx", TensorProto.FLOAT, ["rows", 1 << 18])
    batching = BatchingSettings(max_batch_size=512, max_execution_rows=8)
    loaded = load(found(wide, declaring(ExecutionSettings("thread"), batching)), NO_TIME, "p")
    assert loaded.cost.rows_within(0.0) == 1
    assert loaded.placement == Placement(False, 8)


def test_an_execution_is_never_larger_than_a_request_may_be(tmp_path: Path) -> None:
    batching = BatchingSettings(max_batch_size=4, max_execution_rows=8)
    assert placement(tmp_path, CHEAP, declaring(None, batching)).max_rows == 4


def test_a_model_without_batch_axis_runs_one_call_at_a_time(tmp_path: Path) -> None:
    assert placement(tmp_path, CHEAP, ModelSettings()) == Placement(True, 1)


def test_a_fixed_batch_axis_bounds_an_execution_and_not_a_request(tmp_path: Path) -> None:
    loaded = load(found(twice(tmp_path, rows=3)), CHEAP, "p")
    assert loaded.placement.max_rows == 3
    assert loaded.version.signature.max_batch_rows == 512


def test_threads_and_buckets_reach_the_session(tmp_path: Path) -> None:
    onnx = models_onnx.only_rows_above(tmp_path / "model.onnx", 4)
    batching = BatchingSettings(max_batch_size=8, pad_to=(4, 8))
    settings = declaring(ExecutionSettings(intra_op_threads=2), batching)
    session = load(found(onnx, settings), CHEAP, "p").session
    assert session._ort.get_session_options().intra_op_num_threads == 2  # noqa: SLF001 - as told


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(b"no model at all")
    with pytest.raises(LoadFailed) as caught:
        load(found(onnx), CHEAP, "p")
    assert str(onnx) in str(caught.value)


def test_a_model_that_breaks_in_its_trial_run_is_named_with_the_reason(tmp_path: Path) -> None:
    onnx = models_onnx.picky(tmp_path / "model.onnx", known=0)
    with pytest.raises(LoadFailed) as caught:
        load(found(onnx), CHEAP, "p")
    assert str(caught.value).startswith(f"{onnx}: a trial run failed: ")
    assert caught.value.__cause__ is not None


class Slow:
    """A session that takes a second a row, without taking it."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def time_s(self, rows: int) -> float:
        self.asked.append(rows)
        return float(rows)


def test_a_slow_model_is_measured_at_no_larger_batch_than_it_takes_to_draw_the_line() -> None:
    session = Slow()
    assert samples(session, 128, enough_s=1.5) == [(1, 1.0), (2, 2.0)]
    assert max(session.asked) == 2
