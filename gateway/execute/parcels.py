"""Parcels: a batch, its answer, or a text, as bytes that two processes see.

Job    lay tensors into shared memory, and read them where they lie.
Life   pure but for that memory. One side writes while the other waits.
Never  pickles; believes the other side: its process may have been written all over by a model.

    0      what is asked: kind, number, place and length of what belongs to it
    64     what is answered: the same, and three times
    128    the parcel of the question, then that of the answer, so that an output that is an
           input still has it while it is written

A parcel of tensors begins with an index, in words of eight bytes: of each its place, its
length in bytes and its rank, then its dims. Each tensor begins at a multiple of 64 bytes. The
datatypes are known to both sides. A BYTES tensor is the lengths of its elements in UTF-8, a
word each, then all of them.
"""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, chain, pairwise
from math import prod
from struct import Struct, pack_into, unpack_from

import numpy as np

from gateway.core.datatypes import DATATYPES
from gateway.execute.shared import Shared
from gateway.types import Array, Call, Payload, Shape, Signature, TensorSpec

_ALIGNED = 64
_BODY = 128
_WORD = 8
_MOST_RANK = 64
_TOGETHER_BYTES = 1 << 16  # pieces are joined before they are copied, if all are no more
# Any string of Python's comes out as it went in, whether or not it can be encoded.
_ERRORS = "surrogatepass"

_head = Struct("<8Q")


class Kind(IntEnum):
    """What the two say to each other."""

    OPEN = 1  # a text: what to load
    RUN = 2  # tensors
    END = 3
    READY = 4
    REFUSED = 5  # a text: why it is not loaded
    DONE = 6  # tensors
    FAILED = 7  # a text: what the model said


@dataclass(frozen=True, slots=True)
class Head:
    """The first words of a parcel. Units: `times_ns` are to join, to run and to check, and the
    process's own processor time.
    """

    kind: int
    number: int
    start: int = _BODY
    stop: int = _BODY
    times_ns: tuple[int, int, int, int] = (0, 0, 0, 0)


_Piece = bytes | bytearray | memoryview
_Tensor = tuple[Sequence[_Piece], int, Shape]  # pieces, their bytes, dims


def write_question(shared: Shared, head: Head) -> None:
    """Write what is asked, behind what belongs to it."""
    _head.pack_into(shared.view, 0, head.kind, head.number, head.start, head.stop, 0, 0, 0, 0)


def write_answer(shared: Shared, head: Head) -> None:
    """Write what is answered, behind what belongs to it."""
    _head.pack_into(
        shared.view, _ALIGNED, head.kind, head.number, head.start, head.stop, *head.times_ns
    )


def read_question(shared: Shared) -> Head:
    kind, number, start, stop, *_ = _head.unpack_from(shared.view, 0)
    return Head(kind, number, start, stop)


def read_answer(shared: Shared) -> Head:
    kind, number, start, stop, *times = _head.unpack_from(shared.view, _ALIGNED)
    return Head(kind, number, start, stop, tuple(times))


def put_text(shared: Shared, text: bytes, start: int = _BODY) -> int:
    """Lay down a text; return where it ends. Raises: OSError."""
    stop = start + len(text)
    shared.hold(stop)[start:stop] = text
    return stop


def text_of(shared: Shared, head: Head) -> bytes:
    """Read a text. Raises: ValueError."""
    return shared.find(head.stop)[head.start : head.stop]


def put_calls(shared: Shared, calls: Sequence[Call], signature: Signature) -> int:
    """Lay down the calls' rows, joined, in the order of the signature; return where they end.

    Shapes: as `core.stacking.stack` would make them. Raises: OSError.
    """
    shapes = calls[0].shapes
    rows: Shape = (sum([call.rows for call in calls]),) if signature.max_batch_rows else ()
    tensors = []
    for at, spec in enumerate(signature.inputs):
        payloads = [call.payloads[at] for call in calls]
        tensors.append(_joined(payloads, spec, rows + shapes[at]))
    return _put(shared, tensors, _BODY)


def put_arrays(
    shared: Shared, arrays: Sequence[Array], specs: Sequence[TensorSpec], start: int
) -> int:
    """Lay down arrays from `start` on; return where they end. Raises: OSError."""
    tensors: list[_Tensor] = []
    for array, spec in zip(arrays, specs, strict=True):
        if not DATATYPES[spec.datatype].size_bytes:
            pieces, size_bytes = _strings(array.reshape(-1).tolist())
            tensors.append((pieces, size_bytes, array.shape))
        else:
            plain = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            tensors.append(((plain.data,), plain.nbytes, array.shape))
    return _put(shared, tensors, start)


