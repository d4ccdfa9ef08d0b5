"""A newcomer's first hour: the demo models answer their samples, in every version and form."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.server import ROOT, Server, get, infer, request

# What each version makes of the eight sample rows, of which the first is the sample request.
# The cards say what they are: digits 2 takes a 5 for a 7, the others make no mistake.
LABELS = {
    ("digits", "1"): [1, 5, 6, 7, 3, 3, 8, 5],
    ("digits", "2"): [1, 7, 6, 7, 3, 3, 8, 5],
    ("cancer", "1"): [1, 0, 1, 1, 1, 1, 0, 1],
    ("cancer", "2"): [1, 0, 1, 1, 1, 1, 0, 1],
}
CLASSES = {"digits": 10, "cancer": 2}

each_version = pytest.mark.parametrize(("model", "version"), LABELS)
each_sample = pytest.mark.parametrize(("sample", "rows"), [("request.json", 1), ("batch.json", 8)])


def path_of(model: str, sample: str) -> Path:
    return ROOT / "models" / model / "samples" / sample


def sample_of(model: str, sample: str) -> dict[str, Any]:
    (x,) = json.loads(path_of(model, sample).read_text())["inputs"]
    assert isinstance(x, dict)
    return x


@each_version
@each_sample
def test_a_sample_gets_its_label(
    demo: Server, model: str, version: str, sample: str, rows: int
) -> None:
    target = f"/v2/models/{model}/versions/{version}/infer"
    answer = demo.ask(request(target, path_of(model, sample).read_bytes()))
    outputs = answer.outputs
    assert outputs["label"] == LABELS[model, version][:rows]
    scores = np.array(outputs["scores"]).reshape(rows, CLASSES[model])
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert scores.argmax(axis=1).tolist() == outputs["label"]
    assert answer.json["model_version"] == answer.headers["x-gateway-version"] == version


@pytest.mark.parametrize("model", CLASSES)
def test_without_a_version_the_highest_answers(demo: Server, model: str) -> None:
    answer = demo.ask(infer(model, sample_of(model, "request.json")))
    assert answer.json["model_version"] == answer.headers["x-gateway-version"] == "2"
    assert demo.ask(get(f"/v2/models/{model}")).json["versions"] == ["1", "2"]


@pytest.mark.parametrize("model", CLASSES)
def test_rows_are_read_alone_as_they_are_in_company(demo: Server, model: str) -> None:
    x = sample_of(model, "batch.json")
    rows = np.array(x["data"]).reshape(x["shape"])
    together = demo.ask(infer(model, x)).outputs
    alone = [
        demo.ask(infer(model, x | {"shape": [1, len(row)], "data": row.tolist()})).outputs
        for row in rows
    ]
    assert [one["label"][0] for one in alone] == together["label"]
    scores = [score for one in alone for score in one["scores"]]
    assert scores == pytest.approx(together["scores"], abs=1e-5)


@pytest.mark.parametrize("model", CLASSES)
def test_rows_of_many_callers_are_not_mixed_up(demo: Server, model: str) -> None:
    """Sixteen requests in one write share an execution; each caller has its own row."""
    x = sample_of(model, "batch.json")
    rows = np.array(x["data"]).reshape(x["shape"]).tolist() * 2
    expected = demo.ask(infer(model, x)).outputs["label"] * 2
    with demo.connect() as wire:
        wire.send(b"".join(infer(model, x | {"shape": [1, len(row)], "data": row}) for row in rows))
        assert [wire.answer().outputs["label"][0] for _ in rows] == expected


def test_one_request_may_hold_1024_rows_and_no_more(demo: Server) -> None:
    x = sample_of("digits", "request.json")
    many = x | {"shape": [1024, 64], "data": x["data"] * 1024}
    assert demo.ask(infer("digits", many)).outputs["label"] == [1] * 1024
    more = x | {"shape": [1025, 64], "data": x["data"] * 1025}
    answer = demo.ask(infer("digits", more))
    assert answer.status == 400
    assert "inference request batch-size must be <= 1024 for 'digits'" in answer.json["error"]
