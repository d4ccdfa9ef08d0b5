"""Answers: what the flow gave, in another dialect's words."""

import numpy as np
import pytest

from gateway.errors import InvalidTensor
from gateway.types import Arm, Array, Call, Outputs, Version
from gateway.wire.decode import Limits
from gateway.wire.dialects.answers import Columns, Rows
from gateway.wire.exchange import Losses, codec_of
from tests.fakes import Tallied
from tests.wire.bodies import version

ODD = version(
    ("x", "FP32", (1,)), outputs=(("a", "FP32", (2,)), ("b", "FP32", (3,))), max_batch_rows=0
)
MANY = version(("x", "FP32", (-1, 1)), outputs=(("y", "FP32", (-1, 2)),), max_batch_rows=8)


def answered(of: Version, *arrays: Array, start: int = 0, stop: int = 1) -> Call:
    call = Call(Arm(of), (), 1, (), lambda _: None)
    call.answer(Outputs(list(arrays), 1), start, stop)
    return call


def test_outputs_without_rows_in_common_are_no_rows() -> None:
    codec = codec_of(Arm(ODD), Limits(), Losses(Tallied(), lambda: 0.0))
    call = answered(ODD, np.zeros(2, np.float32), np.zeros(3, np.float32))
    with pytest.raises(InvalidTensor, match="have no rows in common"):
        Rows().write(codec, call, None)
    body, form = Columns("outputs").write(codec, call, None)
    assert body == b'{"outputs":{"a":[0.0,0.0],"b":[0.0,0.0,0.0]}}'
    assert form is codec.json_form


def test_a_call_gets_its_own_rows() -> None:
    codec = codec_of(Arm(MANY), Limits(), Losses(Tallied(), lambda: 0.0))
    array = np.arange(8, dtype=np.float32).reshape(4, 2)
    call = answered(MANY, array, start=1, stop=3)
    assert Rows().write(codec, call, "id")[0] == b'{"predictions":[[2.0,3.0],[4.0,5.0]]}'
