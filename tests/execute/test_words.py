"""Words: a caller hears what was wrong with his numbers, and nothing of who found it where."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from gateway.errors import ModelFailed
from gateway.execute.session import Session, SessionSettings
from gateway.execute.words import what_failed, why_not_opened

STATUS = "Non-zero status code returned while running {} node. Name:'' Status Message: "
SAID = {
    "/onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91 "
    "onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, bool) "
    "size == wanted was false. No reshape.": "size == wanted was false. No reshape.",
    "math/element_wise_ops.h:563 void onnxruntime::BroadcastIterator::Init(ptrdiff_t, ptrdiff_t) "
    "axis == 1 was false. 3 by 4": "axis == 1 was false. 3 by 4",
    "a/b.cc:12 auto x::Y::z() const it (that) is bad": "it (that) is bad",
    "concatbase.h:133 PrepareForComputeImpl Axis 1 has 3 and 4": "Axis 1 has 3 and 4",
    "matmul_helper.h:59 Compute MatMul dimension mismatch": "MatMul dimension mismatch",
    "indices element out of data bounds, idx=7": "indices element out of data bounds, idx=7",
    "invalid expand shape": "invalid expand shape",
}


@pytest.mark.parametrize(("said", "told"), SAID.items())
def test_places_in_its_sources_are_left_out(said: str, told: str) -> None:
    assert what_failed(RuntimeError(STATUS + said + "\nand more\n")) == STATUS + told


@pytest.mark.parametrize("text", ["", "  \n "])
def test_who_says_nothing_is_known_by_its_kind(text: str) -> None:
    assert what_failed(ValueError(text)) == why_not_opened(ValueError(text)) == "ValueError"


def test_the_onnx_runtime_of_today_tells_no_places_either(tmp_path: Path) -> None:
    """Its words change with its version; a path into its sources would show here."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    to = helper.make_tensor_value_info("to", TensorProto.INT64, ["k"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])
    graph = helper.make_graph([helper.make_node("Reshape", ["x", "to"], ["y"])], "g", [x, to], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    session = Session(tmp_path / "model.onnx", SessionSettings(max_batch_rows=0))
    with pytest.raises(ModelFailed) as caught:
        session.infer([np.zeros((2, 4), np.float32), np.array([3, 3], np.int64)])
    text = str(caught.value)
    assert "cannot be reshaped" in text
    for word in (".h:", ".cc:", "::", "_src"):
        assert word not in text
