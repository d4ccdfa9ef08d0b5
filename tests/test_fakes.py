"""The fake model does what a real one does, so that scenes may trust it."""

from pathlib import Path

from gateway.execute.session import Session, SessionSettings
from tests import models_onnx
from tests.fakes import FakeModel, a_call, first_column


def test_the_fake_model_gives_what_onnx_runtime_gives(tmp_path: Path) -> None:
    session = Session(models_onnx.twice(tmp_path / "twice.onnx"), SessionSettings(64))
    calls = [a_call(1.5, 2.25, width=3), a_call(-7, width=3), a_call(1e-45, -0.0, width=3)]
    real, fake = session.execute(calls), FakeModel().execute(calls)
    assert fake.calls == real.calls == 3
    assert fake.arrays[0].tobytes() == real.arrays[0].tobytes()
    assert fake.arrays[0].shape == real.arrays[0].shape == (5, 3)
    assert first_column(real.arrays[0])[:2] == [3.0, 4.5]