def arrays_of(shared: Shared, head: Head, specs: Sequence[TensorSpec]) -> list[Array]:
    """Read tensors where they lie: as arrays over the memory, unless they are strings.

    Raises: ValueError where they are none of these `specs`.
    """
    view = shared.find(head.stop)
    place, found = head.start, []
    for spec in specs:
        start, size_bytes, rank = _words(view, place, 3)
        if rank > _MOST_RANK or start + size_bytes > head.stop:
            raise ValueError(f"'{spec.name}' has {rank} dims and {size_bytes} bytes at {start}")
        dims = _words(view, place + 3 * _WORD, rank)
        place += (3 + rank) * _WORD
        found.append(_array(view, start, size_bytes, dims, spec))
    return found


def _array(
    view: mmap.mmap, start: int, size_bytes: int, dims: tuple[int, ...], spec: TensorSpec
) -> Array:
    kind = DATATYPES[spec.datatype]
    count = prod(dims)
    if not kind.size_bytes:
        return _texts(view, start, size_bytes, count).reshape(dims)
    if count * kind.size_bytes != size_bytes:
        raise ValueError(f"'{spec.name}' is {list(dims)} and has {size_bytes} bytes")
    return np.frombuffer(view, kind.numpy, count, start).reshape(dims)


def _joined(payloads: Sequence[Payload], spec: TensorSpec, dims: Shape) -> _Tensor:
    kind = DATATYPES[spec.datatype]
    if not kind.size_bytes:
        pieces, size_bytes = _strings(list(chain.from_iterable(payloads)))  # type: ignore[arg-type]  # strings: the datatype says so
        return pieces, size_bytes, dims
    size_bytes = prod(dims) * kind.size_bytes
    if len(payloads) > 1 and size_bytes <= _TOGETHER_BYTES:
        return (b"".join(payloads),), size_bytes, dims  # type: ignore[arg-type]  # bytes-like: the datatype says so
    return payloads, size_bytes, dims  # type: ignore[return-value]  # as above


def _put(shared: Shared, tensors: Sequence[_Tensor], start: int) -> int:
    """Lay down an index and the tensors behind it; return where they end."""
    index: list[int] = []
    stop = start + sum([(3 + len(dims)) * _WORD for _, _, dims in tensors])
    for _, size_bytes, dims in tensors:
        begin = _aligned(stop)
        stop = begin + size_bytes
        index += (begin, size_bytes, len(dims), *dims)
    view = shared.hold(stop)
    pack_into(f"<{len(index)}Q", view, start, *index)
    place = 0
    for pieces, _, dims in tensors:
        begin = index[place]
        for piece in pieces:
            end = begin + len(piece)
            view[begin:end] = piece
            begin = end
        place += 3 + len(dims)
    return stop


def _strings(strings: Sequence[str]) -> tuple[Sequence[_Piece], int]:
    encoded = [one.encode("utf-8", _ERRORS) for one in strings]
    lengths = np.array([len(one) for one in encoded], "<u8").tobytes()
    text = b"".join(encoded)
    return (lengths, text), len(lengths) + len(text)


def _texts(view: mmap.mmap, start: int, size_bytes: int, count: int) -> Array:
    if count * _WORD > size_bytes:
        raise ValueError(f"{count} strings in {size_bytes} bytes")
    lengths = _words(view, start, count)
    text = view[start + count * _WORD : start + size_bytes]
    if sum(lengths) != len(text):
        raise ValueError(f"{count} strings of {sum(lengths)} bytes in {len(text)}")
    found = np.empty(count, dtype=object)
    bounds = pairwise(accumulate(lengths, initial=0))
    found[:] = [text[begin:end].decode("utf-8", _ERRORS) for begin, end in bounds]
    return found


def _words(view: mmap.mmap, start: int, count: int) -> tuple[int, ...]:
    """Read whole numbers. Raises: ValueError beyond the end."""
    if start + count * _WORD > len(view):
        raise ValueError(f"{count} words at {start} of {len(view)} bytes")
    return unpack_from(f"<{count}Q", view, start)


def _aligned(place: int) -> int:
    return -(-place // _ALIGNED) * _ALIGNED
