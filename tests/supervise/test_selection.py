"""What lies in the repository, and which of it should be served."""

from pathlib import Path

import pytest

from gateway.config.model import parse_model
from gateway.core.lifecycle import Cause, Loading, Ready, State, Unavailable
from gateway.repository.discover import RepositoryError
from gateway.repository.proof import Found
from gateway.repository.settings import ModelSettings, VersionPolicy
from gateway.supervise.selection import (
    EMPTY,
    OnDisk,
    Policy,
    Shelf,
    is_due,
    sentence,
    survey,
    survey_model,
)


def put(root: Path, model: str, version: str, text: str = "x", toml: str | None = None) -> Path:
    folder = root / model / version
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_text(text)
    if toml is not None:
        (folder / "model.toml").write_text(toml)
    return folder


def on_disk(version: str, stamp: str = "s", policy: VersionPolicy | None = None) -> OnDisk:
    settings = ModelSettings(version_policy=policy or VersionPolicy("all"))
    return OnDisk(Found("m", version, Path(version), Path(version, "x"), settings), stamp)


def test_a_survey_has_every_model_with_its_versions_and_faults(tmp_path: Path) -> None:
    put(tmp_path, "a", "1")
    put(tmp_path, "a", "2", toml="nonsense = 1")
    put(tmp_path, "b", "1", toml="nonsense = 1")
    shelves = survey(tmp_path, parse_model)
    assert list(shelves) == ["a", "b"]
    assert list(shelves["a"].versions) == ["1"]
    assert "nonsense" in shelves["a"].faults["2"]
    assert shelves["b"].versions == {}


def test_all_faults_of_a_version_are_one_reason(tmp_path: Path) -> None:
    put(tmp_path, "a", "1", toml="one = 1\ntwo = 2")
    (reason,) = survey(tmp_path, parse_model)["a"].faults.values()
    assert "one" in reason
    assert "two" in reason


def test_a_model_that_nobody_can_ask_for_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, "stats", "1")
    assert survey(tmp_path, parse_model) == {}


def test_a_stamp_changes_with_the_files_alone(tmp_path: Path) -> None:
    folder = put(tmp_path, "a", "1")
    before = survey_model(tmp_path, "a", parse_model)
    assert survey_model(tmp_path, "a", parse_model) == before
    (folder / "weights").write_text("w")
    assert survey_model(tmp_path, "a", parse_model) != before


def test_a_model_that_is_not_there_is_an_empty_shelf(tmp_path: Path) -> None:
    put(tmp_path, "a", "1")
    assert survey_model(tmp_path, "b", parse_model) == EMPTY
    with pytest.raises(RepositoryError):
        survey_model(tmp_path / "absent", "a", parse_model)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (VersionPolicy("all"), ("1", "2", "10")),
        (VersionPolicy("latest", 2), ("2", "10")),
        (VersionPolicy("specific", versions=("1", "7")), ("1",)),
    ],
)
def test_versions_are_selected_by_their_own_policy(
    policy: VersionPolicy, expected: tuple[str, ...]
) -> None:
    shelf = Shelf({version: on_disk(version, policy=policy) for version in ("1", "2", "10")})
    assert shelf.selected() == expected


@pytest.mark.parametrize(
    ("state", "is_changed", "expected"),
    [
        (Unavailable(), False, True),
        (Unavailable(Cause.FAILED, "r"), False, True),
        (Unavailable(Cause.UNLOADED, "r"), True, False),
        (Unavailable(Cause.QUARANTINED, "r"), False, False),
        (Unavailable(Cause.QUARANTINED, "r"), True, True),
        (Ready(), False, False),
        (Ready(), True, True),
        (Loading(Unavailable()), True, False),
    ],
)
def test_what_is_loaded_unasked(state: State, is_changed: bool, expected: bool) -> None:
    now = on_disk("1", "new" if is_changed else "old")
    assert is_due(state, on_disk("1", "old"), now) == expected


def test_who_wants_a_model_at_the_start() -> None:
    assert Policy().wants("m")
    assert Policy("explicit", ("m",)).wants("m")
    assert not Policy("explicit", ("m",)).wants("n")


def test_reasons_become_one_sentence() -> None:
    assert sentence([("1", "no"), ("", "broken")]) == "version 1: no; broken"
