"""The probe: what a trial hears of real servers, good and bad."""

from collections.abc import Iterator

import numpy as np
import pytest

from gateway.errors import ModelFailed
from gateway.execute.probe import Probe, Sight
from gateway.execute.upstream import RemoteModel, Terms, Upstream
from gateway.types import TensorSpec
from tests.elsewhere import (
    Behaviour,
    Elsewhere,
    always,
    answer,
    cut_off,
    dripping,
    hanging,
    resetting,
    saying,
    tensors,
    well,
)
from tests.fakes import TWICE

SIDES = ((TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)),))


@pytest.fixture
def server() -> Iterator[Elsewhere]:
    with Elsewhere() as running:
        yield running


def probe(*urls: str, timeout_s: float = 30.0) -> Probe:
    upstream = Upstream(urls, "twice", "1", timeout_s, Terms(2), {"authorization": "secret"})
    return Probe(RemoteModel(upstream, TWICE.signature), {"x": (3,)})


def test_it_runs_whole_arrays(server: Elsewhere) -> None:
    with probe(server.url) as asking:
        (doubled,) = asking.infer([np.array([[1, 2], [3, 4]], "<f4")])
    assert doubled.tolist() == [[2, 4], [6, 8]]
    assert server.inferences[0].headers["authorization"] == "secret"


def test_it_is_timed_with_zeros_of_the_shape_that_a_sample_told(server: Elsewhere) -> None:
    with probe(server.url) as asking:
        assert asking.time_s(4) > 0
    assert server.inferences[0].rows.tolist() == [[0, 0, 0]] * 4


def test_it_sees_what_each_endpoint_says_and_asks_the_first_that_is_ready(
    server: Elsewhere,
) -> None:
    with Elsewhere() as other, probe(other.url, server.url) as asking:
        other.behave = always(answer(503, b'{"error": "loading"}'))
        first, second = asking.look()
        asking.infer([np.zeros((1, 1), "<f4")])
        assert first.trouble == "is not ready: the remote server answered 503: loading"
        assert other.inferences == []
    assert second == Sight(server.url, "", *SIDES)
    assert len(server.inferences) == 1


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (always(answer(404, b'{"error": "unknown"}')), "is not ready"),
        (always(answer(200, b"{}")), "metadata cannot be read"),
        (always(answer(200, b"<html>")), "metadata cannot be read"),
        (always(b"garbage\r\n\r\n"), "is no HTTP"),
        (resetting, "without an answer"),
        (hanging, "no answer within"),
        (dripping, "no answer within"),
    ],
)
def test_an_endpoint_that_cannot_say_how_it_is_is_in_trouble(
    server: Elsewhere, behave: Behaviour, words: str
) -> None:
    server.behave = behave
    with probe(server.url, timeout_s=0.3) as asking:
        (sight,) = asking.look()
    assert words in sight.trouble


def test_where_nobody_listens_it_says_so(server: Elsewhere) -> None:
    server.die()
    with probe(server.url) as asking:
        (sight,) = asking.look()
        assert "no connection" in sight.trouble
        assert "127.0.0.1" not in sight.trouble, "callers hear it, and where it is told apart"
        with pytest.raises(ModelFailed, match=f"{server.url}: no connection"):
            asking.time_s(1)


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (saying(answer(500, b'{"error": "broken"}')), "answered 500: broken"),
        (saying(answer(200, b"{}")), "array of outputs"),
        (saying(tensors()), "'y' is missing"),
        (cut_off, "cut off"),
        (hanging, "no answer within 0.3 s"),
    ],
)
def test_a_run_that_fails_says_where_and_why(
    server: Elsewhere, behave: Behaviour, words: str
) -> None:
    server.behave = behave
    with (
        probe(server.url, timeout_s=0.3) as asking,
        pytest.raises(ModelFailed, match=f"{server.url}: .*{words}"),
    ):
        asking.infer([np.zeros((1, 1), "<f4")])


def test_after_trouble_it_goes_on(server: Elsewhere) -> None:
    with probe(server.url, timeout_s=30.0) as asking:
        for behave in (resetting, cut_off):
            server.behave = behave
            with pytest.raises(ModelFailed):
                asking.time_s(1)
        server.behave = well
        assert asking.time_s(1) > 0
