from pathlib import Path

import numpy as np
from onnx import helper

from bench.versions import model_of, write_version
from gateway.config import parse_model
from gateway.execute.session import Session, SessionSettings
from gateway.repository.discover import discover


def test_what_is_written_is_found_with_its_settings_and_runs(tmp_path: Path) -> None:
    twice = model_of("twice", [helper.make_node("Add", ["x", "x"], ["y"])], (3, 3))
    write_version(tmp_path, "twice", twice, "")
    file = write_version(tmp_path, "twice", twice, "[batching]\nmax_batch_size = 5\n")  # over it
    (found,) = discover(tmp_path, parse_model).found
    assert (found.model, found.version, found.onnx) == ("twice", "1", file)
    assert found.settings.batching.max_batch_size == 5
    (answer,) = Session(file, SessionSettings(max_batch_rows=5)).infer(
        [np.ones((2, 3), np.float32)]
    )
    assert (answer == 2).all()
