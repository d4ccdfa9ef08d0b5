import json
from dataclasses import asdict

import pytest

from bench.plans import (
    Plan,
    Report,
    StreamPlan,
    StreamReport,
    decode_plan,
    decode_report,
    encode_plan,
)

PLAN = Plan(
    40_001,
    1.0,
    5.0,
    (
        StreamPlan("digits", "/infer", "bodies", 64, 12_345.5, "poisson", 7),
        StreamPlan("busy", "/infer", None, 8, None),
    ),
)
REPORT = Report((StreamReport("digits", 10, 10, 8, 2.0, 0.1, 0.2, 0.3, 0.0, 0),), 0.25)


def test_a_plan_crosses_to_the_generator_unchanged() -> None:
    assert decode_plan(encode_plan(PLAN)) == PLAN


def test_a_report_comes_back_unchanged() -> None:
    assert decode_report(json.dumps(asdict(REPORT))) == REPORT


def test_a_stream_is_found_by_its_name() -> None:
    assert REPORT.stream("digits").sent == 10
    with pytest.raises(StopIteration):
        REPORT.stream("nobody")
