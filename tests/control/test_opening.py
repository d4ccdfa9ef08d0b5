"""What a replica tells a process comes out as it went in."""

from dataclasses import replace

from gateway.control.opening import OPENING, Opening
from gateway.repository.settings import ExecutionSettings
from tests.control.test_trial import FOUND, PROOF, SETTINGS


def test_an_opening_survives_its_journey() -> None:
    execution = ExecutionSettings("process", 2, max_memory_bytes=1 << 40, suspect_after_s=0.5)
    found = replace(FOUND, settings=replace(SETTINGS, execution=execution))
    opening = Opening(replace(PROOF, found=found))
    assert OPENING.validate_json(OPENING.dump_json(opening)) == opening
