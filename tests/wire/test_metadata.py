"""Metadata: what the gateway says of its models is what they are now."""

import pytest

from gateway.errors import Draining, NotReady, UnknownModel, UnknownVersion
from gateway.flow import Flow, Served
from gateway.types import Signature, TensorSpec, Version
from gateway.wire.metadata import Metadata

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 4)), TensorSpec("s", "BYTES", (-1,))),
    (TensorSpec("label", "INT64", (-1,)),),
    8,
)
FIRST = Version("m", "2", SIGNATURE)
SECOND = Version("m", "10", SIGNATURE, platform="other")


def metadata() -> tuple[Flow, Metadata]:
    flow = Flow({"m": Served(SECOND, {"2": FIRST, "10": SECOND})}, {})
    return flow, Metadata(flow, "me")


def test_a_model_is_described_by_the_version_asked_for() -> None:
    _, about = metadata()
    expected = {
        "name": "m",
        "versions": ["2", "10"],
        "platform": "other",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 4]},
            {"name": "s", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}],
    }
    assert about.model("m", None) == expected
    assert about.model("m", "02") == expected | {"platform": "onnxruntime_onnx"}


def test_a_model_is_ready_when_it_is_there() -> None:
    _, about = metadata()
    assert about.ready("m", "10") == {"name": "m", "ready": True}
    with pytest.raises(UnknownVersion):
        about.ready("m", "3")
    with pytest.raises(UnknownModel):
        about.ready("n", None)
    with pytest.raises(UnknownModel):
        about.model("n", None)


def test_the_server_is_ready_when_any_model_is() -> None:
    flow, about = metadata()
    about.check_ready()
    assert (about.models(), about.server_name) == (["m"], "me")
    flow.models = {}
    assert about.models() == []
    with pytest.raises(NotReady, match="no model is loaded"):
        about.check_ready()


def test_a_server_that_leaves_is_not_ready_whatever_it_has() -> None:
    said = [False]
    flow, _ = metadata()
    about = Metadata(flow, "me", lambda: said[0])
    about.check_ready()
    said[0] = True
    with pytest.raises(Draining, match="shutting down"):
        about.check_ready()


def test_contents_are_written_as_json() -> None:
    _, about = metadata()
    assert about.dump({"a": [1, "é"]}) == '{"a":[1,"é"]}'.encode()
