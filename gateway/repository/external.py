"""External: what a model file says of other files, read without its weights.

Job    tell an ONNX file's opsets, its format's version and where its external data lie;
       refuse data that are no part of the version.
Life   once a version, in the child that proves it, before anything else opens the file.
Never  reads weights, recurses, or takes longer than the file is long.

An ONNX file is one protobuf message. Its fields are walked over a memory map: a field
that is a message of interest is put on a stack, any other is stepped over, so that
each header is read once and no depth can hurt. Where external data lie is said in
entries with the key `location`: a message in whose bytes that word does not occur has
no such entry, and is stepped over whole. So a model of a gigabyte is known after one
search for a word, and what was made to be slow meets a bound.

Source: onnx.proto3; the protocol buffers' encoding.
"""

import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gateway.repository.digest import names
from gateway.repository.proof import NOTHING_EXTERNAL, External
from gateway.repository.reading import opened
from gateway.repository.reasons import brief, few

_MOST_FIELDS = 10_000_000
_MOST_DEPTH = 200  # protobuf itself reads 100
_MOST_LOCATION_BYTES = 4096
_WORD = b"location"
_PLAIN_DEPTH = 3  # of the model, its graph and an initializer of that

# The messages that lead to external data, and the numbers of their fields that do.
MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {
        7: "GraphProto",
        8: "OperatorSetIdProto",
        20: "TrainingInfoProto",
        25: "FunctionProto",
    },
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
}
_IR_VERSION = 1
_KEY, _VALUE = 1, 2  # of an entry; of an opset, its domain and its version
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


Field = tuple[int, int, int, int]  # number, wire type, start, stop; a varint starts at its value
Message = tuple[str, Iterator[Field]]


class Garbled(ValueError):
    """The file is no ONNX model; the message says where it stops being one."""


class LiesOutside(ValueError):
    """A model wants data that are no part of its version."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a model file says of itself; the domain "" is ONNX's own."""

    ir_version: int = 0
    opsets: Mapping[str, int] = field(default_factory=dict)
    external: External = NOTHING_EXTERNAL


