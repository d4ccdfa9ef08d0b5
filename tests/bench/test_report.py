import json
from pathlib import Path

import pytest

from bench.ladder import row
from bench.ratios import Bar, Figure, Spread, Timing, Verdict
from bench.report import (
    Findings,
    Header,
    figure_table,
    header,
    ladder_table,
    markdown,
    processor_name,
    store,
    verdict_table,
)
from bench.stand import Effort
from bench.wrk import Window


def window(requests: int, generator_ratio: float = 0.5) -> Window:
    return Window(requests, 1.0, 0.0005, 0.002, requests * 1e-5, generator_ratio)


def head() -> Header:
    return header(Effort(), 60.0, 0.0125, 6.0)


ROW = row("lane", 64, [window(50_000), window(70_000), window(60_000)])
BUSY = row("nginx", 64, [window(100_000, 0.95)])
MET = Verdict(Bar("rate", at_least=0.5), Spread(0.51, 0.4, 0.6, 5), "", "51k and 100k/s")
MISSED = Verdict(Bar("p99 of probes", at_most=10), Spread(12.5, 9.0, 14.0, 5), "ms")
GAIN = Figure("two replicas / one", Spread(1.25, 1.1, 1.5, 5), "", "shared processors")
START = Figure("start", Spread(6.67, 6.5, 7.0, 3), "s")
PLAN = Timing("plan", Spread(1e-6, 9e-7, 2e-6, 7))
FINDINGS = Findings([ROW, BUSY], [MET, MISSED], [GAIN, START], [PLAN])


def test_a_row_is_the_median_of_its_rounds_with_both_ends() -> None:
    assert ROW.requests_per_s == Spread(60_000, 50_000, 70_000, 3)
    assert ROW.cpu_per_request_s == pytest.approx(10e-6)
    assert "| lane | 64 | 60000 | 50000-70000 | 500 | 2000 | 10.0 | 50% |" in ladder_table([ROW])


def test_a_row_bounded_by_its_generator_is_marked_and_explained() -> None:
    assert (ROW.is_bounded_by_generator, BUSY.is_bounded_by_generator) == (False, True)
    assert "†" not in ladder_table([ROW])
    assert ladder_table([BUSY]).count("†") == 2


def test_a_bar_shows_its_limit_its_spread_and_its_verdict() -> None:
    assert verdict_table([MET, MISSED]).splitlines()[2:] == [
        "| rate | >= 0.5 | 0.51 | 0.4-0.6 (5) | met | 51k and 100k/s |",
        "| p99 of probes | <= 10 ms | 12.5 ms | 9-14 (5) | **not met** |  |",
    ]


def test_a_figure_shows_its_spread_and_no_verdict() -> None:
    assert figure_table([GAIN, START]).splitlines()[2:] == [
        "| two replicas / one | 1.25 | 1.1-1.5 (5) | shared processors |",
        "| start | 6.67 s | 6.5-7 (3) |  |",
    ]


def test_the_head_says_where_when_and_how() -> None:
    seen = head()
    text = markdown(seen, Findings([], [], [], []))
    for part in (seen.date, seen.processor, seen.kernel, seen.python, "uvloop ", "numpy "):
        assert part in text
    for part in (
        "Warm-up 1 s",
        "window 3 s",
        "5 interleaved pairs",
        "stolen time 1.2%",
        "processor 10%",
    ):
        assert part in text


def test_a_kernel_that_does_not_count_waiting_leaves_it_open() -> None:
    text = markdown(header(Effort(), 60.0, 0.0, None), Findings([], [], [], []))
    assert "waited for a processor ? of the time" in text


def test_what_was_not_measured_has_no_table() -> None:
    assert "|" not in markdown(head(), Findings([], [], [], []))


def test_a_report_is_stored_to_be_read_and_to_be_compared(tmp_path: Path) -> None:
    figures, page = store(head(), FINDINGS, tmp_path / "results", "latest")
    stored = json.loads(figures.read_text())
    assert stored["ladder"][0]["requests_per_s"]["median"] == 60_000
    assert [claim["is_met"] for claim in stored["claims"]] == [True, False]
    assert [one["seen"]["median"] for one in stored["figures"]] == [1.25, 6.67]
    assert stored["micro"][0]["what"] == "plan"
    assert stored["header"]["effort"]["pairs"] == 5
    assert page.read_text() == markdown(head_of(stored, page), FINDINGS)


def head_of(stored: dict[str, dict[str, object]], page: Path) -> Header:
    """The head that was stored, so that two clocks need not agree."""
    fields = stored["header"] | {"effort": Effort(), "flags": tuple(_words(stored))}
    return Header(**fields)  # type: ignore[arg-type]  # read back from JSON


def _words(stored: dict[str, dict[str, object]]) -> list[str]:
    flags = stored["header"]["flags"]
    assert isinstance(flags, list)
    return [str(flag) for flag in flags]


def test_a_vague_processor_name_is_told_by_its_model() -> None:
    text = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 167\nmodel name\t: Some(R) Xeon(R)\n\n"
    assert processor_name(text) == "Some(R) Xeon(R) (family 6, model 167)"
    assert processor_name("") == "unknown (family ?, model ?)"
