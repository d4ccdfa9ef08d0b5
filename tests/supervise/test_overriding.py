"""A load whose configuration or files come with the request."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.config.model import parse_model
from gateway.errors import Malformed
from gateway.supervise.overriding import make_home, overridden, remove, remove_others
from gateway.supervise.selection import EMPTY, Shelf, survey_model
from tests.elsewhere import declared

FIVE = {"file:5/model.onnx": "Zml2ZQ=="}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    folder = tmp_path / "models" / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_text("one")
    return survey_model(tmp_path / "models", "m", parse_model)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


def test_a_configuration_replaces_each_version_s_own(shelf: Shelf, home: Path) -> None:
    offered, private = overridden("m", shelf, {"config": '{"max_batch_size":4}'}, parse_model, home)
    assert private is None
    assert offered.versions["1"].found.settings.batching.max_batch_size == 4
    assert offered.versions["1"].found.folder == shelf.versions["1"].found.folder


def test_files_replace_the_repository_s_versions(shelf: Shelf, home: Path) -> None:
    offered, private = overridden("m", shelf, FIVE, parse_model, home)
    assert list(offered.versions) == ["5"]
    assert private is not None
    assert private.parent == home
    assert offered.versions["5"].found.onnx == private / "m" / "5" / "model.onnx"


def test_files_need_no_model_in_the_repository(home: Path) -> None:
    offered, _ = overridden("new", EMPTY, FIVE, parse_model, home)
    assert offered.versions["5"].found.model == "new"


@pytest.mark.parametrize(
    "parameters",
    [
        {"config": "{"},
        {"config": 5},
        {"config": '{"max_batch_size": -1}'},
        {"file:../x": "Zml2ZQ=="},
        {"file:5/model.onnx": "not base64"},
        {"config": "{", **FIVE},
    ],
)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(
    shelf: Shelf, home: Path, parameters: Mapping[str, object]
) -> None:
    with pytest.raises(Malformed, match="failed to load 'm': "):
        overridden("m", shelf, parameters, parse_model, home)
    assert list(home.iterdir()) == []


def test_no_request_has_us_ask_servers_of_its_choice(home: Path) -> None:
    toml = b64encode(declared("http://169.254.169.254").encode()).decode()
    with pytest.raises(Malformed, match=r"file:5/model.toml: a version that runs elsewhere"):
        overridden("m", EMPTY, {"file:5/model.toml": toml}, parse_model, home)
    assert list(home.iterdir()) == []


def test_only_the_folders_in_use_are_kept() -> None:
    home = make_home()
    assert home.stat().st_mode & 0o077 == 0
    (home / "used").mkdir()
    (home / "unused" / "m").mkdir(parents=True)
    remove_others(home, {home / "used", None})
    assert [one.name for one in home.iterdir()] == ["used"]
    remove(home)
    assert not home.exists()
    remove(home)  # gone is gone


def test_a_folder_that_somebody_took_away_is_made_again(shelf: Shelf, tmp_path: Path) -> None:
    home = tmp_path / "gone"
    offered, private = overridden("m", shelf, FIVE, parse_model, home)
    assert home.stat().st_mode & 0o777 == 0o700
    assert offered.versions["5"].found.onnx.read_text() == "five"
    assert private is not None
    assert private.stat().st_mode & 0o777 == 0o700


def test_where_there_is_no_folder_there_is_nothing_to_take_away(tmp_path: Path) -> None:
    home = tmp_path / "gone"
    remove_others(home, {home / "used"})
    assert not home.exists()


def test_nothing_is_made_for_a_load_without_files(shelf: Shelf, tmp_path: Path) -> None:
    overridden("m", shelf, {"config": "{}"}, parse_model, tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_what_others_put_in_the_folder_s_place_is_neither_used_nor_emptied(
    shelf: Shelf, home: Path, tmp_path: Path
) -> None:
    (home / "theirs").mkdir()
    link = tmp_path / "link"
    link.symlink_to(home)
    with pytest.raises(FileExistsError):
        overridden("m", shelf, FIVE, parse_model, link)
    remove_others(link, ())
    assert [one.name for one in home.iterdir()] == ["theirs"]
