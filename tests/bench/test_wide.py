from pathlib import Path

import numpy as np
import onnx

from bench.wide import wide, write
from gateway.config import parse_model
from gateway.execute.session import Session, SessionSettings
from gateway.repository.discover import discover


def test_a_model_weighs_what_was_asked_and_its_answers_are_numbers(tmp_path: Path) -> None:
    write(tmp_path, "some", 8)
    (found,) = discover(tmp_path, parse_model).found
    assert 0.9 < found.onnx.stat().st_size / 8e6 < 1.1
    session = Session(found.onnx, SessionSettings(max_batch_rows=8))
    (answer,) = session.infer([np.ones((2, 1024), np.float32)])
    assert np.isfinite(answer).all()
    assert answer.any()


def test_the_same_model_is_drawn_each_time() -> None:
    first, second = wide(4), wide(4)
    onnx.checker.check_model(first)
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )


def test_a_large_model_has_tensors_as_large_as_embeddings() -> None:
    sizes = sorted(len(one.raw_data) / 1e6 for one in wide(400).graph.initializer)
    assert sizes[-1] > 100
    assert 380 < sum(sizes) < 420
