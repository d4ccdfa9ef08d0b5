"""Discovery: what lies below a folder, in order, and every fault in it."""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gateway.repository.discover import Discovery, RepositoryError, discover
from gateway.repository.proof import Found
from gateway.repository.settings import BatchingSettings, ModelSettings, RemoteSettings


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
    return [(found.model, found.version) for found in discover(root, parse).found]


def faults(root: Path) -> list[tuple[str, str]]:
    """Return the faults, with paths as seen from the root."""
    seen = discover(root, parse).faults
    return [(os.path.relpath(fault.path, root), fault.what) for fault in seen]


def of_the_root(root: Path) -> list[tuple[str, str]]:
    with pytest.raises(RepositoryError) as caught:
        discover(root, parse)
    assert str(caught.value) == "\n".join(f"{path}: {what}" for path, what in caught.value.faults)
    return [(os.path.relpath(path, root), what) for path, what in caught.value.faults]


def test_a_version_is_found_with_its_files_and_settings(tmp_path: Path) -> None:
    put(tmp_path, "digits/1", toml='description = "Reads digits"\nmax = 32')
    folder = tmp_path / "digits" / "1"
    settings = ModelSettings("Reads digits", BatchingSettings(max_batch_size=32))
    expected = Found("digits", "1", folder, folder / "model.onnx", settings)
    assert discover(tmp_path, parse) == Discovery((expected,), ())


def test_a_version_without_a_model_toml_has_the_defaults(tmp_path: Path) -> None:
    put(tmp_path, "digits/1")
    (found,) = discover(tmp_path, parse).found
    assert found.settings == ModelSettings()


def test_models_come_by_name_and_versions_ascend(tmp_path: Path) -> None:
    put(tmp_path, "b/10", "b/9", "b/2", "a/v10", "a/v9", "a/1")
    expected = [("a", "v9"), ("a", "v10"), ("a", "1"), ("b", "2"), ("b", "9"), ("b", "10")]
    assert seen(tmp_path) == expected


def test_leading_zeros_are_no_part_of_a_version(tmp_path: Path) -> None:
    put(tmp_path, "digits/007")
    (found,) = discover(tmp_path, parse).found
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
    assert of_the_root(tmp_path / "nowhere") == [(".", "no such folder")]


def test_a_root_that_is_a_file_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "models"
    file.write_text("")
    assert of_the_root(file) == [(".", "is not a folder")]


def test_a_root_without_a_model_holds_nothing_and_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "digits" / "1").mkdir(parents=True)
    assert discover(tmp_path, parse) == Discovery()


def test_a_root_that_is_a_loop_of_links_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    ((path, _),) = of_the_root(tmp_path / "loop")
    assert path == "."


def test_a_root_that_may_not_be_read_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(place: Path) -> None:
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr(os, "scandir", forbidden)
    assert of_the_root(tmp_path) == [(".", "cannot be read: Permission denied")]


def test_a_model_that_may_not_be_read_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a/1", "b/1")
    scandir = os.scandir

    def forbidden(place: Path) -> object:
        if place.name == "a":
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", forbidden)
    assert faults(tmp_path) == [("a", "cannot be read: Permission denied")]
    assert seen(tmp_path) == [("b", "1")]


def test_a_link_that_leads_nowhere_harms_nobody(tmp_path: Path) -> None:
    put(tmp_path, "digits/1")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "digits" / "2").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "digits" / "3").symlink_to(tmp_path / "digits" / "3")
    assert seen(tmp_path) == [("digits", "1")]


def test_one_version_twice_is_neither_of_the_two(tmp_path: Path) -> None:
    """Which one is meant nobody can say, so a guess would be a lottery."""
    put(tmp_path, "digits/1", "digits/01", "digits/2")
    assert faults(tmp_path) == [("digits/1", "is the same version as 01")]
    assert seen(tmp_path) == [("digits", "2")]


def test_a_version_there_three_times_is_told_of_each(tmp_path: Path) -> None:
    put(tmp_path, "digits/1", "digits/01", "digits/001")
    assert [path for path, _ in faults(tmp_path)] == ["digits/01", "digits/1"]
    assert seen(tmp_path) == []


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

    assert [fault.what for fault in discover(tmp_path, silent).faults] == ["ValueError()"]


def test_a_model_toml_without_end_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, "digits/1", toml="#" * (1 << 20) + "\n")
    assert faults(tmp_path) == [("digits/1/model.toml", "is larger than 1048576 bytes")]


