"""The session against real ONNX graphs: what it says of a model, and what it gives back."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx.helper
import pytest
from onnx import TensorProto

from gateway.core.datatypes import BY_ONNX, DATATYPES
from gateway.errors import ModelFailed
from gateway.execute.session import LoadFailed, Session, SessionSettings, is_out_of_memory
from gateway.types import Arm, Array, Call, Outputs, Payload, Shape, Signature, TensorSpec, Version
from tests import models_onnx
from tests.fakes import deaf

BATCHES = SessionSettings(max_batch_rows=64)

# What every element type of ONNX that V2 can carry is called there.
KINDS = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def call(session: Session, rows: int, *payloads: Payload, shapes: tuple[Shape, ...]) -> Call:
    return Call(Arm(Version("m", "1", session.signature)), payloads, rows, shapes, deaf)


def floats(session: Session, *rows: list[float]) -> Call:
    payload = np.array(rows, dtype="<f4").tobytes()
    return call(session, len(rows), payload, shapes=((len(rows[0]),),))


def rows_out(outputs: Outputs) -> list[object]:
    rows: list[object] = outputs.arrays[0].tolist()
    return rows


def test_the_signature_is_the_graphs_with_the_protocols_names(tmp_path: Path) -> None:
    session = Session(models_onnx.sum_and_names(tmp_path / "m.onnx"), BATCHES)
    assert session.signature == Signature(
        inputs=(
            TensorSpec("a", "FP32", (-1, 2)),
            TensorSpec("b", "INT64", (-1, 2)),
            TensorSpec("name", "BYTES", (-1,)),
        ),
        outputs=(
            TensorSpec("total", "FP32", (-1, 2)),
            TensorSpec("called", "BYTES", (-1,)),
            TensorSpec("same", "INT64", (-1, 2)),
        ),
        max_batch_rows=64,
    )
    assert session.fixed_rows is None


def test_without_a_declaration_there_is_no_batch_axis(tmp_path: Path) -> None:
    file = models_onnx.echo(tmp_path / "m.onnx", TensorProto.FLOAT, ["rows", 2])
    session = Session(file, SessionSettings())
    assert session.signature.max_batch_rows == 0
    assert session.signature.inputs == (TensorSpec("x", "FP32", (-1, 2)),)
    whole = call(session, 1, np.arange(4, dtype="<f4").tobytes(), shapes=((2, 2),))
    outputs = session.execute([whole])
    assert outputs.calls == 1
    assert rows_out(outputs) == [[0, 1], [2, 3]]


def test_a_model_without_batch_axis_may_give_a_scalar(tmp_path: Path) -> None:
    session = Session(models_onnx.scalar(tmp_path / "m.onnx"), SessionSettings())
    whole = call(session, 1, np.arange(4, dtype="<f4").tobytes(), shapes=((4,),))
    (array,) = session.execute([whole]).arrays
    assert (array.shape, float(array)) == ((), 6.0)


def test_calls_are_run_together_and_their_rows_come_out_in_order(tmp_path: Path) -> None:
    session = Session(models_onnx.twice(tmp_path / "m.onnx"), BATCHES)
    outputs = session.execute([floats(session, [1, 2], [3, 4]), floats(session, [5, 6])])
    assert outputs.calls == 2
    assert rows_out(outputs) == [[2, 4], [6, 8], [10, 12]]


def test_every_input_is_fed_by_its_name_and_every_output_comes_in_its_place(
    tmp_path: Path,
) -> None:
    session = Session(models_onnx.sum_and_names(tmp_path / "m.onnx"), BATCHES)
    calls = [
        call(
            session,
            1,
            np.array([at, 0.5], dtype="<f4").tobytes(),
            np.array([10, at], dtype="<i8").tobytes(),
            [name],
            shapes=((2,), (2,), ()),
        )
        for at, name in enumerate(("é", ""))
    ]
    total, called, same = session.execute(calls).arrays
    assert total.tolist() == [[10, 0.5], [11, 1.5]]
    assert called.tolist() == ["é", ""]
    assert same.tolist() == [[10, 0], [10, 1]]


def test_the_table_of_kinds_is_complete() -> None:
    assert KINDS.keys() == DATATYPES.keys()


def patterns(datatype: str) -> Payload:
    """Return two rows of two elements whose bits must come back as they are."""
    kind = DATATYPES[datatype]
    if datatype == "BYTES":
        return ["", "\N{SNOWMAN}", "a b", "\n"]
    if datatype == "BOOL":
        return bytes([0, 1, 1, 0])
    if datatype == "BF16":
        return np.array([0x3F80, 0xFF80, 0x7FC1, 0x8000], dtype="<u2").tobytes()
    if kind.numpy.kind == "f":
        return np.array([1.5, -0.0, np.inf, np.nan], dtype=kind.numpy).tobytes()
    smallest, largest = bytes(kind.size_bytes - 1) + b"\x80", b"\xff" * kind.size_bytes
    return smallest + largest + bytes(2 * kind.size_bytes)


@pytest.mark.parametrize("datatype", KINDS)
def test_every_datatype_comes_back_bit_by_bit(tmp_path: Path, datatype: str) -> None:
    session = Session(models_onnx.echo(tmp_path / "m.onnx", KINDS[datatype]), BATCHES)
    assert session.signature.inputs == (TensorSpec("x", datatype, (-1, 2)),)
    sent = patterns(datatype)
    (array,) = session.execute([call(session, 2, sent, shapes=((2,),))]).arrays
    assert array.shape == (2, 2)
    assert array.dtype == DATATYPES[datatype].numpy
    if isinstance(sent, list):
        assert array.ravel().tolist() == sent
    else:
        assert array.tobytes() == sent


@pytest.mark.parametrize(
    ("source", "sent", "target", "expected"),
    [
        ("FP32", np.array([1, -2], dtype="<f4"), "BF16", np.array([0x3F80, 0xC000], dtype="<u2")),
        ("BF16", np.array([0x3F80, 0xC000], dtype="<u2"), "FP32", np.array([1, -2], dtype="<f4")),
        ("FP16", np.array([1, -2], dtype="<f2"), "BF16", np.array([0x3F80, 0xC000], dtype="<u2")),
        ("FP32", np.array([1, -2], dtype="<f4"), "FP16", np.array([1, -2], dtype="<f2")),
    ],
)
def test_half_precision_means_what_it_says(
    tmp_path: Path, source: str, sent: Array, target: str, expected: Array
) -> None:
    file = models_onnx.cast(tmp_path / "m.onnx", KINDS[source], KINDS[target])
    session = Session(file, BATCHES)
    calls = [call(session, 1, sent.tobytes(), shapes=((2,),)) for _ in range(2)]
    (array,) = session.execute(calls).arrays
    assert array.dtype == expected.dtype
    assert array.tolist() == [expected.tolist(), expected.tolist()]


def test_tensors_without_elements_are_run(tmp_path: Path) -> None:
    session = Session(models_onnx.twice(tmp_path / "m.onnx"), BATCHES)
    (array,) = session.execute([call(session, 2, b"", shapes=((0,),))]).arrays
    assert array.shape == (2, 0)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_fixed_batch_axis_is_filled_up_and_the_filling_cut_off(tmp_path: Path, rows: int) -> None:
    session = Session(models_onnx.twice(tmp_path / "m.onnx", rows=3), BATCHES)
    assert session.fixed_rows == 3
    assert session.signature.inputs == (TensorSpec("x", "FP32", (-1, -1)),)
    asked = [[float(at), 1.0] for at in range(rows)]
    outputs = session.execute([floats(session, *asked)])
    assert rows_out(outputs) == [[2 * at, 2] for at in range(rows)]


def test_a_model_is_given_its_buckets_and_the_filling_is_cut_off(tmp_path: Path) -> None:
    """The graph breaks below four rows: that it answers shows that it was given four."""
    file = models_onnx.only_rows_above(tmp_path / "m.onnx", 4)
    one = np.float32(7).tobytes()
    bare = Session(file, BATCHES)
    with pytest.raises(Exception, match=r"(?i)out of|bounds|invalid"):
        bare.execute([call(bare, 1, one, shapes=((),))])
    padded = Session(file, SessionSettings(64, pad_to=(4, 8)))
    outputs = padded.execute([call(padded, 1, one, shapes=((),))] * 2)
    assert (rows_out(outputs), outputs.calls) == ([7, 7], 2)
    five = call(padded, 5, one * 5, shapes=((),))
    assert rows_out(padded.execute([five])) == [7] * 5
    nine = call(padded, 9, one * 9, shapes=((),))
    assert rows_out(padded.execute([nine])) == [7] * 9


@pytest.mark.parametrize("settings", [BATCHES, SessionSettings(64, pad_to=(8,)), SessionSettings()])
def test_what_an_execution_took_is_told_in_three_parts(
    tmp_path: Path, settings: SessionSettings
) -> None:
    session = Session(models_onnx.twice(tmp_path / "m.onnx"), settings)
    row = np.arange(2, dtype="<f4").tobytes()
    shapes = ((2,),) if settings.max_batch_rows else ((1, 2),)
    began_ns = time.perf_counter_ns()
    outputs = session.execute([call(session, 1, row, shapes=shapes)])
    took_ns = time.perf_counter_ns() - began_ns
    parts_ns = outputs.input_ns, outputs.infer_ns, outputs.output_ns
    assert min(parts_ns) >= 0
    assert 0 < sum(parts_ns) <= took_ns


def test_a_row_that_breaks_the_model_raises_and_the_next_run_is_fine(tmp_path: Path) -> None:
    session = Session(models_onnx.picky(tmp_path / "m.onnx"), BATCHES)

    def asking(*rows: int) -> Call:
        return call(session, len(rows), np.array(rows, dtype="<i8").tobytes(), shapes=((),))

    with pytest.raises(Exception, match="9"):
        session.execute([asking(1), asking(9)])
    assert rows_out(session.execute([asking(1), asking(3)])) == [11, 13]


def test_an_output_that_lost_its_rows_is_the_models_failure(tmp_path: Path) -> None:
    session = Session(models_onnx.total(tmp_path / "m.onnx"), BATCHES)
    two = call(session, 2, np.ones(2, dtype="<f4").tobytes(), shapes=((),))
    with pytest.raises(ModelFailed) as caught:
        session.execute([two])
    assert str(caught.value) == "output 'y': expected FP32 [-1] of 2 rows, got float32 [1]"


def test_an_output_of_another_rank_or_type_is_the_models_failure(tmp_path: Path) -> None:
    """No graph of ours gives one; a custom operator may."""
    session = Session(models_onnx.echo(tmp_path / "m.onnx", TensorProto.FLOAT), SessionSettings())
    for odd in (np.zeros((1, 2, 1), dtype="<f4"), np.zeros((1, 2), dtype="<f8")):
        with pytest.raises(ModelFailed, match=r"output 'y': expected FP32 \[-1, 2\], got float"):
            session._checked([odd], None)  # noqa: SLF001 - the one way to such an output


@pytest.mark.parametrize(
    ("build", "settings", "reason"),
    [
        (models_onnx.sequence, BATCHES, "tensor 'many' has type seq(tensor(float)), which V2"),
        (models_onnx.scalar, BATCHES, "tensor 'y' is a scalar, but max_batch_size is set"),
        (models_onnx.bfloat16_and_names, BATCHES, "tensor 'name' is BYTES in a model with BF16"),
        (
            lambda path: models_onnx.echo(path, TensorProto.COMPLEX64),
            SessionSettings(),
            "complex64",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused_by_the_tensors_name(
    tmp_path: Path, build: Callable[[Path], Path], settings: SessionSettings, reason: str
) -> None:
    file = build(tmp_path / "m.onnx")
    with pytest.raises(LoadFailed) as caught:
        Session(file, settings)
    assert str(caught.value).startswith(f"{file}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model at all", None])
def test_what_is_no_model_is_refused_with_its_file_in_one_line(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "m.onnx"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LoadFailed) as caught:
        Session(file, BATCHES)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("datatype", ["FP32", "BYTES", "BF16"])
@pytest.mark.parametrize("settings", [BATCHES, SessionSettings(), SessionSettings(64, pad_to=(8,))])
def test_a_trial_run_takes_time_and_needs_no_request(
    tmp_path: Path, datatype: str, settings: SessionSettings
) -> None:
    session = Session(models_onnx.echo(tmp_path / "m.onnx", KINDS[datatype]), settings)
    assert session.time_s(3) > 0


def test_a_trial_run_takes_the_shape_that_the_graph_fixes(tmp_path: Path) -> None:
    file = models_onnx.echo(tmp_path / "m.onnx", TensorProto.FLOAT, [3, "width"])
    assert Session(file, SessionSettings()).time_s(1) > 0


def test_a_trial_run_fills_up_a_fixed_batch_axis(tmp_path: Path) -> None:
    session = Session(models_onnx.twice(tmp_path / "m.onnx", rows=3), BATCHES)
    assert session.time_s(1) > 0


def test_threads_inside_onnx_runtime_are_those_declared_and_do_not_spin(tmp_path: Path) -> None:
    settings = SessionSettings(64, intra_op_threads=2, inter_op_threads=2)
    session = Session(models_onnx.twice(tmp_path / "m.onnx"), settings)
    options = session._ort.get_session_options()  # noqa: SLF001 - what ONNX Runtime was told
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 2)
    assert options.execution_mode.name == "ORT_PARALLEL"
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"
    assert rows_out(session.execute([floats(session, [1, 2])])) == [[2, 4]]


def test_onnx_runtime_calls_the_types_as_the_table_says(tmp_path: Path) -> None:
    for name, element in KINDS.items():
        file = models_onnx.echo(tmp_path / f"{name}.onnx", element)
        (node,) = Session(file, BATCHES)._ort.get_inputs()  # noqa: SLF001 - its own word for it
        assert BY_ONNX[node.type].name == name


@pytest.mark.parametrize("settings", [BATCHES, SessionSettings(64, pad_to=(8,)), SessionSettings()])
def test_whole_arrays_are_answered_as_calls_are(tmp_path: Path, settings: SessionSettings) -> None:
    session = Session(models_onnx.twice(tmp_path / "m.onnx"), settings)
    (array,) = session.infer([np.array([[1, 2], [3, 4], [5, 6]], dtype="<f4")])
    assert array.tolist() == [[2, 4], [6, 8], [10, 12]]


def test_a_trial_run_takes_the_shape_that_callers_send(tmp_path: Path) -> None:
    """The two inputs fit each other in no shape but the one that was told."""
    file = models_onnx.save(
        tmp_path / "m.onnx",
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        [("x", TensorProto.FLOAT, ["rows", "width"])],
        [("y", TensorProto.FLOAT, ["rows", 1])],
        [onnx.helper.make_tensor("w", TensorProto.FLOAT, [3, 1], [1.0, 2.0, 3.0])],
    )
    with pytest.raises(ModelFailed):
        Session(file, BATCHES).time_s(2)
    assert Session(file, SessionSettings(64, trial_shapes={"x": (3,)})).time_s(2) > 0
    assert Session(file, SessionSettings(trial_shapes={"x": (2, 3)})).time_s(1) > 0


def test_a_trial_run_looks_at_what_came_out(tmp_path: Path) -> None:
    session = Session(models_onnx.total(tmp_path / "m.onnx"), BATCHES)
    with pytest.raises(ModelFailed, match=r"output 'y': expected FP32 \[-1\] of 2 rows"):
        session.time_s(2)


@pytest.mark.parametrize(("threads", "clock"), [(1, "thread_time"), (2, "perf_counter")])
def test_one_thread_is_measured_by_its_own_time_and_several_by_the_clock(
    tmp_path: Path, threads: int, clock: str
) -> None:
    settings = SessionSettings(64, intra_op_threads=threads)
    session = Session(models_onnx.twice(tmp_path / "m.onnx"), settings)
    assert session._clock.__name__ == clock  # noqa: SLF001 - no test measures time


@pytest.mark.parametrize(
    ("opset", "ir_version", "reason"),
    [
        (9999, 8, "opset 9999 of ai.onnx is unknown to this ONNX Runtime: expected at most "),
        (17, 9999, "IR version 9999 is unknown to this ONNX Runtime: expected at most "),
    ],
)
def test_what_this_onnx_runtime_is_too_old_for_is_told_by_its_number(
    tmp_path: Path, opset: int, ir_version: int, reason: str
) -> None:
    file = models_onnx.of_opset(tmp_path / "m.onnx", opset, ir_version)
    with pytest.raises(LoadFailed) as caught:
        Session(file, BATCHES)
    assert str(caught.value).startswith(f"{file}: {reason}")


def test_want_of_memory_is_told_from_other_failures(tmp_path: Path) -> None:
    session = Session(models_onnx.eats_memory(tmp_path / "m.onnx", 1 << 50), BATCHES)
    with pytest.raises(ModelFailed) as caught:
        session.time_s(1)
    assert is_out_of_memory(caught.value)
    chained = LoadFailed("a trial run failed")
    chained.__cause__ = MemoryError()
    assert is_out_of_memory(chained)
    assert not is_out_of_memory(ModelFailed("an index was out of bounds"))


def test_axes_that_the_graph_leaves_open_are_as_they_are_declared(tmp_path: Path) -> None:
    declared = SessionSettings(
        max_batch_rows=64,
        inputs=(TensorSpec("x", "FP32", (-1, 4)),),
        outputs=(TensorSpec("y", "FP32", (-1, 5)), TensorSpec("z", "FP32", (-1, 6))),
    )
    signature = Session(models_onnx.twice(tmp_path / "m.onnx"), declared).signature
    assert [spec.shape for spec in (*signature.inputs, *signature.outputs)] == [(-1, 4), (-1, 5)]


@pytest.mark.parametrize("shape", [(-1, 3), (-1, -1), (-1,), (-1, 2, 2)])
def test_axes_that_the_graph_fixes_stay_whatever_is_declared(tmp_path: Path, shape: Shape) -> None:
    declared = SessionSettings(max_batch_rows=64, inputs=(TensorSpec("x", "FP32", shape),))
    session = Session(models_onnx.echo(tmp_path / "m.onnx", TensorProto.FLOAT), declared)
    assert session.signature.inputs[0].shape == (-1, 2)


def test_without_a_batch_axis_the_first_axis_is_declared_too(tmp_path: Path) -> None:
    declared = SessionSettings(inputs=(TensorSpec("x", "FP32", (3, 4)),))
    session = Session(models_onnx.twice(tmp_path / "m.onnx"), declared)
    assert session.signature.inputs[0].shape == (3, 4)
    assert session.time_s(1) >= 0


def test_a_file_in_memory_takes_the_place_of_one_on_disk(tmp_path: Path) -> None:
    onnx = models_onnx.with_external_weights(tmp_path / "m.onnx", "w.bin")
    content = memoryview(np.array([10, 20], dtype="<f4").tobytes())
    session = Session(onnx, BATCHES, {"w.bin": content})
    assert rows_out(session.execute([floats(session, [1, 2])])) == [[11, 22]]
