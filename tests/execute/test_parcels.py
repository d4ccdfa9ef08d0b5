"""Parcels: what is laid into shared memory comes out as it was, or not at all."""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.core.datatypes import DATATYPES
from gateway.core.stacking import stack
from gateway.execute import parcels
from gateway.execute.parcels import Head, Kind
from gateway.execute.shared import Shared
from gateway.types import Arm, Array, Call, Payload, Shape, Signature, TensorSpec, Version
from tests.fakes import deaf

NUMERIC = [name for name, kind in DATATYPES.items() if kind.size_bytes]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)  # surrogates too


@contextmanager
def two_sides() -> Iterator[tuple[Shared, Shared]]:
    ours = Shared.create(4096)
    theirs = Shared(os.dup(ours.fd))
    try:
        yield ours, theirs
    finally:
        ours.close()
        theirs.close()


@st.composite
def tensors(draw: st.DrawFn, rows: int | None = None) -> tuple[TensorSpec, Array]:
    """Draw a tensor of any datatype and shape; with `rows`, that is its first axis."""
    datatype = draw(st.sampled_from(list(DATATYPES)))
    shape: Shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    if rows is not None:
        shape = (rows, *shape)
    kind = DATATYPES[datatype]
    spec = TensorSpec(draw(st.text(max_size=3)), datatype, (-1,) * len(shape))
    if kind.size_bytes:
        raw = draw(hnp.arrays(np.uint8, (int(np.prod(shape)) * kind.size_bytes,)))
        if datatype == "BOOL":
            raw &= 1
        return spec, raw.view(kind.numpy).reshape(shape)
    count = int(np.prod(shape))
    found = np.empty(count, dtype=object)
    found[:] = draw(st.lists(ANY_TEXT, min_size=count, max_size=count))
    return spec, found.reshape(shape)


def are_equal(one: Array, other: Array) -> bool:
    """Compare bits: a NaN is itself."""
    if one.dtype == object:
        return one.shape == other.shape and one.tolist() == other.tolist()
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@given(st.lists(tensors(), max_size=4), st.integers(128, 1000))
def test_arrays_come_out_as_they_went_in(drawn: list[tuple[TensorSpec, Array]], at: int) -> None:
    specs, arrays = [spec for spec, _ in drawn], [array for _, array in drawn]
    with two_sides() as (ours, theirs):
        stop = parcels.put_arrays(theirs, arrays, specs, at)
        parcels.write_answer(theirs, Head(Kind.DONE, 7, at, stop, (1, 2, 3, 4)))
        head = parcels.read_answer(ours)
        assert head == Head(Kind.DONE, 7, at, stop, (1, 2, 3, 4))
        found = parcels.arrays_of(ours, head, specs)
        assert len(found) == len(arrays)
        assert all(map(are_equal, arrays, found))
        lying = [array for array in found if array.dtype != object and array.size]
        assert all(array.ctypes.data % 64 == 0 for array in lying)


def payload_of(array: Array) -> Payload:
    return array.reshape(-1).tolist() if array.dtype == object else array.tobytes()


def calls_of(columns: Sequence[Sequence[Array]], version: Version) -> list[Call]:
    """Make a call of each row of arrays, one an input."""
    return [
        Call(
            Arm(version),
            tuple(map(payload_of, arrays)),
            len(arrays[0]),
            tuple(array.shape[1:] for array in arrays),
            deaf,
        )
        for arrays in columns
    ]


