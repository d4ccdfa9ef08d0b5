"""From a version on disk to what can be relied on, and every step at which one may fail."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from gateway.core.costs import Bounds, Placement
from gateway.execute.session import LoadFailed, is_out_of_memory
from gateway.repository.describe import describe
from gateway.repository.load import load
from gateway.repository.manifest import identify
from gateway.repository.prove import prove, samples
from gateway.repository.settings import (
    BatchingSettings,
    ExecutionSettings,
    ModelSettings,
    WarmupInput,
    WarmupSample,
)
from gateway.types import Signature, TensorSpec
from tests import models_onnx
from tests.repository.versions import BATCHES, CHEAP, DEAR, FEW, declaring, found, twice


def refusal(onnx: Path, settings: ModelSettings = FEW) -> str:
    """Return why a version is not proved."""
    with pytest.raises(LoadFailed) as caught:
        prove(found(onnx, settings), CHEAP, "p")
    return str(caught.value)


def test_a_proof_tells_the_digest_the_signature_and_what_was_found(tmp_path: Path) -> None:
    version = found(twice(tmp_path))
    proof = prove(version, CHEAP, "onnxruntime_onnx")
    assert proof.found is version
    assert proof.digest == identify(version)
    assert proof.signature == Signature(
        (TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)),), 512
    )
    assert proof.platform == "onnxruntime_onnx"
    assert proof.trial_shapes == {}


def test_its_cost_is_measured(tmp_path: Path) -> None:
    cost = prove(found(twice(tmp_path)), CHEAP, "p").cost
    assert cost.of(1) > 0
    assert cost.of(128) >= cost.of(1)


def test_every_step_is_told_before_it_begins(tmp_path: Path) -> None:
    onnx = twice(tmp_path)
    golden(onnx, "FP32", [1, 1], [1], [2])
    told: list[str] = []
    prove(found(onnx, declaring(None, BatchingSettings(max_batch_size=4))), CHEAP, "p", told.append)
    assert told == [
        "verifying its files",
        "opening model.onnx",
        *[f"measuring {rows} rows" for rows in (1, 2, 4)],
        *[f"warming {rows} rows" for rows in (1, 2, 4)],
        "running golden.json",
    ]


# Placement: who runs it, and how many rows at once.


def test_a_tiny_model_runs_on_the_loop_under_generous_bounds(tmp_path: Path) -> None:
    """A second a row is a million times what it costs: no machine is as slow as that."""
    bounds = Bounds(inline_row_s=1.0, inline_batch_s=10.0)
    assert prove(found(twice(tmp_path)), bounds, "p").placement.is_inline


def placement(folder: Path, bounds: Bounds, settings: ModelSettings) -> Placement:
    return prove(found(twice(folder), settings), bounds, "p").placement


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
    proof = prove(found(twice(tmp_path), declaring(execution)), TIGHT, "p")
    assert proof.placement.max_rows == min(512, proof.cost.rows_within(budget_s))


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
    proof = prove(found(wide, declaring(ExecutionSettings("thread"), batching)), NO_TIME, "p")
    assert proof.cost.rows_within(0.0) == 1
    assert proof.placement == Placement(False, 8)


def test_an_execution_is_never_larger_than_a_request_may_be(tmp_path: Path) -> None:
    batching = BatchingSettings(max_batch_size=4, max_execution_rows=8)
    assert placement(tmp_path, CHEAP, declaring(None, batching)).max_rows == 4


def test_a_model_without_batch_axis_runs_one_call_at_a_time(tmp_path: Path) -> None:
    assert placement(tmp_path, CHEAP, ModelSettings()) == Placement(True, 1)


def test_a_fixed_batch_axis_bounds_an_execution_and_not_a_request(tmp_path: Path) -> None:
    proof = prove(found(twice(tmp_path, rows=3)), CHEAP, "p")
    assert proof.placement.max_rows == 3
    assert proof.signature.max_batch_rows == 512


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


class Disturbed:
    """A session that takes a millisecond, and a hundred where the machine was busy: mostly."""

    def __init__(self) -> None:
        self._runs = 0

    def time_s(self, rows: int) -> float:
        self._runs += 1
        return 0.001 if self._runs % 5 in (1, 3) else 0.1


def test_what_else_the_machine_does_is_not_the_models_cost() -> None:
    assert samples(Disturbed(), 1, enough_s=1.0) == [(1, 0.001)]


class Instant:
    def time_s(self, rows: int) -> float:
        return 0.0


def test_a_run_too_short_for_the_clock_still_has_a_cost() -> None:
    ((rows, elapsed_s),) = samples(Instant(), 1, enough_s=1.0)
    assert (rows, elapsed_s > 0) == (1, True)


# Files: what is on disk must be what was meant, all of it, and nothing else.


def test_a_checksum_that_does_not_hold_names_the_file(tmp_path: Path) -> None:
    onnx = twice(tmp_path)
    wrong = hashlib.sha256(b"another file").hexdigest()
    (onnx.parent / "manifest.sha256").write_text(f"{wrong}  model.onnx\n")
    reason = refusal(onnx)
    assert reason.startswith(f"{onnx}: expected SHA-256 {wrong}")
    assert hashlib.sha256(onnx.read_bytes()).hexdigest() in reason


def test_a_manifest_that_holds_is_accepted(tmp_path: Path) -> None:
    onnx = twice(tmp_path)
    right = hashlib.sha256(onnx.read_bytes()).hexdigest()
    (onnx.parent / "manifest.sha256").write_text(f"{right}  model.onnx\n")
    assert prove(found(onnx, FEW), CHEAP, "p").digest == identify(found(onnx, FEW))


def test_external_data_in_the_folder_are_the_versions_own(tmp_path: Path) -> None:
    onnx = models_onnx.with_external_weights(tmp_path / "7" / "model.onnx", "weights.bin")
    (onnx.parent / "weights.bin").write_bytes(bytes(8))
    assert prove(found(onnx, FEW), CHEAP, "p").signature.inputs[0].name == "x"


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", ".hidden"])
def test_external_data_elsewhere_are_refused_by_their_place(tmp_path: Path, location: str) -> None:
    onnx = models_onnx.with_external_weights(tmp_path / "7" / "model.onnx", location)
    (tmp_path / "secret.bin").write_bytes(bytes(8))
    (onnx.parent / ".hidden").write_bytes(bytes(8))
    reason = refusal(onnx)
    assert reason.startswith(f"{onnx}: external data '{location}' ")


@pytest.mark.parametrize("build", [models_onnx.truncated, lambda path: path])
def test_what_is_no_model_is_refused_with_its_file(
    tmp_path: Path, build: Callable[[Path], Path]
) -> None:
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(b"no model at all")
    assert refusal(build(onnx)).startswith(f"{onnx}: is no ONNX model: ")


def test_a_model_that_is_not_there_is_refused_with_its_file(tmp_path: Path) -> None:
    assert str(tmp_path / "model.onnx") in refusal(tmp_path / "model.onnx")


def test_a_version_that_changes_while_it_is_proved_is_refused(tmp_path: Path) -> None:
    onnx = twice(tmp_path)

    def touch(step: str) -> None:
        if step.startswith("warming"):
            os.utime(onnx, ns=(1, 1))

    with pytest.raises(LoadFailed, match="changed while it was proved"):
        prove(found(onnx, FEW), CHEAP, "p", touch)


# The graph: what this ONNX Runtime knows, and what V2 and the settings say.


@pytest.mark.parametrize(
    ("opset", "ir_version", "reason"),
    [
        (9999, 8, "opset 9999 of ai.onnx is unknown to this ONNX Runtime: expected at most "),
        (17, 9999, "IR version 9999 is unknown to this ONNX Runtime: expected at most "),
    ],
)
def test_an_opset_or_format_from_the_future_is_refused_by_its_number(
    tmp_path: Path, opset: int, ir_version: int, reason: str
) -> None:
    onnx = models_onnx.of_opset(tmp_path / "model.onnx", opset, ir_version)
    assert refusal(onnx).startswith(f"{onnx}: {reason}")


def test_a_type_that_the_protocol_cannot_carry_is_refused_by_the_tensors_name(
    tmp_path: Path,
) -> None:
    onnx = models_onnx.sequence(tmp_path / "model.onnx")
    assert "tensor 'many' has type seq(tensor(float))" in refusal(onnx)


def declared(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = ()) -> ModelSettings:
    return replace(FEW, declared_inputs=inputs, declared_outputs=outputs)


def test_tensors_that_are_declared_as_they_are_pass(tmp_path: Path) -> None:
    x, y = TensorSpec("x", "FP32", (-1, 4)), TensorSpec("y", "FP32", (-1, -1))
    settings = declared(x, outputs=(y,))
    assert prove(found(twice(tmp_path), settings), CHEAP, "p").signature.inputs[0].name == "x"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            declared(TensorSpec("x", "INT8", (-1, -1))),
            "input 'x': expected INT8 [-1, -1], the model has FP32 [-1, 2]",
        ),
        (
            declared(TensorSpec("x", "FP32", (-1, 3))),
            "input 'x': expected FP32 [-1, 3], the model has FP32 [-1, 2]",
        ),
        (
            declared(TensorSpec("x", "FP32", (-1,))),
            "input 'x': expected FP32 [-1], the model has FP32 [-1, 2]",
        ),
        (
            declared(TensorSpec("z", "FP32", (-1, 2))),
            "input 'z': the model has 'x'",
        ),
        (
            declared(TensorSpec("x", "FP32", (-1, 2)), outputs=(TensorSpec("z", "FP32", (-1, 2)),)),
            "output 'z': the model has 'y'",
        ),
    ],
)
def test_tensors_that_are_declared_otherwise_are_refused_by_name(
    tmp_path: Path, settings: ModelSettings, reason: str
) -> None:
    onnx = models_onnx.echo(tmp_path / "twice" / "7" / "model.onnx", TensorProto.FLOAT)
    file = tmp_path / "twice" / "config.pbtxt"
    assert refusal(onnx, settings).splitlines()[0] == f"{file}: {reason}"


def test_an_input_that_was_left_undeclared_is_named(tmp_path: Path) -> None:
    onnx = models_onnx.sum_and_names(tmp_path / "model.onnx")
    settings = declared(TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT64", (-1, 2)))
    assert "input 'name' of the model is not declared" in refusal(onnx, settings)


# Trial runs.


def test_a_model_that_breaks_in_its_trial_run_is_named_with_the_reason(tmp_path: Path) -> None:
    onnx = models_onnx.picky(tmp_path / "model.onnx", known=0)
    with pytest.raises(LoadFailed) as caught:
        prove(found(onnx), CHEAP, "p")
    assert str(caught.value).startswith(f"{onnx}: a trial run failed: ")
    assert caught.value.__cause__ is not None


def test_a_model_that_says_it_batches_and_does_not_is_refused_by_its_output(
    tmp_path: Path,
) -> None:
    onnx = models_onnx.total(tmp_path / "model.onnx")
    assert refusal(onnx) == (
        f"{onnx}: a trial run failed: output 'y': expected FP32 [-1] of 2 rows, got float32 [1]"
    )


def test_memory_that_cannot_be_had_is_told_from_other_failures(tmp_path: Path) -> None:
    onnx = models_onnx.eats_memory(tmp_path / "model.onnx", elements=1 << 50)
    with pytest.raises(LoadFailed) as caught:
        prove(found(onnx), CHEAP, "p")
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(LoadFailed("another"))


@pytest.mark.parametrize("rows", [4, 8])
def test_every_bucket_is_run_and_no_other_size(tmp_path: Path, rows: int) -> None:
    onnx = models_onnx.only_rows_above(tmp_path / "model.onnx", 4)
    batching = BatchingSettings(max_batch_size=8, pad_to=(4, 8), max_execution_rows=rows)
    told: list[str] = []
    prove(found(onnx, declaring(None, batching)), CHEAP, "p", told.append)
    warmed = [step for step in told if step.startswith("warming")]
    assert warmed == [f"warming {size} rows" for size in (4, 8) if size <= rows]


def test_a_nan_from_zeros_is_no_fault(tmp_path: Path) -> None:
    onnx = models_onnx.divides(tmp_path / "model.onnx")
    assert prove(found(onnx, FEW), CHEAP, "p").cost.of(1) > 0


# Samples.


def golden(
    onnx: Path, datatype: str, shape: list[int], sent: list[object], expected: list[object]
) -> None:
    tensor = {"datatype": datatype, "shape": shape}
    sample = {
        "inputs": [{"name": "x", **tensor, "data": sent}],
        "outputs": [{"name": "y", **tensor, "data": expected}],
    }
    (onnx.parent / "golden.json").write_text(json.dumps(sample))


def test_a_golden_sample_that_is_given_again_passes_and_tells_what_callers_send(
    tmp_path: Path,
) -> None:
    onnx = twice(tmp_path)
    golden(onnx, "FP32", [2, 3], [1, 2, 3, 4, 5, 6], [2, 4, 6, 8, 10, 12])
    assert prove(found(onnx, FEW), CHEAP, "p").trial_shapes == {"x": (3,)}


def test_without_batch_axis_the_sample_is_the_whole_request(tmp_path: Path) -> None:
    onnx = twice(tmp_path)
    golden(onnx, "FP32", [2, 1], [1, 2], [2, 4])
    assert prove(found(onnx, ModelSettings()), CHEAP, "p").trial_shapes == {"x": (2, 1)}


def test_a_golden_sample_that_comes_out_otherwise_is_refused_by_its_place(tmp_path: Path) -> None:
    onnx = twice(tmp_path)
    golden(onnx, "FP32", [1, 2], [1, 2], [2, 5])
    file = onnx.parent / "golden.json"
    assert refusal(onnx) == (
        f"{file}: output 'y'[0, 1]: expected 5.0 within 1e-05 + 0.001 of it, got 4.0"
    )


def test_a_nan_where_a_number_was_expected_is_refused_by_name(tmp_path: Path) -> None:
    onnx = models_onnx.divides(tmp_path / "model.onnx")
    golden(onnx, "FP32", [1, 2], [1, 0], [1, 1])
    reason = refusal(onnx)
    assert reason.endswith("output 'y'[0, 1]: expected 1.0, a finite number, got nan")


def test_a_golden_sample_with_more_rows_than_a_request_may_have_is_refused(tmp_path: Path) -> None:
    onnx = twice(tmp_path)
    golden(onnx, "FP32", [9, 1], [1] * 9, [2] * 9)
    assert refusal(onnx).endswith("input 'x': expected 1 to 8 rows, got 9")


def test_a_golden_sample_that_breaks_the_model_is_named(tmp_path: Path) -> None:
    onnx = models_onnx.picky(tmp_path / "model.onnx", known=4)
    golden(onnx, "INT64", [1], [9], [9])
    assert refusal(onnx).startswith(f"{onnx}: running golden.json failed: ")


def warming(one: WarmupInput, count: int = 1) -> ModelSettings:
    return replace(FEW, warmup=(WarmupSample("first", 2, {"x": one}, count),))


def test_warm_up_samples_are_run_and_tell_what_callers_send(tmp_path: Path) -> None:
    told: list[str] = []
    settings = warming(WarmupInput("FP32", (3,), "random"), count=2)
    proof = prove(found(twice(tmp_path), settings), CHEAP, "p", told.append)
    assert "running warm-up 'first'" in told
    assert proof.trial_shapes == {"x": (3,)}


def test_a_warm_up_that_does_not_fit_the_model_is_refused_by_name(tmp_path: Path) -> None:
    onnx = twice(tmp_path)
    assert refusal(onnx, warming(WarmupInput("INT8", (3,)))) == (
        f"{onnx.parent.parent / 'config.pbtxt'}: warm-up 'first': input 'x': "
        "expected FP32 [-1], got INT8 [3]"
    )


def test_a_warm_up_that_breaks_the_model_is_named(tmp_path: Path) -> None:
    onnx = models_onnx.picky(tmp_path / "3" / "model.onnx", known=4)
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup" / "row").write_bytes((9).to_bytes(8, "little"))
    settings = warming(WarmupInput("INT64", (), "file", "row"))
    assert refusal(onnx, settings).startswith(f"{onnx}: running warm-up 'first' failed: ")


def test_the_settings_of_the_samples_batches(tmp_path: Path) -> None:
    """512 rows are declared; the trial runs in doublings, and in nothing larger."""
    told: list[str] = []
    prove(found(twice(tmp_path), BATCHES), CHEAP, "p", told.append)
    assert [step for step in told if "warming" in step] == [
        f"warming {1 << power} rows" for power in range(10)
    ]


# Declared dims.


def stretched(path: Path) -> Path:
    """y = x * w, FP32 [rows, k] by [4, 2], where the graph says nothing of k."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 2], [1.0] * 8)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    x = ("x", TensorProto.FLOAT, ["rows", "k"])
    y = ("y", TensorProto.FLOAT, ["rows", "m"])
    return models_onnx.save(path, [node], [x], [y], [weights])


