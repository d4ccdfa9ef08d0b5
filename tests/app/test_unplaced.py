"""Unplaced: strangers hear of files by the names of models, operators by their places."""

from pathlib import Path

import pytest

from gateway.app.unplaced import cut_of, told_reply, told_table
from gateway.control.messages import Entry, Reply, Table

ROOT = Path("/srv/gateway/models")
WHY = f"{ROOT}/digits/1/model.onnx: no model; {ROOT}/digits/2: changed"
TOLD = "digits/1/model.onnx: no model; digits/2: changed"


def test_the_folder_of_models_is_left_out() -> None:
    cut = cut_of(ROOT)
    assert cut(WHY) == TOLD
    assert cut("Load model from /elsewhere/m failed") == "Load model from /elsewhere/m failed"


@pytest.mark.parametrize("root", [Path("models"), Path(), Path("/")])
def test_a_folder_that_says_nothing_is_left_in(root: Path) -> None:
    assert cut_of(root)("models/digits: see /v2/models/digits") == (
        "models/digits: see /v2/models/digits"
    )


def test_a_folder_is_found_in_json_too() -> None:
    cut = cut_of(Path('/srv/"my" models'))
    assert (
        cut(r'[{"reason":"/srv/\"my\" models/digits/1: gone"}]') == '[{"reason":"digits/1: gone"}]'
    )


def test_a_table_and_an_answer_are_told_without_it() -> None:
    cut = cut_of(ROOT)
    entry, other = Entry(None, {}, {"1": WHY, "2": "quarantined"}), Entry("1", {"1": "aa"})
    table = told_table(Table(7, {"digits": entry, "other": other}), cut)
    told = Entry(None, {}, {"1": TOLD, "2": "quarantined"})
    assert table == Table(7, {"digits": told, "other": other})
    assert told_reply(Reply(3, WHY, "cannot_prepare"), cut) == Reply(3, TOLD, "cannot_prepare")


@pytest.mark.parametrize("root", [ROOT, Path("models")])
def test_where_versions_run_elsewhere_is_nobodys_business(root: Path) -> None:
    why = "http://10.0.0.5:8000: no connection; https://[::1]/a/b: hung, http://a"
    told = "an endpoint: no connection; an endpoint: hung, an endpoint"
    assert cut_of(root)(why) == told
    assert cut_of(root)(f'{{"reason":"{why}"}}') == f'{{"reason":"{told}"}}'
