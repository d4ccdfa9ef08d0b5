"""Beside: the files of a model that lie beside its versions: labels, and what warms it.

Job    read the labels of classes; check the requests that run before the first caller's.
Life   while a configuration is read.
Never  leaves the model's folder, whatever a name or a link says; never reads without
       a bound.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.core.datatypes import DATATYPES
from gateway.repository.places import inside
from gateway.repository.reading import read
from gateway.repository.reasons import brief
from gateway.repository.settings import WarmupInput, WarmupSample
from gateway.repository.triton import Values

_MOST_LABEL_BYTES = 1 << 20
_MOST_WARMUP_BYTES = 64 << 20
_MOST_WARMUP_RUNS = 10_000
_MOST_AXES = 16  # NumPy knows 32 at least, and a request may have 16
_FILLS = {"zero_data": "zero", "random_data": "random", "input_data_file": "file"}


class Beside:
    """What a configuration says of files in its model's `folder`."""

    def __init__(
        self, folder: Path, values: Values, datatypes: Mapping[str, str], max_batch_size: int
    ) -> None:
        """`datatypes` are the protocol's names by Triton's."""
        self._folder = folder
        self._values = values
        self._datatypes = datatypes
        self._most_rows = max(max_batch_size, 1)
        self.label_files: dict[str, str] = {}  # by output
        self.faults: list[tuple[str, str]] = []

    def labels(self) -> dict[str, tuple[str, ...]]:
        """Return the labels by output; what cannot be read is a fault."""
        labels: dict[str, tuple[str, ...]] = {}
        for index, output in enumerate(self._values.get("output", ())):
            name = output.get("label_filename", "")
            path = f"$.output[{index}].label_filename"
            file = self._file(path, name, _MOST_LABEL_BYTES) if name else None
            if file is None:
                continue
            try:
                text = (read(file, _MOST_LABEL_BYTES) or b"").decode()
            except (OSError, UnicodeDecodeError):
                self.faults.append((path, f"'{brief(name)}' is no text in UTF-8"))
                continue
            self.label_files[output.get("name", "")] = name
            labels[output.get("name", "")] = _lines(text)
        return labels

    def warmup(self) -> tuple[WarmupSample, ...]:
        """Return the requests of the warm-up; what cannot be run is a fault."""
        samples: list[WarmupSample] = []
        for index, one in enumerate(self._values.get("model_warmup", ())):
            path = f"$.model_warmup[{index}]"
            rows, count = one.get("batch_size", 1), one.get("count", 1)
            if rows > self._most_rows:
                what = f"must be at most max_batch_size ({self._most_rows}), got {rows}"
                self.faults.append((f"{path}.batch_size", what))
            if count > _MOST_WARMUP_RUNS:
                what = f"must be at most {_MOST_WARMUP_RUNS}, got {count}"
                self.faults.append((f"{path}.count", what))
            inputs = {
                name: self._input(f"{path}.inputs.{brief(name)}", values, rows)
                for name, values in one.get("inputs", {}).items()
            }
            if not inputs:
                self.faults.append((f"{path}.inputs", "is missing"))
            samples.append(WarmupSample(one.get("name", ""), rows, inputs, count))
        return tuple(samples)

    def _input(self, path: str, values: Mapping[str, Any], rows: int) -> WarmupInput:
        kind = self._datatypes.get(values.get("data_type", "TYPE_INVALID"), "")
        shape = tuple(values.get("dims", ()))
        key = next((key for key in _FILLS if key in values), "")
        if not kind or not key or any(axis < 1 for axis in shape):
            self.faults.append(
                (path, "expected data_type, dims of at least 1, and one of " + ", ".join(_FILLS))
            )
            return WarmupInput(kind, shape)
        if len(shape) > _MOST_AXES:  # their product alone would take for ever
            self.faults.append((path, f"expected at most {_MOST_AXES} dims, got {len(shape)}"))
            return WarmupInput(kind, ())
        size = math.prod(shape) * DATATYPES[kind].size_bytes
        if max(math.prod(shape), size) * rows > _MOST_WARMUP_BYTES:
            self.faults.append((path, f"is larger than {_MOST_WARMUP_BYTES} bytes"))
        if key == "zero_data":
            return WarmupInput(kind, shape, "zero")
        if key == "random_data":
            return WarmupInput(kind, shape, "random")
        name = str(values[key])
        file = self._file(f"{path}.{key}", f"warmup/{name}", _MOST_WARMUP_BYTES)
        if file is not None and size and file.stat().st_size != size:
            what = f"'{brief(name)}' has {file.stat().st_size} bytes, expected {size}"
            self.faults.append((f"{path}.{key}", what))
        return WarmupInput(kind, shape, "file", name)

    def _file(self, path: str, name: str, most_bytes: int) -> Path | None:
        told = brief(ascii(name))
        try:
            file = inside(self._folder, name)
            if file is None:
                self.faults.append((path, f"{told} leads out of the model's folder"))
            elif not file.is_file():
                self.faults.append((path, f"{told} is no file in the model's folder"))
            elif file.stat().st_size > most_bytes:
                self.faults.append((path, f"{told} is larger than {most_bytes} bytes"))
            else:
                return file
        except OSError as error:
            self.faults.append((path, f"{told} cannot be read: {error.strerror}"))
        return None


def _lines(text: str) -> tuple[str, ...]:
    """Return the lines of a text; only a line feed ends one, so that no class moves on."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return tuple(lines if lines[-1] else lines[:-1])
