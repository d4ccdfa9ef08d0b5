"""A version's digest: the same files, the same name, wherever they lie."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.repository.digest import digest, hashes, names, signature_of_files

Tree = dict[str, bytes]

FILES: Tree = {"model.onnx": b"graph", "model.toml": b"", "weights/a.bin": b"\0" * 1000}

# Names and contents made of each other's bytes: what could run together, would.
trees = st.dictionaries(
    st.text("ab", min_size=1, max_size=3), st.text("ab", max_size=3).map(str.encode), max_size=3
)


def write(folder: Path, files: Tree) -> Path:
    for name, contents in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents)
    return folder


def test_the_digest_is_the_same_on_every_machine(tmp_path: Path) -> None:
    """The whole definition, written a second time, and what it gave when it was written."""
    total = hashlib.sha256()
    for name, contents in sorted(FILES.items()):
        total.update(len(name).to_bytes(8, "big") + name.encode())
        total.update(hashlib.sha256(contents).digest())
    result = digest(write(tmp_path, FILES))
    assert result == total.hexdigest()
    assert result == "3bdf45c4ad08cd44137b714f4f6f79d193261694bd5a242da82aec0dcdcbaaa2"


def test_the_place_and_the_order_of_writing_do_not_matter(tmp_path: Path) -> None:
    backwards = dict(reversed(FILES.items()))
    assert digest(write(tmp_path / "a", FILES)) == digest(write(tmp_path / "b/c", backwards))


def test_times_and_modes_do_not_matter(tmp_path: Path) -> None:
    before = digest(write(tmp_path, FILES))
    file = tmp_path / "model.onnx"
    file.chmod(0o600)
    file.touch()
    assert digest(tmp_path) == before


@pytest.mark.parametrize(
    "change",
    [
        {"model.onnx": b"graph!"},
        {"model.toml": b"#"},
        {"weights/a.bin": b"\0" * 999},
        {"weights/b.bin": b""},
        {"more": b""},
    ],
    ids=str,
)
def test_any_change_of_a_file_changes_the_digest(tmp_path: Path, change: Tree) -> None:
    before = digest(write(tmp_path, FILES))
    assert digest(write(tmp_path, change)) != before


def test_a_name_counts_as_much_as_contents(tmp_path: Path) -> None:
    before = digest(write(tmp_path, FILES))
    (tmp_path / "model.toml").rename(tmp_path / "other.toml")
    assert digest(tmp_path) != before


def test_hidden_files_are_no_part_of_a_version(tmp_path: Path) -> None:
    before = digest(write(tmp_path, FILES))
    write(tmp_path, {".DS_Store": b"x", ".git/config": b"y", "weights/.swp": b"z"})
    assert digest(tmp_path) == before


def test_a_linked_file_is_what_it_links_to(tmp_path: Path) -> None:
    before = digest(write(tmp_path / "version", FILES))
    file = tmp_path / "version" / "model.onnx"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert digest(tmp_path / "version") == before


def test_a_folder_linked_into_itself_is_not_followed(tmp_path: Path) -> None:
    before = digest(write(tmp_path, FILES))
    (tmp_path / "again").symlink_to(tmp_path)
    assert digest(tmp_path) == before


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest(tmp_path / "nowhere")


@given(trees, trees)
def test_different_files_have_different_digests(
    tmp_path_factory: pytest.TempPathFactory, one: Tree, other: Tree
) -> None:
    first, second = (write(tmp_path_factory.mktemp("tree"), files) for files in (one, other))
    assert (digest(first) == digest(second)) == (one == other)


def test_the_manifest_is_no_part_of_a_version(tmp_path: Path) -> None:
    """It repeats what the files say: two equal models stay equal when one gets a manifest."""
    before = digest(write(tmp_path, FILES))
    assert digest(write(tmp_path, {"manifest.sha256": b"x"})) == before
    assert digest(write(tmp_path, {"weights/manifest.sha256": b"x"})) != before


def test_the_stamp_of_files_stays_while_nobody_touches_them(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    assert signature_of_files(tmp_path) == signature_of_files(tmp_path)


@pytest.mark.parametrize(
    "change", [{"model.onnx": b"graph!"}, {"weights/b.bin": b""}, {"manifest.sha256": b""}], ids=str
)
def test_the_stamp_of_files_differs_after_a_change(tmp_path: Path, change: Tree) -> None:
    before = signature_of_files(write(tmp_path, FILES))
    assert signature_of_files(write(tmp_path, change)) != before


def test_the_stamp_sees_a_file_that_was_replaced_by_one_of_its_size_and_time(
    tmp_path: Path,
) -> None:
    before = signature_of_files(write(tmp_path, FILES))
    file = tmp_path / "model.onnx"
    seen = file.stat()
    (tmp_path / "new").write_bytes(b"hparg")
    os.utime(tmp_path / "new", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    (tmp_path / "new").rename(file)
    assert signature_of_files(tmp_path) != before


def test_the_stamp_sees_a_file_that_was_taken_away(tmp_path: Path) -> None:
    before = signature_of_files(write(tmp_path, FILES))
    (tmp_path / "model.toml").unlink()
    assert signature_of_files(tmp_path) != before


def test_the_stamp_of_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        signature_of_files(tmp_path / "nowhere")


def nested(folder: Path, depth: int) -> Path:
    """Make folders in folders; a thousand of them would break pytest's own tidying up."""
    folder.joinpath(*["d"] * depth).mkdir(parents=True)
    return folder


def test_folders_that_are_nested_without_end_are_an_error_of_the_file_system(
    tmp_path: Path,
) -> None:
    """A RecursionError would end the look at the whole repository."""
    folder = nested(tmp_path / "1", 65)
    for ask in (digest, signature_of_files):
        with pytest.raises(OSError, match="holds folders more than 64 deep"):
            ask(folder)


def test_files_may_lie_in_64_folders(tmp_path: Path) -> None:
    folder = nested(tmp_path / "1", 64)
    (folder.joinpath(*["d"] * 64) / "w.bin").write_bytes(b"w")
    assert list(names(folder)) == ["d/" * 64 + "w.bin"]


def test_what_was_read_already_counts_as_it_was_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "1", {"a": b"1", "b": b"2"})
    (folder / "linked").symlink_to("a")
    read = {(folder / "a").resolve(): b"x" * 32}
    before = hashes(folder)
    assert hashes(folder, read) == {"a": b"x" * 32, "linked": b"x" * 32, "b": before["b"]}
