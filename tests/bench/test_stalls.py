import shutil
from pathlib import Path

import pytest

from bench.apart import apart

DIGITS = Path(__file__).parents[2] / "models" / "digits" / "1"


@pytest.mark.slow
def test_models_come_and_go_in_a_real_replica(tmp_path: Path) -> None:
    for name in ("digits", "small"):
        shutil.copytree(DIGITS, tmp_path / name / "1")
    with apart(
        "bench.stalls", [str(tmp_path), "--turns", "1", "--quiet", "0", "--rest", "0.1"], None
    ) as replica:
        assert replica.hear()["port"] > 0
        replica.go_on()
        seen = replica.hear()
    assert seen["quiet"] == []
    assert [(one["model"], one["act"]) for one in seen["changes"]] == [
        ("small", "load"),
        ("small", "reload"),
        ("small", "unload"),
    ]
    assert seen["rest"]["before_bytes"] > seen["rest"]["after_bytes"] / 2 > 0
    assert all(0 <= one["net_s"] <= one["raw_s"] for one in seen["changes"])
