"""Frames: requests in the words of MLflow's scoring server.

Job    read a data frame, split, by records or in CSV, or plain `instances` and `inputs`.
Life   pure functions.

The columns of a frame are the inputs, if they are called so: [n] or [n,1]. Otherwise they
are, side by side, the rows of a model's one matrix.
Source: MLflow's scoring server, 2.0 and later; protocol N4 and N5.
"""

from collections.abc import Mapping, Sequence

from gateway.errors import InvalidTensor, Malformed
from gateway.types import TensorSpec, Version
from gateway.wire.bounds import check_size
from gateway.wire.decode import Reading
from gateway.wire.dialects.columns import Column, only_input, reading_of
from gateway.wire.dialects.csvtext import read_csv
from gateway.wire.dialects.v1 import read_columns, read_rows
from gateway.wire.jsontext import MISSING, got
from gateway.wire.tensors import Limits, named

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def read_frame(request: Mapping[str, object], version: Version, limits: Limits) -> Reading:
    """Return what a request says. Raises: Malformed, InvalidTensor."""
    given = [form for form in FORMS if form in request]
    if len(given) != 1:
        amount = f"{named(given)}" if given else "none of them"
        raise Malformed(f"request body ($): expected one of {named(FORMS)}, got {amount}")
    parameters = request.get("params", {})
    if not isinstance(parameters, dict):
        raise Malformed(f"$.params: expected an object, got {got(parameters)}")
    (form,) = given
    path, value = f"$.{form}", request[form]
    if form == "instances":
        columns = read_rows(value, version, path)
    elif form == "inputs":
        columns = read_columns(value, version, path)
    elif form == "dataframe_split":
        columns = _columns(*_split(value, path), version)
    else:
        columns = _columns(*_records(value, path), version)
    return reading_of(columns, version, limits)


def read_table(body: bytes | bytearray, version: Version, limits: Limits) -> Reading:
    """Return what a request in CSV says. Raises: Malformed, InvalidTensor."""
    check_size(body, version, limits)
    frame = read_csv(body, version)
    return reading_of(_columns(*_split(frame, "csv"), version), version, limits)


def _split(frame: object, path: str) -> tuple[list[str], list[list[object]], str]:
    """Return the names of the columns, the rows, and where the rows are."""
    if not isinstance(frame, dict):
        raise Malformed(f"{path}: expected an object with columns and data, got {got(frame)}")
    names, rows = frame.get("columns", MISSING), frame.get("data", MISSING)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Malformed(f"{path}.columns: expected an array of names, got {got(names)}")
    if len(set(names)) != len(names):
        raise Malformed(f"{path}.columns: expected each name once, got {named(names)}")
    if not isinstance(rows, list):
        raise Malformed(f"{path}.data: expected an array of rows, got {got(rows)}")
    for at, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            amount = f"{len(row)} of them" if isinstance(row, list) else got(row)
            raise Malformed(f"{path}.data[{at}]: expected {len(names)} values, got {amount}")
    return names, rows, f"{path}.data"


def _records(records: object, path: str) -> tuple[list[str], list[list[object]], str]:
    if not isinstance(records, list):
        raise Malformed(f"{path}: expected an array of objects, got {got(records)}")
    names: list[str] = []
    rows: list[list[object]] = []
    for at, record in enumerate(records):
        if not isinstance(record, dict):
            raise Malformed(f"{path}[{at}]: expected an object, got {got(record)}")
        names = names or list(record)
        if record.keys() != set(names):
            raise Malformed(f"{path}[{at}]: expected {named(names)}, got {named(record)}")
        rows.append([record[name] for name in names])
    return names, rows, path


def _columns(
    names: Sequence[str], rows: list[list[object]], path: str, version: Version
) -> dict[str, Column]:
    specs = {spec.name: spec for spec in version.signature.inputs}
    if set(names) == set(specs):
        return {
            name: Column(f"{path}[*].{name}", _column([row[at] for row in rows], specs[name]))
            for at, name in enumerate(names)
        }
    if len(specs) > 1:
        raise InvalidTensor(
            f"{path}: expected the columns {named(specs)} of model '{version.model}', got "
            f"{named(names)}"
        )
    return {only_input(version, path).name: Column(path, rows)}


def _column(values: list[object], spec: TensorSpec) -> list[object]:
    """Return one value a row as the input wants it: alone, or as the one element of its row."""
    is_wrapped = len(spec.shape) == 2 and not any(isinstance(value, list) for value in values)
    return [[value] for value in values] if is_wrapped else values
