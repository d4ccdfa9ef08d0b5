"""Proof: where a version runs, in the words of who declared it."""

from pathlib import Path

import pytest

from gateway.core.costs import Cost, Placement
from gateway.repository.proof import Proof
from gateway.repository.settings import ExecutionSettings
from gateway.types import Signature
from tests.repository.versions import declaring, found


@pytest.mark.parametrize(
    ("declared", "is_inline", "expected"),
    [
        ("auto", True, "inline"),
        ("auto", False, "thread"),
        ("inline", True, "inline"),
        ("thread", False, "thread"),
        ("process", False, "process"),
    ],
)
def test_a_version_runs_where_it_was_placed_or_declared(
    declared: str, is_inline: bool, expected: str
) -> None:
    settings = declaring(ExecutionSettings(declared))  # type: ignore[arg-type]  # one of its words
    proof = Proof(
        found(Path("model.onnx"), settings),
        "d",
        Signature((), (), 8),
        Cost(0.0, 0.0),
        Placement(is_inline, 8),
    )
    assert proof.executor == expected
