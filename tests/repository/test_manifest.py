"""The manifest: what it vouches for is checked, and nothing else is let in."""

import hashlib
import os
from pathlib import Path

import pytest

from gateway.repository.digest import digest
from gateway.repository.manifest import Unverified, identify
from gateway.repository.proof import Found
from gateway.repository.settings import BatchingSettings, ModelSettings, VersionPolicy

FILES = {"model.onnx": b"graph", "model.toml": b"", "weights/a.bin": b"\0" * 1000}


def sums(files: dict[str, bytes], mark: str = " ") -> str:
    return "".join(
        f"{hashlib.sha256(content).hexdigest()} {mark}{name}\n" for name, content in files.items()
    )


def put(folder: Path, manifest: str | bytes | None = None) -> Found:
    for name, content in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    if manifest is not None:
        content = manifest.encode() if isinstance(manifest, str) else manifest
        (folder / "manifest.sha256").write_bytes(content)
    return Found("digits", "1", folder, folder / "model.onnx", ModelSettings())


def faults(folder: Path, manifest: str | bytes) -> list[tuple[str, str]]:
    with pytest.raises(Unverified) as caught:
        identify(put(folder, manifest))
    assert str(caught.value).count("\n") == len(caught.value.faults) - 1
    return [(str(Path(path).relative_to(folder)), what) for path, what in caught.value.faults]


def test_a_version_without_a_manifest_is_what_its_files_say(tmp_path: Path) -> None:
    assert identify(put(tmp_path)) == digest(tmp_path)


@pytest.mark.parametrize("mark", [" ", "*"])
def test_a_manifest_that_holds_changes_nothing(tmp_path: Path, mark: str) -> None:
    bare = identify(put(tmp_path / "bare"))
    assert identify(put(tmp_path / "vouched", sums(FILES, mark))) == bare


def test_the_order_of_the_lines_and_a_dot_before_the_names_do_not_matter(tmp_path: Path) -> None:
    files = {f"./{name}": content for name, content in reversed(FILES.items())}
    assert identify(put(tmp_path, sums(files))) == digest(tmp_path)


def test_a_changed_file_is_named_with_what_was_expected_and_what_came(tmp_path: Path) -> None:
    wrong = FILES | {"model.onnx": b"another graph"}
    expected = hashlib.sha256(b"another graph").hexdigest()
    got = hashlib.sha256(b"graph").hexdigest()
    what = f"expected SHA-256 {expected} from manifest.sha256, got {got}"
    assert faults(tmp_path, sums(wrong)) == [("model.onnx", what)]


def test_a_file_that_was_slipped_in_is_named(tmp_path: Path) -> None:
    manifest = sums({name: FILES[name] for name in ("model.onnx", "model.toml")})
    assert faults(tmp_path, manifest) == [("weights/a.bin", "is not listed in manifest.sha256")]


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    manifest = sums(FILES | {"labels.txt": b"cat"})
    expected = [("labels.txt", "is listed in manifest.sha256 and is not there")]
    assert faults(tmp_path, manifest) == expected


def test_an_empty_manifest_vouches_for_no_file(tmp_path: Path) -> None:
    assert [path for path, _ in faults(tmp_path, "")] == sorted(FILES)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "weights/../model.onnx", "a\0b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    told = faults(tmp_path, sums(FILES | {name: b"graph"}))
    assert told == [("manifest.sha256", f"line 4: {name!a} leads out of the version's folder")]


@pytest.mark.parametrize(
    "line", ["model.onnx", "abc  model.onnx", "SHA256 (model.onnx) = " + 64 * "0", 64 * "0", " "]
)
def test_a_line_that_is_no_checksum_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    ((path, what),) = faults(tmp_path, sums(FILES) + line + "\n")
    assert path == "manifest.sha256"
    assert what == f"line 4: expected '<SHA-256 in hex>  <name>', got {line!a}"


def test_bytes_that_are_no_text_are_a_fault_and_no_crash(tmp_path: Path) -> None:
    told = faults(tmp_path, sums(FILES).encode() + b"\xff\xfe\n")
    assert [path for path, _ in told] == ["manifest.sha256"]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    manifest = sums({"model.onnx": b"x", "gone": b"", "../out": b""}) + "?\n"
    told = [path for path, _ in faults(tmp_path, manifest)]
    assert told == [
        "model.onnx",
        "gone",
        "manifest.sha256",
        "manifest.sha256",
        "model.toml",
        "weights/a.bin",
    ]


def test_the_line_that_a_shell_makes_of_the_manifest_itself_is_left_alone(tmp_path: Path) -> None:
    manifest = sums(FILES | {"manifest.sha256": b""})
    assert identify(put(tmp_path, manifest)) == digest(tmp_path)


def test_a_hidden_file_need_not_be_listed_and_is_checked_if_it_is(tmp_path: Path) -> None:
    (tmp_path / ".swp").write_bytes(b"x")
    assert identify(put(tmp_path, sums(FILES))) == digest(tmp_path)
    assert identify(put(tmp_path, sums(FILES | {".swp": b"x"}))) == digest(tmp_path)
    assert [path for path, _ in faults(tmp_path, sums(FILES | {".swp": b"y"}))] == [".swp"]


def test_a_name_with_a_line_break_is_listed_as_sha256sum_writes_it(tmp_path: Path) -> None:
    (tmp_path / "a\nb\\c").write_bytes(b"x")
    line = f"\\{hashlib.sha256(b'x').hexdigest()}  a\\nb\\\\c\n"
    assert identify(put(tmp_path, sums(FILES) + line)) == digest(tmp_path)


def test_a_manifest_without_end_is_a_fault(tmp_path: Path) -> None:
    found = put(tmp_path, "")
    with (tmp_path / "manifest.sha256").open("wb") as stream:
        stream.truncate((16 << 20) + 1)
    with pytest.raises(Unverified, match="is larger than 16777216 bytes"):
        identify(found)


def test_files_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        identify(Found("m", "1", tmp_path / "no", tmp_path / "no" / "model.onnx", ModelSettings()))


def test_other_settings_from_outside_the_folder_are_another_version(tmp_path: Path) -> None:
    found = put(tmp_path)

    def named(rows: int, policy: str = "all", origin: str = "pbtxt") -> str:
        settings = ModelSettings(
            batching=BatchingSettings(rows),
            origin="pbtxt" if origin == "pbtxt" else "request",
            version_policy=VersionPolicy("all" if policy == "all" else "latest"),
        )
        return identify(Found("m", "1", found.folder, found.onnx, settings))

    assert len({identify(found), named(0), named(8)}) == 3
    assert named(8) == named(8, "latest") == named(8, "all", "request")


def test_what_a_fault_quotes_is_cut(tmp_path: Path) -> None:
    told = faults(tmp_path, sums(FILES) + "x" * 10_000 + f"\n{'0' * 64}  ../{'y' * 10_000}\n")
    assert max(len(what) for _, what in told) < 200


def test_a_pipe_in_the_place_of_a_manifest_is_not_waited_for(tmp_path: Path) -> None:
    version = put(tmp_path)
    os.mkfifo(tmp_path / "manifest.sha256")
    with pytest.raises(OSError, match="is no regular file"):
        identify(version)