def test_a_fault_names_its_model_and_its_version(tmp_path: Path) -> None:
    put(tmp_path, "a/007", toml="c = 1")
    put(tmp_path, "b/1", "b/01", "c/?", "stats/1")
    told = {(fault.model, fault.version) for fault in discover(tmp_path, parse).faults}
    assert told == {("a", "7"), ("b", "1"), ("c", "?"), ("stats", None)}


def test_a_fault_harms_no_other_version(tmp_path: Path) -> None:
    put(tmp_path, "a/1", toml="c = 1")
    put(tmp_path, "a/2", "b/1", "b/01", "b/3", "c/?", "c/4", "d/1", "stats/1")
    (tmp_path / "d" / "1" / "model.toml").write_text("=")
    assert seen(tmp_path) == [("a", "2"), ("b", "3"), ("c", "4")]
    expected = ["a/1/model.toml", "a/1/model.toml", "b/1", "c/?", "d/1/model.toml", "stats"]
    assert [path for path, _ in faults(tmp_path)] == expected


def test_a_fault_is_one_line_of_text(tmp_path: Path) -> None:
    put(tmp_path, "digits/1", toml="=")
    (fault,) = discover(tmp_path, parse).faults
    assert str(fault) == f"{fault.path}: {fault.what}"


def test_a_sound_toml_reaches_the_parser_as_it_is(tmp_path: Path) -> None:
    text = 'description = "é"\n[batching]\npad_to = [1, 8]\n'
    put(tmp_path, "digits/1", toml=text)
    heard: list[Mapping[str, object]] = []

    def listen(raw: Mapping[str, object]) -> ModelSettings:
        heard.append(raw)
        return ModelSettings()

    discover(tmp_path, listen)
    assert heard == [tomllib.loads(text)]


def declare(
    root: Path, model: str, text: str = "", *versions: str, file: str = "model.onnx"
) -> None:
    """Write a model as Triton wants it."""
    (root / model).mkdir(parents=True)
    (root / model / "config.pbtxt").write_text(text, encoding="utf-8")
    for version in versions:
        place = root / model / version / file
        place.parent.mkdir(parents=True)
        place.write_bytes(b"")


def test_a_model_of_triton_is_found_with_its_settings(tmp_path: Path) -> None:
    declare(tmp_path, "resnet", "max_batch_size: 8", "1")
    (found,) = discover(tmp_path, parse).found
    assert (found.model, found.version) == ("resnet", "1")
    assert found.onnx == tmp_path / "resnet" / "1" / "model.onnx"
    assert (found.settings.origin, found.settings.batching.max_batch_size) == ("pbtxt", 8)


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", ["10"]),
        ("version_policy { latest { } }", ["10"]),
        ("version_policy { latest { num_versions: 2 } }", ["9", "10"]),
        ("version_policy { latest { num_versions: 9 } }", ["2", "9", "10"]),
        ("version_policy { all { } }", ["2", "9", "10"]),
        ("version_policy { specific { versions: [ 9, 2 ] } }", ["2", "9"]),
    ],
)
def test_the_policy_says_which_versions_are_served(
    tmp_path: Path, policy: str, versions: list[str]
) -> None:
    declare(tmp_path, "resnet", policy, "2", "10", "9")
    assert seen(tmp_path) == [("resnet", version) for version in versions]


def test_a_version_that_the_policy_does_not_choose_is_found_as_such(tmp_path: Path) -> None:
    """Somebody may ask for it all the same."""
    declare(tmp_path, "resnet", "max_batch_size: 8", "2", "10", "9")
    discovery = discover(tmp_path, parse)
    assert [one.version for one in discovery.unchosen] == ["2", "9"]
    assert all(one.settings == discovery.found[0].settings for one in discovery.unchosen)


def test_a_fault_of_a_version_that_nobody_chose_is_told_as_that(tmp_path: Path) -> None:
    declare(tmp_path, "resnet", "", "1", "2")
    (tmp_path / "resnet" / "1" / "model.toml").write_text("")
    (fault,) = discover(tmp_path, parse).faults
    assert (fault.version, fault.kind) == ("1", "unchosen")
    assert seen(tmp_path) == [("resnet", "2")]


