"""Discovery: what lies below a folder, in order, and every fault in it."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.repository.discover import Found, RepositoryError, discover
from gateway.repository.settings import BatchingSettings, ModelSettings


def parse(raw: Mapping[str, object]) -> ModelSettings:
    """Know descriptions and batch sizes; call anything else a fault, two of them at once."""
    if raw.keys() - {"description", "max"}:
        raise ValueError("$.a: is wrong\n$.b: is wrong too")
    size = raw.get("max", 0)
    assert isinstance(size, int)
    return ModelSettings(str(raw.get("description", "")), BatchingSettings(max_batch_size=size))


def put(root: Path, *places: str, toml: str | None = None) -> None:
    for place in places:
        folder = root / place
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"")
        if toml is not None:
            (folder / "model.toml").write_text(toml, encoding="utf-8")


def seen(root: Path) -> list[tuple[str, str]]:
    return [(found.model, found.version) for found in discover(root, parse)]


def faults(root: Path) -> list[tuple[str, str]]:
    """Return the faults, with paths as seen from the root."""
    with pytest.raises(RepositoryError) as caught:
        discover(root, parse)
    return [(os.path.relpath(path, root), what) for path, what in caught.value.faults]


def test_a_version_is_found_with_its_files_and_settings(tmp_path: Path) -> None:
    put(tmp_path, "digits/1", toml='description = "Reads digits"\nmax = 32')
    folder = tmp_path / "digits" / "1"
    settings = ModelSettings("Reads digits", BatchingSettings(max_batch_size=32))
    expected = Found("digits", "1", folder, folder / "model.onnx", settings)
    assert discover(tmp_path, parse) == (expected,)


def test_a_version_without_a_model_toml_has_the_defaults(tmp_path: Path) -> None:
    put(tmp_path, "digits/1")
    (found,) = discover(tmp_path, parse)
    assert found.settings == ModelSettings()


def test_models_come_by_name_and_versions_ascend(tmp_path: Path) -> None:
    put(tmp_path, "b/10", "b/9", "b/2", "a/v10", "a/v9", "a/1")
    expected = [("a", "v9"), ("a", "v10"), ("a", "1"), ("b", "2"), ("b", "9"), ("b", "10")]
    assert seen(tmp_path) == expected


def test_leading_zeros_are_no_part_of_a_version(tmp_path: Path) -> None:
    put(tmp_path, "digits/007")
    (found,) = discover(tmp_path, parse)
    assert (found.version, found.folder.name) == ("7", "007")


def test_what_is_no_version_is_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "digits/1", "digits/.2", ".git/1")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "digits" / "card.md").write_text("about")
    (tmp_path / "digits" / "notes of mine").mkdir()
    (tmp_path / "stats" / "figures").mkdir(parents=True)
    (tmp_path / "digits" / "3" / "model.onnx").mkdir(parents=True)
    assert seen(tmp_path) == [("digits", "1")]


def test_a_linked_model_is_a_model(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1")
    root = tmp_path / "root"
    root.mkdir()
    (root / "digits").symlink_to(tmp_path / "elsewhere")
    assert seen(root) == [("digits", "1")]


def test_a_root_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path / "nowhere") == [(".", "no such folder")]


def test_a_root_that_is_a_file_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "models"
    file.write_text("")
    assert faults(file) == [(".", "is not a folder")]


def test_a_root_without_a_model_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "digits" / "1").mkdir(parents=True)
    expected = [(".", "holds no model: expected <model>/<version>/model.onnx")]
    assert faults(tmp_path) == expected


def test_one_version_twice_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, "digits/1", "digits/01")
    assert faults(tmp_path) == [("digits/1", "is the same version as 01")]


def test_a_bad_version_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, "digits/version 1", "digits/2")
    ((path, what),) = faults(tmp_path)
    assert (path, what[:23]) == ("digits/version 1", "a version is 1 to 64 of")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("stats", "stats"), ("a\\b", "a\\b"), ("a\nb", "a\\nb"), ("x\x7f", "x\\x7f")],
)
def test_a_bad_name_is_a_fault_on_one_line(tmp_path: Path, name: str, shown: str) -> None:
    put(tmp_path, f"{name}/1")
    ((path, what),) = faults(tmp_path)
    assert path == shown
    assert what.startswith("a model's name is 1 to 256 characters")


def test_a_name_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, os.fsdecode(b"\xff") + "/1")
    ((path, _),) = faults(tmp_path)
    assert path == "\\udcff"


@pytest.mark.parametrize("contents", [b"= 3", b"\xff", b"a = " + b"[" * 100_000])
def test_a_model_toml_that_cannot_be_read_is_a_fault(tmp_path: Path, contents: bytes) -> None:
    put(tmp_path, "digits/1")
    (tmp_path / "digits" / "1" / "model.toml").write_bytes(contents)
    ((path, what),) = faults(tmp_path)
    assert path == "digits/1/model.toml"
    assert what


def test_a_model_toml_that_is_a_folder_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, "digits/1")
    (tmp_path / "digits" / "1" / "model.toml").mkdir()
    assert faults(tmp_path) == [("digits/1/model.toml", "cannot be read: Is a directory")]


def test_each_fault_of_a_model_toml_has_its_own_line(tmp_path: Path) -> None:
    put(tmp_path, "digits/1", toml="c = 1")
    expected = [
        ("digits/1/model.toml", "$.a: is wrong"),
        ("digits/1/model.toml", "$.b: is wrong too"),
    ]
    assert faults(tmp_path) == expected


def test_a_fault_without_words_is_still_a_fault(tmp_path: Path) -> None:
    put(tmp_path, "digits/1", toml="")

    def silent(raw: Mapping[str, object]) -> ModelSettings:
        raise ValueError

    with pytest.raises(RepositoryError) as caught:
        discover(tmp_path, silent)
    assert [what for _, what in caught.value.faults] == ["ValueError()"]


def test_all_faults_are_told_at_once_each_with_its_path(tmp_path: Path) -> None:
    put(tmp_path, "a/1", toml="c = 1")
    put(tmp_path, "b/1", "b/01", "c/?", "d/1", "stats/1")
    (tmp_path / "d" / "1" / "model.toml").write_text("=")
    with pytest.raises(RepositoryError) as caught:
        discover(tmp_path, parse)
    expected = ["a/1/model.toml", "a/1/model.toml", "b/1", "c/?", "d/1/model.toml", "stats"]
    paths = [path for path, _ in caught.value.faults]
    assert [os.path.relpath(path, tmp_path) for path in paths] == expected
    assert str(caught.value).splitlines() == [f"{p}: {what}" for p, what in caught.value.faults]


def test_a_sound_toml_reaches_the_parser_as_it_is(tmp_path: Path) -> None:
    text = 'description = "é"\n[batching]\npad_to = [1, 8]\n'
    put(tmp_path, "digits/1", toml=text)
    heard: list[Mapping[str, object]] = []

    def listen(raw: Mapping[str, object]) -> ModelSettings:
        heard.append(raw)
        return ModelSettings()

    discover(tmp_path, listen)
    assert heard == [tomllib.loads(text)]