@st.composite
def batches(draw: st.DrawFn) -> list[Call]:
    """Draw calls of one shape class, of a version with any inputs."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    drawn = draw(st.lists(tensors(rows=sum(sizes)), min_size=1, max_size=3))
    signature = Signature(tuple(spec for spec, _ in drawn), (), 100)
    bounds = np.cumsum(sizes)[:-1]
    columns = zip(*(np.split(array, bounds) for _, array in drawn), strict=True)
    return calls_of([list(column) for column in columns], Version("m", "1", signature))


@given(batches())
def test_a_batch_is_laid_down_as_it_would_be_stacked(calls: list[Call]) -> None:
    signature = calls[0].arm.version.signature
    with two_sides() as (ours, theirs):
        stop = parcels.put_calls(ours, calls, signature)
        parcels.write_question(ours, Head(Kind.RUN, 3, stop=stop))
        head = parcels.read_question(theirs)
        assert (head.kind, head.number) == (Kind.RUN, 3)
        found = parcels.arrays_of(theirs, head, signature.inputs)
        assert all(map(are_equal, stack(calls, signature), found))


@given(st.lists(tensors(), min_size=1, max_size=3))
def test_a_call_without_a_batch_axis_is_laid_down_alone(
    drawn: list[tuple[TensorSpec, Array]],
) -> None:
    signature = Signature(tuple(spec for spec, _ in drawn), (), 0)
    payloads = tuple(payload_of(array) for _, array in drawn)
    shapes = tuple(array.shape for _, array in drawn)
    call = Call(Arm(Version("m", "1", signature)), payloads, 1, shapes, deaf)
    with two_sides() as (ours, theirs):
        stop = parcels.put_calls(ours, [call], signature)
        parcels.write_question(ours, Head(Kind.RUN, 3, stop=stop))
        found = parcels.arrays_of(theirs, parcels.read_question(theirs), signature.inputs)
        assert all(are_equal(array, one) for (_, array), one in zip(drawn, found, strict=True))


def a_batch(
    rows: int, calls: int, kind: type[bytes | bytearray | memoryview] = bytes
) -> list[Call]:
    signature = Signature((TensorSpec("x", "FP32", (-1, 4)),), (), 1 << 20)
    arrays = [np.full((rows, 4), number, "<f4") for number in range(calls)]
    made = calls_of([[array] for array in arrays], Version("m", "1", signature))
    for call in made:
        call.payloads = tuple(kind(one) for one in call.payloads)  # type: ignore[arg-type]  # all are bytes
    return made


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize(("rows", "calls"), [(1, 1), (1, 64), (5000, 3)])
def test_large_and_small_pieces_of_any_kind_are_joined(
    kind: type[bytes | bytearray | memoryview], rows: int, calls: int
) -> None:
    batch = a_batch(rows, calls, kind)
    signature = batch[0].arm.version.signature
    with two_sides() as (ours, theirs):
        stop = parcels.put_calls(ours, batch, signature)
        parcels.write_question(ours, Head(Kind.RUN, 3, stop=stop))
        (found,) = parcels.arrays_of(theirs, parcels.read_question(theirs), signature.inputs)
        assert are_equal(stack(batch, signature)[0], found)


def test_an_array_that_does_not_lie_in_one_piece_is_laid_down_all_the_same() -> None:
    spec, array = TensorSpec("x", "INT64", (-1, -1)), np.arange(6, dtype="<i8").reshape(2, 3).T
    with two_sides() as (ours, theirs):
        stop = parcels.put_arrays(theirs, [array], [spec], 128)
        (found,) = parcels.arrays_of(ours, Head(Kind.DONE, 1, 128, stop), [spec])
        assert found.tolist() == array.tolist()


@given(st.binary(max_size=9000), st.integers(128, 500))
def test_a_text_comes_out_as_it_went_in(text: bytes, at: int) -> None:
    with two_sides() as (ours, theirs):
        stop = parcels.put_text(theirs, text, at)
        assert parcels.text_of(ours, Head(Kind.FAILED, 1, at, stop)) == text


# What a model may have written over what it should not.

SPEC = TensorSpec("y", "FP32", (-1, 2))
NAMES = TensorSpec("n", "BYTES", (-1,))


def laid(words: Sequence[int], spec: TensorSpec, stop: int = 4096) -> Array:
    """Read a tensor by an index of these words."""
    with two_sides() as (ours, _):
        struct.pack_into(f"<{len(words)}Q", ours.view, 128, *words)
        (found,) = parcels.arrays_of(ours, Head(Kind.DONE, 1, 128, stop), [spec])
        return found.copy()


@pytest.mark.parametrize(
    "words",
    [
        (256, 16, 65, *[1] * 65),  # dims without end
        (256, 8192, 2, 1024, 2),  # beyond the end
        (1 << 63, 16, 2, 2, 2),
        (256, 16, 2, 3, 2),  # more elements than bytes
        (256, 16, 2, 1 << 40, 1 << 40),
        (256, 0, 2, 0, 1 << 63),  # nothing, of an impossible shape
    ],
)
def test_a_tensor_that_cannot_be_is_refused(words: Sequence[int]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        laid(words, SPEC)


@pytest.mark.parametrize(
    ("count", "lengths"), [(1 << 40, ()), (3, (1, 2, 1 << 62)), (3, (0, 0, 0)), (1, (5,))]
)
def test_strings_that_cannot_be_are_refused(count: int, lengths: Sequence[int]) -> None:
    with pytest.raises(ValueError, match="strings"):
        laid((160, 40, 1, count, *lengths), NAMES)


def test_strings_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        laid((160, 9, 1, 1, 1, 0xFF), NAMES)


def test_an_index_beyond_the_end_is_refused() -> None:
    with two_sides() as (ours, _), pytest.raises(ValueError, match="words"):
        parcels.arrays_of(ours, Head(Kind.DONE, 1, 4090, 4096), [SPEC])


def test_more_than_there_is_is_refused() -> None:
    with two_sides() as (ours, _):
        for read in (
            lambda head: parcels.text_of(ours, head),
            lambda head: parcels.arrays_of(ours, head, [SPEC]),
        ):
            with pytest.raises(ValueError, match="announced"):
                read(Head(Kind.DONE, 1, 128, 1 << 60))
