"""Two HTTP clients compared: what is measured, and that both ask the same."""

import pytest

from bench.apart import apart, told
from bench.clients import LIBRARIES, Seen, judge
from bench.v2stub import answer
from gateway.execute.v2 import JSON_LENGTH, outputs_of
from gateway.types import Signature, TensorSpec


def test_a_client_that_costs_more_is_a_multiple_above_one() -> None:
    pairs = [(Seen(100, 0.2, 0.004), Seen(200, 0.1, 0.001))] * 3
    cpu, p50 = judge(pairs, "a row")
    assert (cpu.seen.median, p50.seen.median) == (4.0, 4.0)
    assert cpu.note == "2000 and 500 us"


def test_the_stub_answers_what_the_gateway_takes() -> None:
    head, _, body = answer(256).partition(b"\r\n\r\n")
    length = next(
        line.partition(b": ")[2] for line in head.split(b"\r\n") if JSON_LENGTH.encode() in line
    )
    signature = Signature((), (TensorSpec("y", "FP32", (-1, 64)),), 8)
    (array,) = outputs_of(body, {JSON_LENGTH: length.decode()}, signature, 1)
    assert array.shape == (1, 64)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_under_load_says_what_it_took(library: str) -> None:
    with apart("bench.v2stub", ["--bytes", "256"], None) as stub:
        words = ["--port", str(stub.hear()["port"]), "--bytes", "256", "--in-flight", "2"]
        seen = Seen(**told("bench.clientload", [library, *words, "--window", "0.05"], None))
    assert seen.requests > 0
    assert seen.cpu_us > 0
    assert seen.p50_s > 0
