import json
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.courses import (
    Clients,
    ClientsReport,
    Counts,
    Course,
    Report,
    decode_course,
    decode_report,
    encode_course,
    playing,
)
from bench.plans import GeneratorFailed

COURSE = Course(
    40_001,
    (1.0, 2.0),
    (
        Clients("open", "/infer", "bodies", 64, (10.0, 20.5), 0.1, 8, ("x-api-key: a",), 0.05),
        Clients("closed", "/infer", "bodies", 8, None, 10.0),
    ),
)
COUNTS = Counts(10, 1, 2, 3, {"200": 4, "cut": 1}, 0.1, 0.2, 0.3)
REPORT = Report(1.5, 0.25, 0.0, (ClientsReport("open", (COUNTS, COUNTS), (COUNTS,), 0, 0),))


def test_a_course_crosses_to_the_generator_unchanged() -> None:
    assert decode_course(encode_course(COURSE)) == COURSE


def test_a_report_comes_back_unchanged() -> None:
    assert decode_report(json.loads(json.dumps(asdict(REPORT)))) == REPORT


def test_clients_are_found_by_their_name() -> None:
    assert REPORT.of("open").phases == (COUNTS,)
    with pytest.raises(StopIteration):
        REPORT.of("nobody")


def test_what_was_asked_and_is_no_200_has_failed() -> None:
    assert (COUNTS.accepted, COUNTS.failed, COUNTS.unsent) == (4, 1, 1)


@pytest.mark.slow
def test_a_generator_that_cannot_begin_is_heard_of(tmp_path: Path) -> None:
    bad = Course(1, (0.1,), (Clients("none", "/", str(tmp_path / "missing"), 1, None, 1.0),))
    with playing(bad, None, tmp_path) as player, pytest.raises(GeneratorFailed):
        player.began_s()
