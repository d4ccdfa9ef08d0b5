import shutil
from pathlib import Path

import pytest

from bench.apart import apart
from bench.wide import write

DIGITS = Path(__file__).parents[2] / "models" / "digits" / "1"


@pytest.mark.slow
def test_models_come_and_go_in_a_real_replica(tmp_path: Path) -> None:
    for name in ("digits", "small"):
        shutil.copytree(DIGITS, tmp_path / name / "1")
    with apart("bench.stalls", [str(tmp_path), "--turns", "1", "--quiet", "0"], None) as replica:
        assert replica.hear()["port"] > 0
        replica.go_on()
        seen = replica.hear()
    assert seen["quiet"] == []
    assert [(one["model"], one["act"]) for one in seen["changes"]] == [
        ("small", "load"),
        ("small", "reload"),
        ("small", "unload"),
    ]
    assert all(0 <= one["net_s"] <= one["raw_s"] for one in seen["changes"])


@pytest.mark.slow
def test_what_a_large_model_left_is_given_back_in_a_real_replica(tmp_path: Path) -> None:
    shutil.copytree(DIGITS, tmp_path / "digits" / "1")
    write(tmp_path, "large", 90)
    words = [str(tmp_path), "--turns", "1", "--quiet", "0", "--rest", "3", "--every", "1"]
    with apart("bench.stalls", words, None) as replica:
        replica.hear()
        replica.go_on()
        rest = replica.hear()["rest"]
    assert rest["before_bytes"] - rest["after_bytes"] > 100e6