@pytest.mark.parametrize("damage", ["settings", "link"])
def test_no_older_version_takes_the_place_of_a_faulty_one_unasked(
    tmp_path: Path, damage: str
) -> None:
    declare(tmp_path, "resnet", "", "1", "2")
    if damage == "settings":
        (tmp_path / "resnet" / "2" / "model.toml").write_text("")
    else:
        onnx = tmp_path / "resnet" / "2" / "model.onnx"
        onnx.unlink()
        onnx.symlink_to("x" * 300)
    discovery = discover(tmp_path, parse)
    assert [(fault.version, fault.kind) for fault in discovery.faults] == [("2", "refused")]
    assert (discovery.found, [one.version for one in discovery.unchosen]) == ((), ["1"])


def test_a_version_that_the_policy_names_must_be_there(tmp_path: Path) -> None:
    declare(tmp_path, "resnet", "version_policy { specific { versions: [ 1, 3 ] } }", "1")
    expected = [("resnet/config.pbtxt", "version_policy names version 3, which is not there")]
    assert faults(tmp_path) == expected
    assert [fault.kind for fault in discover(tmp_path, parse).faults] == ["absent"]
    assert seen(tmp_path) == [("resnet", "1")]


def test_versions_of_triton_are_numbers_and_other_folders_are_not(tmp_path: Path) -> None:
    """It passes over leading zeros."""
    versions = ("0", "1", "01", "007", "00", "warmup", "v2", "٣")
    declare(tmp_path, "resnet", "version_policy { all { } }", *versions)
    assert (seen(tmp_path), faults(tmp_path)) == ([("resnet", "0"), ("resnet", "1")], [])


def test_the_file_may_have_another_name(tmp_path: Path) -> None:
    declare(tmp_path, "resnet", 'default_model_filename: "net.onnx"', "1", file="net.onnx")
    (found,) = discover(tmp_path, parse).found
    assert found.onnx == tmp_path / "resnet" / "1" / "net.onnx"


def test_a_file_that_cannot_be_looked_at_is_the_versions_fault(tmp_path: Path) -> None:
    declare(tmp_path, "resnet", f'default_model_filename: "{"x" * 300}"')
    (tmp_path / "resnet" / "1").mkdir()
    (fault,) = discover(tmp_path, parse).faults
    assert (fault.version, fault.what) == ("1", "cannot be read: File name too long")


def test_the_file_may_lie_in_a_folder_of_its_name(tmp_path: Path) -> None:
    declare(tmp_path, "resnet", "", "1", file="model.onnx/model.onnx")
    (found,) = discover(tmp_path, parse).found
    assert found.onnx == tmp_path / "resnet" / "1" / "model.onnx" / "model.onnx"


def test_a_model_of_triton_without_a_version_is_a_fault(tmp_path: Path) -> None:
    declare(tmp_path, "resnet")
    (tmp_path / "resnet" / "1").mkdir()
    expected = [("resnet", "holds no version: expected <number>/model.onnx")]
    assert faults(tmp_path) == expected


def test_both_ways_to_declare_are_one_too_many(tmp_path: Path) -> None:
    declare(tmp_path, "resnet", "version_policy { all { } }", "1", "2")
    (tmp_path / "resnet" / "1" / "model.toml").write_text("")
    ((path, what),) = faults(tmp_path)
    assert path == "resnet/1/model.toml"
    expected = f"one of the two must go: settings are in {tmp_path / 'resnet' / 'config.pbtxt'} too"
    assert what == expected
    assert seen(tmp_path) == [("resnet", "2")]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("max_batch_size: 8\nfoo: 1", "line 2: unknown field 'foo'"),
        ('name: "other"', "$.name: expected 'resnet', got 'other'"),
        ("sequence_batching { }", "$.sequence_batching: is not served: requests keep no state"),
    ],
)
def test_a_fault_in_a_config_pbtxt_is_the_whole_models(
    tmp_path: Path, text: str, what: str
) -> None:
    declare(tmp_path, "resnet", text, "1", "2")
    put(tmp_path, "digits/1")
    (fault,) = discover(tmp_path, parse).faults
    assert (fault.model, fault.version) == ("resnet", None)
    assert fault.path == str(tmp_path / "resnet" / "config.pbtxt")
    assert fault.what.startswith(what)
    assert seen(tmp_path) == [("digits", "1")]


def test_every_fault_of_a_config_pbtxt_is_told(tmp_path: Path) -> None:
    declare(tmp_path, "resnet", 'name: "x" backend: "python" max_batch_size: -1', "1")
    told = [what.partition(":")[0] for _, what in faults(tmp_path)]
    assert told == ["$.name", "$.backend", "$.max_batch_size"]


