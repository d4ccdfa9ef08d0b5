"""V1: requests in the words of KServe V1 and TensorFlow Serving.

Job    read `instances`, row by row, or `inputs`, column by column.
Life   pure functions.

Source: TensorFlow Serving's REST API, which KServe's V1 is a part of; protocol K1 to K5.
"""

from collections.abc import Mapping

from gateway.errors import Malformed
from gateway.types import Version
from gateway.wire.decode import Reading
from gateway.wire.dialects.columns import Column, check_names, is_string, only_input, reading_of
from gateway.wire.jsontext import got
from gateway.wire.tensors import Limits, named

_SIGNATURE = "serving_default"


def is_by_rows(request: Mapping[str, object]) -> bool:
    """Say whether a request is by rows, or by columns. Raises: Malformed, where it is neither."""
    given = [key for key in ("instances", "inputs") if key in request]
    if len(given) != 1:
        amount = "both" if given else "neither"
        raise Malformed(f"request body ($): expected one of instances and inputs, got {amount}")
    return given == ["instances"]


def read_v1(request: dict[str, object], version: Version, limits: Limits) -> Reading:
    """Return what a request says. Raises: Malformed, InvalidTensor."""
    name = request.get("signature_name", _SIGNATURE)
    if name != _SIGNATURE:
        raise Malformed(f"$.signature_name: expected '{_SIGNATURE}', got {got(name)}")
    columns = (
        read_rows(request["instances"], version, "$.instances")
        if is_by_rows(request)
        else read_columns(request["inputs"], version, "$.inputs")
    )
    return reading_of(columns, version, limits)


def read_rows(instances: object, version: Version, path: str) -> dict[str, Column]:
    """Return the columns that rows are: values of the one input, or objects by input."""
    if not isinstance(instances, list):
        raise Malformed(f"{path}: expected an array of rows, got {got(instances)}")
    if not any(_names_inputs(row, version) for row in instances[:1]):
        return {only_input(version, path).name: Column(path, instances)}
    names = [spec.name for spec in version.signature.inputs]
    for at, row in enumerate(instances):
        if not isinstance(row, dict):
            raise Malformed(f"{path}[{at}]: expected an object with {named(names)}, got {got(row)}")
        check_names(row, version, f"{path}[{at}]")
    return {name: Column(f"{path}[*].{name}", [row[name] for row in instances]) for name in names}


def read_columns(inputs: object, version: Version, path: str) -> dict[str, Column]:
    """Return the columns of an object by input, or of the one input's values."""
    if not isinstance(inputs, dict) or not _names_inputs(inputs, version):
        return {only_input(version, path).name: Column(path, inputs)}
    check_names(inputs, version, path)
    return {name: Column(f"{path}.{name}", values) for name, values in inputs.items()}


def _names_inputs(row: object, version: Version) -> bool:
    """Say whether members are inputs: {"b64": ...} is a string, unless an input is so called."""
    if not isinstance(row, dict):
        return False
    return not is_string(row) or any(spec.name == "b64" for spec in version.signature.inputs)