def test_trial_runs_have_the_dims_that_are_declared(tmp_path: Path) -> None:
    """With an axis of 1 the model fails, and it would be a good version that is refused."""
    onnx = stretched(tmp_path / "model.onnx")
    assert "a trial run failed" in refusal(onnx)
    x, y = TensorSpec("x", "FP32", (-1, 4)), TensorSpec("y", "FP32", (-1, 2))
    proof = prove(found(onnx, declared(x, outputs=(y,))), CHEAP, "p")
    assert proof.signature == Signature((x,), (y,), FEW.batching.max_batch_size)


def test_what_is_loaded_has_the_dims_that_were_proved(tmp_path: Path) -> None:
    onnx = stretched(tmp_path / "model.onnx")
    settings = declared(TensorSpec("x", "FP32", (-1, 4)))
    proof = prove(found(onnx, settings), CHEAP, "p")
    assert load(proof).version.signature == proof.signature
    assert describe(proof.found, proof.signature, "p")["input"][0]["dims"] == [4]


def test_a_sample_that_is_not_as_declared_is_refused(tmp_path: Path) -> None:
    onnx = twice(tmp_path)
    golden(onnx, "FP32", [1, 3], [1, 2, 3], [2, 4, 6])
    told = refusal(onnx, declared(TensorSpec("x", "FP32", (-1, 4))))
    assert told.endswith("expected FP32 [-1, 4], got FP32 [1, 3]")


def test_of_many_tensors_that_are_declared_otherwise_the_first_are_told(tmp_path: Path) -> None:
    others = (TensorSpec(f"{number}", "FP32", (-1,)) for number in range(1000))
    told = refusal(twice(tmp_path), declared(*others)).splitlines()
    assert len(told) == 11
    assert told[-1] == "and 991 more"