def test_a_config_pbtxt_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    declare(tmp_path, "resnet", "", "1")
    (tmp_path / "resnet" / "config.pbtxt").write_bytes(b"\xff")
    assert faults(tmp_path) == [("resnet/config.pbtxt", "is not UTF-8")]


@pytest.mark.parametrize("make", [os.mkfifo, lambda file: file.symlink_to("/dev/zero"), Path.mkdir])
def test_what_is_no_file_is_no_configuration_and_nobody_waits_for_it(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    put(tmp_path, "a/1", "b/1", "c/1")
    make(tmp_path / "a" / "config.pbtxt")
    make(tmp_path / "b" / "1" / "model.toml")
    told = faults(tmp_path)
    assert [path for path, _ in told] == ["a/config.pbtxt", "b/1/model.toml"]
    assert all(what.startswith("cannot be read: ") for _, what in told)
    assert seen(tmp_path) == [("c", "1")]


def test_a_config_pbtxt_that_is_a_link_to_nowhere_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, "a/1")
    (tmp_path / "a" / "config.pbtxt").symlink_to("gone")
    ((path, what),) = faults(tmp_path)
    assert path == "a/config.pbtxt"
    assert "No such file" in what


def test_one_model_can_be_looked_at_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1", "b/1", "b/2")
    looked_at: list[Path] = []
    scandir = os.scandir

    def listing(place: Path) -> object:
        looked_at.append(place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", listing)
    found = discover(tmp_path, parse, "b").found
    assert [(one.model, one.version) for one in found] == [("b", "1"), ("b", "2")]
    assert looked_at == [tmp_path / "b"]


@pytest.mark.parametrize("model", ["gone", ".git", "..", ".", "", "a/1", "stats", "é" * 256])
def test_what_is_no_model_among_all_is_none_alone(tmp_path: Path, model: str) -> None:
    put(tmp_path, "a/1", ".git/1", "stats/1")
    (tmp_path / "gone").symlink_to("nowhere")
    assert discover(tmp_path, parse, model) == Discovery()


def test_a_model_that_may_not_be_looked_at_is_a_fault_alone_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(place: Path) -> bool:
        if place.name == "a":
            raise PermissionError(13, "Permission denied", str(place))
        return True

    monkeypatch.setattr(Path, "is_dir", forbidden)
    (fault,) = discover(tmp_path, parse, "a").faults
    assert fault.model == "a"


def test_a_fault_is_no_longer_than_somebody_reads(tmp_path: Path) -> None:
    declare(tmp_path, "resnet", f'{"x" * 10_000}: 1\nname: "{"y" * 10_000}"', "1")
    declare(tmp_path, "other", f'default_model_filename: "{"z" * 1000}"')
    assert max(len(what) for _, what in faults(tmp_path)) <= 512


def elsewhere(raw: Mapping[str, object]) -> ModelSettings:
    """Read a file that says where its version runs, or nothing."""
    where = raw.get("where")
    return ModelSettings(remote=RemoteSettings((where,)) if isinstance(where, str) else None)


def put_settings(root: Path, place: str, toml: str) -> Path:
    (root / place).mkdir(parents=True, exist_ok=True)
    file = root / place / "model.toml"
    file.write_text(toml)
    return file


def test_a_version_that_runs_elsewhere_needs_no_model(tmp_path: Path) -> None:
    toml = put_settings(tmp_path, "digits/1", 'where = "http://a"')
    expected = ModelSettings(remote=RemoteSettings(("http://a",)))
    found = Found("digits", "1", toml.parent, toml, expected)
    assert discover(tmp_path, elsewhere) == Discovery((found,))


def test_settings_without_a_model_are_left_alone_where_it_does_not(tmp_path: Path) -> None:
    put_settings(tmp_path, "digits/1", "")
    assert discover(tmp_path, elsewhere) == Discovery()


def test_settings_without_a_model_that_cannot_be_read_are_a_fault(tmp_path: Path) -> None:
    put_settings(tmp_path, "digits/1", "where = ")
    ((path, _),) = faults(tmp_path)
    assert path == "digits/1/model.toml"


def test_a_model_beside_one_that_runs_elsewhere_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, "digits/1", toml='where = "http://a"')
    discovery = discover(tmp_path, elsewhere)
    assert discovery.found == ()
    (fault,) = discovery.faults
    assert fault.what == "one of the two must go: model.toml says that the version runs elsewhere"
