"""What a load request brings along: used whole, or refused whole."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.repository import overrides as module
from gateway.repository.overrides import OverrideError, files_in, materialise, with_overrides
from gateway.repository.proof import Found
from gateway.repository.settings import (
    BatchingSettings,
    ModelSettings,
    RemoteSettings,
    VersionPolicy,
)

OWN = ModelSettings(
    description="Reads digits",
    batching=BatchingSettings(8, 1.0, (8,)),
    metrics={"accuracy": 0.9},
    version_policy=VersionPolicy("latest", 2),
)


@pytest.fixture
def found(tmp_path: Path) -> Found:
    folder = tmp_path / "digits" / "1"
    folder.mkdir(parents=True)
    for name in ("model.onnx", "other.onnx"):
        (folder / name).write_bytes(b"")
    return Found("digits", "1", folder, folder / "model.onnx", OWN)


def config(**values: Any) -> str:
    return json.dumps(values)


def faults(found: Found, text: str) -> list[tuple[str, str]]:
    with pytest.raises(OverrideError) as caught:
        with_overrides(found, text)
    assert str(caught.value).splitlines() == [
        f"{path}: {what}" for path, what in caught.value.faults
    ]
    return list(caught.value.faults)


def test_a_configuration_replaces_what_it_can_say_and_keeps_the_rest(found: Found) -> None:
    expected = ModelSettings(
        description="Reads digits",
        batching=BatchingSettings(16),
        metrics={"accuracy": 0.9},
        origin="request",
        version_policy=VersionPolicy("latest", 2),
    )
    assert with_overrides(found, config(max_batch_size="16")) == replace(found, settings=expected)


def test_a_version_that_runs_elsewhere_takes_none(found: Found) -> None:
    remote = replace(found, settings=replace(OWN, remote=RemoteSettings(("http://a",))))
    ((path, what),) = faults(remote, config(max_batch_size=8))
    assert (path, what) == ("config", "version 1 runs elsewhere: its model.toml alone describes it")


def test_a_policy_that_is_named_replaces_the_one_there(found: Found) -> None:
    given_one = with_overrides(found, config(version_policy={"all": {}}))
    assert given_one.settings.version_policy == VersionPolicy("all")


def test_another_file_may_be_named(found: Found) -> None:
    named = with_overrides(found, config(default_model_filename="other.onnx"))
    assert named.onnx == found.folder / "other.onnx"


def test_a_file_that_is_named_must_be_there(found: Found) -> None:
    told = faults(found, config(default_model_filename="gone.onnx"))
    assert told == [("config: $.default_model_filename", "version 1 has no file 'gone.onnx'")]


@pytest.mark.parametrize(
    "text", ["", "[]", "nonsense", '{"foo": 1}', '{"ensemble_scheduling": {"a": 1}}']
)
def test_what_is_no_configuration_is_refused(found: Found, text: str) -> None:
    ((path, what),) = faults(found, text)
    assert path == "config"
    assert what


def test_all_faults_of_a_configuration_are_told(found: Found) -> None:
    told = faults(found, config(name="other", max_batch_size=-1))
    assert [path for path, _ in told] == ["config: $.name", "config: $.max_batch_size"]


def test_files_come_in_base64_under_their_names() -> None:
    parameters = {"config": "{}", "file:1/model.onnx": base64.b64encode(b"graph").decode()}
    assert files_in(parameters) == {"1/model.onnx": b"graph"}


@pytest.mark.parametrize("value", ["?", "abc", "é", 3, None, ["YQ=="]])
def test_what_is_no_base64_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(OverrideError) as caught:
        files_in({"file:1/a": value, "file:1/b": "YQ=="})
    assert caught.value.faults == (("'file:1/a'", "expected the contents in base64"),)


@given(st.binary(max_size=40), st.integers(1, 4))
def test_a_file_is_decoded_piece_by_piece_as_it_would_be_whole(whole: bytes, pieces: int) -> None:
    text = base64.b64encode(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_BYTES", 4 * pieces)
        for value in (text.decode(), memoryview(text)):
            assert files_in({"file:1/a": value}) == {"1/a": whole}


@given(st.text("Qk=+", max_size=16), st.integers(1, 3))
def test_what_is_no_base64_whole_is_none_in_pieces(text: str, pieces: int) -> None:
    try:
        expected: object = {"1/a": base64.b64decode(text, validate=True)}
    except ValueError:
        expected = OverrideError
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_BYTES", 4 * pieces)
        try:
            found: object = files_in({"file:1/a": text})
        except OverrideError:
            found = OverrideError
    assert found == expected


@pytest.mark.parametrize("sign", ["\x7f", "x", "\U0001f600", "\udcff", "\n", "'"])
def test_a_name_of_any_length_is_quoted_in_a_few_characters(tmp_path: Path, sign: str) -> None:
    name = f"file:1/{sign * (14 << 20)}"
    for fails in (
        lambda: files_in({name: "!"}),
        lambda: materialise(tmp_path / "m", {name.removeprefix("file:"): b""}),
    ):
        with pytest.raises(OverrideError) as caught:
            fails()
        assert len(str(caught.value)) < 200
        assert str(caught.value).isascii()
        assert str(caught.value)[1:].startswith("file:1/")


def test_of_many_bad_names_the_first_are_told(tmp_path: Path) -> None:
    with pytest.raises(OverrideError) as caught:
        materialise(tmp_path / "m", {f"{'x' * 1000}{number}": b"" for number in range(1000)})
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1]) == (11, "and 990 more")
    assert len(str(caught.value)) <= 4096


def test_files_are_written_where_discovery_looks(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    materialise(folder, {"1/model.onnx": b"graph", "1/deep/w.bin": b"w", "2/model.onnx": b"h"})
    written = {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
    assert written == {"1/model.onnx": b"graph", "1/deep/w.bin": b"w", "2/model.onnx": b"h"}
    assert (folder / "1").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("1/../../x", "leads out of the model's folder, or nowhere"),
        ("../1/x", "expected <version>/<name>"),
        ("/etc/x", "expected <version>/<name>"),
        ("model.onnx", "expected <version>/<name>"),
        ("", "expected <version>/<name>"),
        ("a b/model.onnx", "expected <version>/<name>"),
        ("1/", "leads out of the model's folder, or nowhere"),
        ("1//x", "leads out of the model's folder, or nowhere"),
        ("1/./x", "leads out of the model's folder, or nowhere"),
        ("1/a\0b", "leads out of the model's folder, or nowhere"),
        ("1/" + "x" * 256, "is too long: at most 255 bytes between slashes, 1024 in all"),
        ("1/" + "é" * 128, "is too long: at most 255 bytes between slashes, 1024 in all"),
        ("1/" + "x/" * 600 + "x", "is too long: at most 255 bytes between slashes, 1024 in all"),
        ("1/\ud800", "is no text"),
        ("1/model.onnx/x", "lies below another file"),
    ],
)
def test_a_bad_name_is_refused_and_nothing_is_written(tmp_path: Path, name: str, what: str) -> None:
    folder = tmp_path / "private" / "digits"
    with pytest.raises(OverrideError) as caught:
        materialise(folder, {"1/model.onnx": b"graph", name: b"x"})
    assert [words for _, words in caught.value.faults] == [what]
    assert str(caught.value).isascii()
    assert list(tmp_path.iterdir()) == []


def test_more_files_than_a_model_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OverrideError, match="at most 1024 files, got 1025"):
        materialise(tmp_path / "m", {f"1/{number}": b"" for number in range(1025)})


@given(
    st.dictionaries(st.text(st.sampled_from("1a./\\\0é"), max_size=8), st.just(b"x"), max_size=4)
)
def test_no_name_writes_outside(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    place = tmp_path_factory.mktemp("load")
    try:
        materialise(place / "m", files)
    except OverrideError:
        assert list(place.iterdir()) == []
        return
    written = {str(file.relative_to(place / "m")) for file in place.rglob("*") if file.is_file()}
    assert written == set(files)


def test_of_many_faults_the_first_are_told() -> None:
    with pytest.raises(OverrideError) as caught:
        files_in({f"file:1/{number}{'x' * 1000}": None for number in range(1000)})
    assert len(caught.value.faults) == 1000
    assert len(str(caught.value)) <= 4096
    assert str(caught.value).endswith("and 990 more")


def test_a_file_that_is_named_may_lie_in_a_folder_of_its_name(found: Found) -> None:
    onnx = found.folder / "in.onnx" / "in.onnx"
    onnx.parent.mkdir()
    onnx.touch()
    assert with_overrides(found, config(default_model_filename="in.onnx")).onnx == onnx
