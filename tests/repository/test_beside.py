"""Labels and warm-ups: read where they belong, refused by path where they do not."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from gateway.repository.declared import Undeclarable, declared
from gateway.repository.reasons import brief
from gateway.repository.settings import ModelSettings, WarmupInput, WarmupSample
from gateway.repository.triton import read_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "resnet"
    (made / "warmup").mkdir(parents=True)
    (made / "labels.txt").write_text("cat\r\ndog\n\nbird", encoding="utf-8")
    (made / "warmup" / "image").write_bytes(b"\0" * 16)
    (tmp_path / "secret").write_text("x")
    return made


def read(folder: Path, text: str) -> ModelSettings:
    return declared(read_text(text), folder, "pbtxt", "resnet").settings


def fault(folder: Path, text: str) -> tuple[str, str]:
    with pytest.raises(Undeclarable) as caught:
        read(folder, text)
    (told,) = caught.value.faults
    return told


def output(label_filename: str) -> str:
    return f'output {{ name: "y" data_type: TYPE_FP32 dims: 3 label_filename: "{label_filename}" }}'


def warmup(what: str, more: str = "") -> str:
    return f"""max_batch_size: 8 model_warmup {{ name: "w" {more}
      inputs {{ key: "x" value {{ {what} }} }} }}"""


def test_labels_are_lines_by_output(folder: Path) -> None:
    read_settings = read(folder, output("labels.txt"))
    assert read_settings.labels == {"y": ("cat", "dog", "", "bird")}
    assert read_settings.label_files == {"y": "labels.txt"}


def test_an_output_without_labels_has_none(folder: Path) -> None:
    assert read(folder, output("")).labels == {}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("../secret", "leads out of the model's folder"),
        ("/etc/hostname", "leads out of the model's folder"),
        ("link", "leads out of the model's folder"),
        ("gone.txt", "is no file in the model's folder"),
        ("warmup", "is no file in the model's folder"),
        ("l" * 300, "cannot be read: File name too long"),
    ],
)
def test_labels_elsewhere_are_refused(folder: Path, name: str, what: str) -> None:
    (folder / "link").symlink_to("../secret")
    told = ("$.output[0].label_filename", f"{brief(ascii(name))} {what}")
    assert fault(folder, output(name)) == told


@pytest.mark.parametrize("mark", ["\u2028", "\u0085", "\f", "\v", "\x1c"])
def test_only_a_line_feed_ends_a_label(folder: Path, mark: str) -> None:
    """Any other would move all later classes on by one."""
    (folder / "labels.txt").write_bytes(f"black{mark}cat\r\ndog\n".encode())
    assert read(folder, output("labels.txt")).labels == {"y": (f"black{mark}cat", "dog")}


@pytest.mark.parametrize(
    ("content", "labels"), [("", ()), ("\n", ("",)), ("a\n\n", ("a", "")), ("a\r", ("a",))]
)
def test_one_last_line_that_is_empty_is_no_label(
    folder: Path, content: str, labels: tuple[str, ...]
) -> None:
    (folder / "labels.txt").write_bytes(content.encode())
    assert read(folder, output("labels.txt")).labels == {"y": labels}


def test_labels_without_end_are_refused(folder: Path) -> None:
    with (folder / "labels.txt").open("ab") as stream:
        stream.truncate((1 << 20) + 1)
    path, what = fault(folder, output("labels.txt"))
    assert (path, what) == (
        "$.output[0].label_filename",
        "'labels.txt' is larger than 1048576 bytes",
    )


def test_labels_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / "labels.txt").write_bytes(b"\xff")
    _, what = fault(folder, output("labels.txt"))
    assert what == "'labels.txt' is no text in UTF-8"


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ("zero_data: true", WarmupInput("FP32", (2, 2), "zero")),
        ("random_data: true", WarmupInput("FP32", (2, 2), "random")),
        ('input_data_file: "image"', WarmupInput("FP32", (2, 2), "file", "image")),
    ],
)
def test_a_warmup_says_what_its_inputs_hold(folder: Path, fill: str, expected: WarmupInput) -> None:
    text = warmup(f"data_type: TYPE_FP32 dims: [ 2, 2 ] {fill}", "batch_size: 4 count: 7")
    assert read(folder, text).warmup == (WarmupSample("w", 4, {"x": expected}, 7),)


def test_a_warmup_is_one_row_once_unless_it_says_more(folder: Path) -> None:
    (sample,) = read(folder, warmup("data_type: TYPE_STRING dims: 1 zero_data: true")).warmup
    assert (sample.rows, sample.count) == (1, 1)


@pytest.mark.parametrize(
    ("what", "path", "told"),
    [
        ("dims: 2 zero_data: true", "x", "expected data_type, dims of at least 1, and one of"),
        ("data_type: TYPE_FP32 dims: 2", "x", "expected data_type, dims of at least 1, and one of"),
        (
            "data_type: TYPE_FP32 dims: -1 zero_data: true",
            "x",
            "expected data_type, dims of at least 1, and one of",
        ),
        (
            "data_type: TYPE_FP32 dims: [ 9999999999, 9999999999 ] zero_data: true",
            "x",
            "is larger than 67108864 bytes",
        ),
        (
            f"data_type: TYPE_FP32 dims: [ {', '.join(['9'] * 100_000)} ] zero_data: true",
            "x",
            "expected at most 16 dims, got 100000",
        ),
        (
            'data_type: TYPE_FP32 dims: 3 input_data_file: "image"',
            "x.input_data_file",
            "'image' has 16 bytes, expected 12",
        ),
        (
            'data_type: TYPE_STRING dims: 3 input_data_file: "../../secret"',
            "x.input_data_file",
            "'warmup/../../secret' leads out of the model's folder",
        ),
    ],
)
def test_a_warmup_that_cannot_run_is_a_fault(folder: Path, what: str, path: str, told: str) -> None:
    found, words = fault(folder, warmup(what))
    assert found == f"$.model_warmup[0].inputs.{path}"
    assert words.startswith(told)


@pytest.mark.parametrize(
    ("more", "path", "told"),
    [
        ("batch_size: 9", "batch_size", "must be at most max_batch_size (8), got 9"),
        ("count: 10001", "count", "must be at most 10000, got 10001"),
    ],
)
def test_a_warmup_has_its_bounds(folder: Path, more: str, path: str, told: str) -> None:
    text = warmup("data_type: TYPE_FP32 dims: 2 zero_data: true", more)
    assert fault(folder, text) == (f"$.model_warmup[0].{path}", told)


def test_settings_cross_from_process_to_process_as_they_are(folder: Path) -> None:
    """As JSON: the control channel carries nothing else."""
    fill = 'data_type: TYPE_FP32 dims: [ 2, 2 ] input_data_file: "image"'
    sent = read(
        folder, warmup(fill) + output("labels.txt") + "input { name: 'x' data_type: TYPE_BF16 }"
    )
    adapter = TypeAdapter(ModelSettings)
    assert adapter.validate_json(adapter.dump_json(sent)) == sent
