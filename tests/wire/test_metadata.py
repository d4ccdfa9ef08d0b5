"""Metadata: what the gateway says of its models is what they are now."""

from dataclasses import replace

import pytest

from gateway.errors import Draining, NotReady, UnknownModel, UnknownVersion
from gateway.flow import Flow, Plan, Served
from gateway.repository.proof import Found
from gateway.repository.settings import BatchingSettings, ModelSettings
from gateway.types import Arm, Signature, TensorSpec, Version
from gateway.wire.metadata import Metadata
from tests.wire.harness import on_disk

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 4)), TensorSpec("s", "BYTES", (-1,))),
    (TensorSpec("label", "INT64", (-1,)),),
    8,
)
FIRST = Arm(Version("m", "2", SIGNATURE))
SECOND = Arm(Version("m", "10", SIGNATURE, platform="other"))


def metadata() -> tuple[Flow, Metadata]:
    flow = Flow({"m": Served(SECOND, {"2": FIRST, "10": SECOND})}, {})
    return flow, Metadata(flow, "me", on_disk)


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


def test_a_version_that_is_not_ready_is_told_so_and_the_model_by_any_other() -> None:
    flow = Flow({"m": Served(None, {"2": FIRST}, {"10": "quarantined"})}, {})
    about = Metadata(flow, "me", on_disk)
    assert about.ready("m", None) == about.ready("m", "2") == {"name": "m", "ready": True}
    assert about.model("m", "2")["versions"] == ["2"]
    with pytest.raises(NotReady, match="version 10 is not at ready state: quarantined"):
        about.ready("m", "10")
    flow.replace(Plan({"m": Served(None, {}, {"2": "unloaded"})}))
    for version in (None, "2"):
        with pytest.raises(NotReady, match="unloaded"):
            about.ready("m", version)
    with pytest.raises(UnknownVersion):
        about.ready("m", "3")


def test_a_configuration_is_that_of_the_version_asked_for() -> None:
    settings = ModelSettings(parameters={"a": "b"}, batching=BatchingSettings(8, 0.25))
    flow, _ = metadata()

    def found(version: Version) -> Found:
        plain = on_disk(version)
        return plain if version is FIRST.version else replace(plain, settings=settings)

    about = Metadata(flow, "me", found, default_wait_ms=2.0)
    first, second = about.config("m", "2"), about.config("m", None)
    assert (first["name"], first["platform"], second["platform"]) == (
        "m",
        "onnxruntime_onnx",
        "other",
    )
    waits = [one["dynamic_batching"]["max_queue_delay_microseconds"] for one in (first, second)]
    assert waits == [2000, 250]
    assert second["parameters"]["a"] == {"string_value": "b"}
    assert second["max_batch_size"] == 8
    with pytest.raises(UnknownModel):
        about.config("n", None)


def test_the_server_is_ready_when_any_model_is() -> None:
    flow, about = metadata()
    about.check_ready()
    assert (about.models(), about.server_name) == (["m"], "me")
    flow.replace(Plan({"m": Served(None, {}, {"1": "unloaded"})}))
    assert about.models() == ["m"]
    with pytest.raises(NotReady, match="no model is loaded"):
        about.check_ready()
    flow.replace(Plan())
    with pytest.raises(NotReady, match="no model is loaded"):
        about.check_ready()


def test_a_server_that_others_load_models_into_is_ready_without_one() -> None:
    about = Metadata(Flow({}, {}), "me", on_disk, needs_a_model=False)
    about.check_ready()


def test_a_server_that_leaves_is_not_ready_whatever_it_has() -> None:
    said = [False]
    flow, _ = metadata()
    about = Metadata(flow, "me", on_disk, is_leaving=lambda: said[0], needs_a_model=False)
    about.check_ready()
    said[0] = True
    with pytest.raises(Draining, match="shutting down"):
        about.check_ready()


def test_contents_are_written_as_json() -> None:
    _, about = metadata()
    assert about.dump({"a": [1, "é"]}) == '{"a":[1,"é"]}'.encode()
