import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.launch import Server
from bench.requests import INFER, READY, Target
from bench.wrk import Generator, LoadFailed, Tally, Traffic, Window, parse, tally_of

PREAMBLE = """\
Running 3s test @ http://127.0.0.1:40001/v2/models/digits/infer
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   393.00us  120.00us  11.30ms   90.00%
  201966 requests in 3.00s, 84.54MB read
"""
GOOD = {
    "requests": 201_966,
    "duration_us": 3_000_000,
    "p50_us": 393,
    "p99_us": 11_300,
    "connect": 0,
    "read": 0,
    "write": 0,
    "status": 0,
    "timeout": 0,
}


def said(**changes: int) -> str:
    return f"{PREAMBLE}bench {json.dumps(GOOD | changes)}\n"


def test_a_summary_is_read_in_seconds() -> None:
    assert parse(said()) == Tally(201_966, 3.0, 0.000393, 0.0113)


@pytest.mark.parametrize("fault", ["connect", "read", "write", "status", "timeout"])
def test_a_single_failed_request_fails_the_row(fault: str) -> None:
    with pytest.raises(LoadFailed, match=f"'{fault}': 1"):
        parse(said(**{fault: 1}))


def test_traffic_counts_what_fails_by_its_kind() -> None:
    tally = tally_of(said(read=3, connect=1))
    assert tally.faults == {"connect": 1, "read": 3}
    assert tally.failed == 4
    assert tally_of(said()).failed == 0


# Stands for wrk: sends nothing, says it is there, and sums up when it is interrupted.
WRK = """\
import signal, sys

def end(*_):
    print(sys.argv[2])
    sys.exit(int(sys.argv[1]))

signal.signal(signal.SIGINT, end)
print("ready", file=sys.stderr, flush=True)
signal.pause()
"""


def traffic(code: int, output: str) -> Traffic:
    words = [sys.executable, "-S", "-c", WRK, str(code), output]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    return Traffic(process)


def test_traffic_goes_on_until_it_is_ended_and_is_then_summed_up() -> None:
    assert traffic(0, said(read=2)).end().faults == {"read": 2}


def test_traffic_that_ends_in_error_is_no_measurement() -> None:
    with pytest.raises(LoadFailed, match="ended with 3"):
        traffic(3, said()).end()


def test_a_window_without_answers_fails_the_row() -> None:
    with pytest.raises(LoadFailed, match="no answer"):
        parse(said(requests=0))


@pytest.mark.parametrize("output", ["", PREAMBLE, said() + said()])
def test_one_summary_is_expected(output: str) -> None:
    with pytest.raises(LoadFailed, match="no summary"):
        parse(output)


def test_rate_and_cost_are_those_of_the_window() -> None:
    window = Window(30_000, 3.0, 0.001, 0.002, server_cpu_s=0.6, generator_ratio=0.4)
    assert window.requests_per_s == 10_000
    assert window.cpu_per_request_s == pytest.approx(20e-6)


def test_a_generator_of_posts_refuses_a_target_without_bodies() -> None:
    generator = Generator(0, Target(READY, None), 1.0, 1.0)
    with pytest.raises(ValueError, match="bodies"):
        generator.measure(Server("none", 1, 1, Path(), 0.0), 1)


def test_the_script_formats_before_it_sends() -> None:
    script = (Path(__file__).parents[2] / "bench" / "post.lua").read_text()
    sending = script[script.index("function request()") : script.index("function done(")]
    assert "wrk.format" not in sending
    assert INFER not in script  # the path is an argument