def inspect(onnx: Path) -> Contents:
    """Read the head of a model file, and where its external data lie.

    Raises: Garbled, OSError.
    """
    with opened(onnx) as stream:
        if not stream.seek(0, 2):
            raise Garbled(f"{onnx}: is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as image:
            try:
                return _Walk(image).contents()
            except Garbled as error:
                raise Garbled(f"{onnx}: is no ONNX model: {error}") from None


def refuse_outside(folder: Path, onnx: Path, locations: Iterable[str]) -> None:
    """Refuse external data of `onnx` that are no files of its version, in `folder`.

    A location begins where the model file lies. A file is the version's if its digest
    covers it: hidden files and linked folders are not, whatever they hold.

    Raises: LiesOutside; OSError.
    """
    faults: list[str] = []
    own = names(folder)
    beside = PurePosixPath(onnx.relative_to(folder)).parent
    for location in dict.fromkeys(locations):
        what = _fault(folder, beside, location, own.keys())
        if what:
            faults.append(f"external data {brief(ascii(location))} {what}")
    if faults:
        raise LiesOutside("; ".join(few(faults)))


def _fault(folder: Path, beside: PurePosixPath, location: str, own: Iterable[str]) -> str | None:
    path = beside / location
    if not location or "\0" in location or any("\ud800" <= c <= "\udfff" for c in location):
        return "is no name of a file"
    if path.is_absolute():
        return "is an absolute path"
    try:
        real, root = (folder / path).resolve(), folder.resolve()
        if not real.is_relative_to(root):
            return "lies outside the version's folder"
        if not real.is_file():
            return "is no file"
    except (OSError, RuntimeError):  # a name too long, a loop of links
        return "cannot be read"
    if str(path) in own or real.relative_to(root).as_posix() in own:
        return None
    return "is hidden: it is no part of the version"


class _Walk:
    """One pass over the fields of a file."""

    def __init__(self, image: mmap.mmap) -> None:
        self._image = image
        self._left = _MOST_FIELDS
        self._ir_version = 0
        self._opsets: dict[str, int] = {}
        self._locations: dict[str, None] = {}
        self._is_nested = False  # something external is no initializer of the graph itself
        self._depth = 0  # of the message whose fields are read
        self._next_word = -1  # where the word occurs, at or after the last place asked for

    def contents(self) -> Contents:
        """Walk the whole file. Raises: Garbled."""
        open_messages = [("ModelProto", self._fields(0, len(self._image)))]
        while open_messages:
            kind, fields = open_messages[-1]
            self._depth = len(open_messages)
            inside = next((one for field in fields if (one := self._enter(kind, *field))), None)
            if inside is None:
                open_messages.pop()
            elif len(open_messages) == _MOST_DEPTH:
                raise Garbled(f"its messages are more than {_MOST_DEPTH} deep")
            else:
                open_messages.append(inside)
        external = External(tuple(self._locations), self._is_nested)
        return Contents(self._ir_version, self._opsets, external)

    def _enter(self, kind: str, number: int, wire: int, start: int, stop: int) -> Message | None:
        """Learn from one field; return it where it is a message to walk through."""
        if kind == "ModelProto" and number == _IR_VERSION and wire == _VARINT:
            self._ir_version = start
        inner = MESSAGES[kind].get(number)
        if inner is None or wire != _BYTES:
            return None
        if inner == "OperatorSetIdProto":
            self._read_opset(start, stop)
        elif inner == "StringStringEntryProto":
            self._read_entry(start, stop)
        elif self._has_word(start, stop):
            return inner, self._fields(start, stop)
        return None

    def _has_word(self, start: int, stop: int) -> bool:
        # Places are asked for in the order of the file, so that one search serves many.
        if self._next_word < start and self._next_word != len(self._image):
            place = self._image.find(_WORD, start)
            self._next_word = place if place >= 0 else len(self._image)
        return self._next_word + len(_WORD) <= stop

    def _fields(self, start: int, stop: int) -> Iterator[Field]:
        """Yield the fields of one message. Raises: Garbled."""
        image = self._image
        while start < stop:
            self._left -= 1
            if not self._left:
                raise Garbled(f"it has more than {_MOST_FIELDS} fields")
            at = start
            tag, start = self._varint(start, stop)
            number, wire = tag >> 3, tag & 7
            if not number:
                raise Garbled(f"byte {at} begins no field")
            if wire == _VARINT:
                value, start = self._varint(start, stop)
                yield number, wire, value, start
                continue
            if wire == _BYTES:
                size, start = self._varint(start, stop)
            elif wire in (_FIXED32, _FIXED64):
                size = 4 if wire == _FIXED32 else 8
            else:
                raise Garbled(f"byte {at} begins no field")
            if start + size > stop:
                raise Garbled(f"the field at byte {at} of {len(image)} ends beyond its message")
            yield number, wire, start, start + size
            start += size

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        """Return (value, where it ends)."""
        value = shift = 0
        image = self._image
        while at < stop and shift < 70:
            byte = image[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at
            shift += 7
        raise Garbled(f"the number before byte {at} does not end")

    def _read_opset(self, start: int, stop: int) -> None:
        domain, version = "", 0
        for number, wire, first, last in self._fields(start, stop):
            if number == _KEY and wire == _BYTES:
                domain = self._text(first, last)
            elif number == _VALUE and wire == _VARINT:
                version = first
        self._opsets["" if domain == "ai.onnx" else domain] = version

    def _read_entry(self, start: int, stop: int) -> None:
        key, value = b"", ""
        for number, wire, first, last in self._fields(start, stop):
            if number == _KEY and wire == _BYTES:
                key = self._image[first:last] if last - first == len(_WORD) else b""
            elif number == _VALUE and wire == _BYTES:
                value = self._text(first, last)
        if key == _WORD:
            self._locations[value] = None
            self._is_nested |= self._depth != _PLAIN_DEPTH

    def _text(self, start: int, stop: int) -> str:
        if stop - start > _MOST_LOCATION_BYTES:
            raise Garbled(f"a name at byte {start} has {stop - start} bytes")
        return self._image[start:stop].decode(errors="surrogateescape")
