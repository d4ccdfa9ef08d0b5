"""Csvtext: a data frame as MLflow's and SageMaker's clients write it in CSV.

Job    read the text; the first line names the columns, as in MLflow.
Life   pure functions.
Never  guesses types: they are the model's, and what is not of its type stays text, to be
       refused where it is.

Source: RFC 4180; MLflow's scoring server; protocol N4.
"""

import csv
from collections.abc import Callable, Mapping
from io import StringIO

from gateway.core.datatypes import DATATYPES
from gateway.errors import Malformed
from gateway.types import Version

_TRUTH = {"true": True, "false": False}
_FLOATS = ("FP16", "BF16", "FP32", "FP64")


def read_csv(body: bytes | bytearray, version: Version) -> dict[str, object]:
    """Return a CSV text as a split data frame. Raises: Malformed."""
    lines = csv.reader(StringIO(_text(body), newline=""), strict=True)
    try:
        names, *rows = [line for line in lines if line]
    except csv.Error as error:
        raise Malformed(
            f"request body: expected CSV, got {error} in line {lines.line_num}"
        ) from None
    except ValueError:
        raise Malformed("request body: expected CSV, got no line with columns") from None
    types = _types(names, version)
    return {
        "columns": names,
        "data": [
            [_typed(text, kind) for text, kind in zip(row, types, strict=True)]
            if len(row) == len(types)
            else row  # it is refused by its place
            for row in rows
        ],
    }


def _text(body: bytes | bytearray) -> str:
    try:
        return body.decode("utf-8-sig")  # spreadsheets write a mark before it
    except UnicodeDecodeError as error:
        raise Malformed(
            f"request body: expected CSV in UTF-8, got {error.reason} at byte {error.start}"
        ) from None


def _types(names: list[str], version: Version) -> list[str]:
    """Return the datatype of each column: its input's, or the one input's."""
    specs: Mapping[str, str] = {one.name: one.datatype for one in version.signature.inputs}
    if len(specs) == 1:
        return list(specs.values()) * len(names)
    return [specs.get(name, "BYTES") for name in names]


def _typed(text: str, datatype: str) -> object:
    """Return a cell as the datatype wants it, or as it is where it cannot be that."""
    if datatype == "BOOL":
        return _TRUTH.get(text.strip().lower(), text)
    if not DATATYPES[datatype].size_bytes or "_" in text:  # Python would take 1_0 for a number
        return text
    number: Callable[[str], object] = float if datatype in _FLOATS else int
    try:
        return number(text)
    except ValueError:
        return text
