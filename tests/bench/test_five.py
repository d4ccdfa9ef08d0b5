import json
from pathlib import Path

import numpy as np
import pytest

from bench.five import MOST_ROWS, POISON, five, write, write_poisoned
from bench.requests import v2_body
from gateway.config import parse_model
from gateway.errors import ModelFailed
from gateway.execute.session import Session, SessionSettings
from gateway.repository.discover import discover


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    file = write(tmp_path_factory.mktemp("five"), "five", 2)
    return Session(file, SessionSettings(max_batch_rows=MOST_ROWS))


def test_the_gateway_finds_it_with_its_settings(tmp_path: Path) -> None:
    write(tmp_path, "five", 1)
    (found,) = discover(tmp_path, parse_model).found
    assert found.settings.batching.max_execution_rows == MOST_ROWS
    assert found.settings.execution.executor == "thread"


def test_a_row_is_answered_the_same_in_company_and_alone(session: Session) -> None:
    rows = np.random.default_rng(1).uniform(0, 16, (3, 64)).astype(np.float32)
    (together,) = session.infer([rows])
    alone = np.concatenate([session.infer([rows[at : at + 1]])[0] for at in range(3)])
    assert np.isfinite(together).all()
    assert np.allclose(together, alone, rtol=1e-4)


def test_a_poisoned_row_fails_its_execution(session: Session) -> None:
    rows = np.zeros((3, 64), np.float32)
    rows[1, 0] = POISON
    with pytest.raises(ModelFailed):
        session.infer([rows])


def test_it_is_drawn_the_same_each_time() -> None:
    one, two = (five(1).SerializeToString(deterministic=True) for _ in range(2))
    assert one == two


def test_one_body_in_so_many_is_poisoned(tmp_path: Path) -> None:
    bodies, poisoned = tmp_path / "bodies", tmp_path / "poisoned"
    bodies.write_bytes(b"".join(v2_body([[float(at), 1.0]]) + b"\n" for at in range(10)))
    write_poisoned(poisoned, bodies, 4)
    rows = [json.loads(line)["inputs"][0]["data"] for line in poisoned.read_bytes().splitlines()]
    assert [at for at, row in enumerate(rows) if row[0] == POISON] == [3, 7]
    assert [row[1] for row in rows] == [1.0] * 10
