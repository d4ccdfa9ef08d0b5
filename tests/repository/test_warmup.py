"""Declared warm-up samples, as arrays."""

from pathlib import Path

import numpy as np
import pytest

from gateway.core.datatypes import DATATYPES
from gateway.repository.settings import WarmupInput, WarmupSample
from gateway.repository.warmup import NotWarm, warmup_arrays
from gateway.types import Array, Shape, Signature, TensorSpec


def arrays(
    one: WarmupInput, datatype: str, shape: Shape, beside: Path = Path(), batches: int = 8
) -> list[Array]:
    signature = Signature((TensorSpec("x", datatype, shape),), (), batches)
    return warmup_arrays(WarmupSample("first", 3, {"x": one}), signature, beside)


def test_a_row_is_repeated_over_the_batch() -> None:
    (array,) = arrays(WarmupInput("FP32", (2,), "random"), "FP32", (-1, 2))
    assert (array.shape, array.dtype) == ((3, 2), np.dtype("<f4"))
    assert array[0].tolist() == array[2].tolist()
    assert array.any()


def test_without_batch_axis_a_sample_is_one_whole_request() -> None:
    (array,) = arrays(WarmupInput("FP32", (5, 2)), "FP32", (-1, 2), batches=0)
    assert array.shape == (5, 2)


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("fill", ["zero", "random"])
def test_every_datatype_can_be_filled(datatype: str, fill: str) -> None:
    one = WarmupInput(datatype, (4,), "zero" if fill == "zero" else "random")
    (array,) = arrays(one, datatype, (-1, 4))
    assert array.dtype == DATATYPES[datatype].numpy
    if fill == "zero":
        assert not array.astype(bool).any()


def test_random_is_the_same_each_time() -> None:
    one = WarmupInput("INT64", (100,), "random")
    (first,), (second,) = arrays(one, "INT64", (-1, 100)), arrays(one, "INT64", (-1, 100))
    assert first.tolist() == second.tolist()
    assert set(first.ravel().tolist()) == {0, 1}


def test_a_file_holds_one_row(tmp_path: Path) -> None:
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup" / "row").write_bytes(np.array([1, 2], dtype="<i4").tobytes())
    (array,) = arrays(WarmupInput("INT32", (2,), "file", "row"), "INT32", (-1, 2), tmp_path)
    assert array.tolist() == [[1, 2]] * 3


def lengths(*texts: str) -> bytes:
    return b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in texts)


def test_a_file_of_strings_has_their_lengths_before_them(tmp_path: Path) -> None:
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup" / "row").write_bytes(lengths("é", ""))
    (array,) = arrays(WarmupInput("BYTES", (2,), "file", "row"), "BYTES", (-1, 2), tmp_path)
    assert array.tolist() == [["é", ""]] * 3


@pytest.mark.parametrize("content", [lengths("a"), lengths("a", "b", "c"), lengths("a", "b")[:-1]])
def test_a_file_of_other_strings_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup" / "row").write_bytes(content)
    with pytest.raises(NotWarm, match="expected 2 strings after their lengths"):
        arrays(WarmupInput("BYTES", (2,), "file", "row"), "BYTES", (-1, 2), tmp_path)


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup" / "row").write_bytes(bytes(7))
    with pytest.raises(NotWarm, match="row: expected 8 bytes, got 7"):
        arrays(WarmupInput("INT32", (2,), "file", "row"), "INT32", (-1, 2), tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "missing"])
def test_a_file_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "warmup").mkdir()
    (tmp_path / "secret").write_bytes(bytes(8))
    with pytest.raises(NotWarm, match=f"expected a file in {tmp_path / 'warmup'}, got '{name}'"):
        arrays(WarmupInput("INT32", (2,), "file", name), "INT32", (-1, 2), tmp_path)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (WarmupInput("INT8", (2,)), r"input 'x': expected FP32 \[2\], got INT8 \[2\]"),
        (WarmupInput("FP32", (3,)), r"input 'x': expected FP32 \[2\], got FP32 \[3\]"),
        (WarmupInput("FP32", (1, 2)), r"input 'x': expected FP32 \[2\], got FP32 \[1, 2\]"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(one: WarmupInput, reason: str) -> None:
    with pytest.raises(NotWarm, match=f"warm-up 'first': {reason}"):
        arrays(one, "FP32", (-1, 2))


def test_inputs_are_all_there_and_no_others() -> None:
    signature = Signature((TensorSpec("x", "FP32", (-1,)),), (), 8)
    with pytest.raises(NotWarm, match="input 'x': expected FP32, got no such input"):
        warmup_arrays(WarmupSample("first", 1), signature, Path())
    other = WarmupSample("first", 1, {"z": WarmupInput("FP32", ())})
    with pytest.raises(NotWarm, match="the model has no input 'z'"):
        warmup_arrays(other, signature, Path())


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "warmup").mkdir()
    with (tmp_path / "warmup" / "row").open("wb") as stream:
        stream.truncate((64 << 20) + 1)
    with pytest.raises(NotWarm, match="row: is larger than 67108864 bytes"):
        arrays(WarmupInput("INT32", (2,), "file", "row"), "INT32", (-1, 2), tmp_path)
