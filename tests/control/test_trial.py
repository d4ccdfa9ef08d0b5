"""Every message of a trial comes out as it went in."""

from pathlib import Path

import pytest

from gateway.control.trial import FROM_CHILD, TO_CHILD, At, FromChild, Prove, Proved, Ready, Refused
from gateway.core.costs import Bounds, Cost, Placement
from gateway.repository.proof import Found, Proof
from gateway.repository.settings import (
    BatchingSettings,
    ModelSettings,
    VersionPolicy,
    WarmupInput,
    WarmupSample,
)
from gateway.types import Signature, TensorSpec

SETTINGS = ModelSettings(
    "what it does",
    BatchingSettings(8, 1.5, (4, 8), 8),
    metrics={"accuracy": 0.5},
    origin="pbtxt",
    version_policy=VersionPolicy("specific", 1, ("1", "2")),
    declared_inputs=(TensorSpec("x", "FP32", (-1, 2)),),
    labels={"y": ("a", "b")},
    warmup=(WarmupSample("w", 2, {"x": WarmupInput("FP32", (2,), "file", "x.bin")}, 3),),
)
FOUND = Found("m", "1", Path("/m/1"), Path("/m/1/model.onnx"), SETTINGS)
SPEC = TensorSpec("x", "FP32", (-1, 2))
PROOF = Proof(
    FOUND,
    "d1" * 32,
    Signature((SPEC,), (SPEC,), 8),
    Cost(1e-6, 2.5e-5),
    Placement(True, 8),
    "p",
    {"x": (2,)},
)


def test_a_request_comes_out_as_it_went_in() -> None:
    request = Prove(FOUND, Bounds(), "p", 1 << 30)
    assert TO_CHILD.validate_json(TO_CHILD.dump_json(request)) == request


@pytest.mark.parametrize("message", [Ready(), At("warming"), Proved(PROOF), Refused("why")])
def test_an_answer_comes_out_as_it_went_in(message: FromChild) -> None:
    text = FROM_CHILD.dump_json(message)
    assert b"\n" not in text
    assert FROM_CHILD.validate_json(text) == message
