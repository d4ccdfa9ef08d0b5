"""What lies in the repository, and which of it should be served."""

from collections.abc import Mapping
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


def test_a_replacement_that_was_refused_is_tried_again() -> None:
    """Its reason may have been somewhere else: no memory, no room, a replica that died."""
    now = on_disk("1")
    assert is_due(Ready("it was not loaded within 120 s"), now, now)


def declare(root: Path, model: str, text: str, *versions: str) -> None:
    for version in versions:
        put(root, model, version)
    (root / model).mkdir(exist_ok=True)
    (root / model / "config.pbtxt").write_text(text)


def test_versions_that_their_policy_does_not_choose_are_there_and_not_selected(
    tmp_path: Path,
) -> None:
    declare(tmp_path, "a", "", "1", "2", "10")
    shelf = survey_model(tmp_path, "a", parse_model)
    assert list(shelf.versions) == ["1", "2", "10"]
    assert [version for version, seen in shelf.versions.items() if seen.is_chosen] == ["10"]
    assert shelf.selected() == ("10",)


def test_what_a_policy_names_and_is_not_there_is_absent_and_refuses_nothing(
    tmp_path: Path,
) -> None:
    declare(tmp_path, "a", "version_policy { specific { versions: [ 1, 3 ] } }", "1", "2")
    shelf = survey_model(tmp_path, "a", parse_model)
    assert shelf.absent == frozenset({"3"})
    assert shelf.refused() == {}
    assert "which is not there" in shelf.faults["3"]
    assert shelf.selected() == ("1",)


@pytest.mark.parametrize(
    ("policy", "selected", "refused"),
    [
        ("", (), ["3"]),
        ("version_policy { latest { num_versions: 2 } }", ("2",), ["3"]),
        ("version_policy { all { } }", ("1", "2"), ["3"]),
        ("version_policy { specific { versions: 1 } }", ("1",), []),
        ("version_policy { specific { versions: [ 2, 3 ] } }", ("2",), ["3"]),
    ],
)
def test_a_faulty_version_refuses_what_chooses_it_and_nothing_else(
    tmp_path: Path, policy: str, selected: tuple[str, ...], refused: list[str]
) -> None:
    declare(tmp_path, "a", policy, "1", "2", "3")
    (tmp_path / "a" / "3" / "model.toml").write_text("")
    shelf = survey_model(tmp_path, "a", parse_model)
    assert (shelf.selected(), list(shelf.refused())) == (selected, refused)
    assert list(shelf.faults) == ["3"]


def test_what_concerns_the_whole_model_refuses_all_of_it(tmp_path: Path) -> None:
    declare(tmp_path, "a", "nonsense", "1")
    assert list(survey_model(tmp_path, "a", parse_model).refused()) == [""]
    declare(tmp_path, "b", "version_policy { specific { versions: 3 } }")
    assert list(survey_model(tmp_path, "b", parse_model).refused()) == ["", "3"]


def test_a_name_that_is_no_version_is_chosen_by_no_policy(tmp_path: Path) -> None:
    declare(tmp_path, "a", "", "1", "9" * 65)
    shelf = survey_model(tmp_path, "a", parse_model)
    assert (shelf.selected(), shelf.refused()) == (("1",), {})


def test_a_reason_is_no_longer_than_somebody_reads(tmp_path: Path) -> None:
    """140 kB of faults took 15 s, in the supervisor, and were shown to everybody."""
    text = "".join('input { name: "x" data_type: TYPE_FP32 dims: [ 0 ] }\n' for _ in range(2600))
    declare(tmp_path, "a", text, "1")
    (reason,) = survey(tmp_path, parse_model)["a"].faults.values()
    assert len(reason.encode()) <= 4096
    assert reason.count("; ") == 10
    assert reason.endswith("; and 5189 more")


def test_the_reasons_of_many_versions_are_the_first_few() -> None:
    told = sentence((str(number), "x" * 4096) for number in range(1000))
    assert len(told.encode()) <= 4096
    assert told.endswith("; and 990 more")


def test_a_version_that_is_nested_without_end_is_its_own_fault(tmp_path: Path) -> None:
    put(tmp_path, "a", "1")
    nested = put(tmp_path, "b", "1")
    put(tmp_path, "b", "2")
    for _ in range(66):
        nested /= "d"
        nested.mkdir()
    shelves = survey(tmp_path, parse_model)
    assert list(shelves["a"].versions) == ["1"]
    assert list(shelves["b"].versions) == ["2"]
    assert "cannot be read: holds folders more than 64 deep" in shelves["b"].faults["1"]


def test_only_the_model_that_is_asked_for_is_looked_at(tmp_path: Path) -> None:
    put(tmp_path, "a", "1")
    put(tmp_path, "b", "1", toml="x = 1")
    heard: list[object] = []

    def listen(raw: Mapping[str, object]) -> ModelSettings:
        heard.append(raw)
        return ModelSettings()

    assert list(survey_model(tmp_path, "a", listen).versions) == ["1"]
    assert heard == []
