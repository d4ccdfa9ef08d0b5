"""Parameters: the `parameters` object of a request, of an input, of an output.

Job    check names and kinds, and read those that mean something to us.
Never  minds an unknown key, or serves in silence what it cannot do (sequences).
"""

from gateway.errors import Malformed
from gateway.wire.jsontext import MISSING, brief, got

Parameters = dict[str, str | int | float | bool]

_SCALARS = frozenset({str, int, float, bool})
_MAX_COUNT = 2**64 - 1
_NO_SEQUENCE = ((int, 0), (str, ""))


def read(owner: dict[str, object], path: str) -> Parameters:
    """Return the parameters of what lies at `path`; {} if it has none.

    Raises: Malformed, for a reserved name or a value that is no scalar.
    """
    parameters = owner.get("parameters", MISSING)
    if parameters is MISSING:
        return {}
    if not isinstance(parameters, dict):
        raise Malformed(f"{path}.parameters: expected an object, got {got(parameters)}")
    for key, value in parameters.items():
        if key.startswith("triton_"):
            raise Malformed(
                f"{path}.parameters: expected names of your own, got '{brief(key)}': parameter "
                "keys starting with 'triton_' are reserved for Triton usage"
            )
        if type(value) not in _SCALARS:
            raise Malformed(
                f"parameter '{brief(key)}' has invalid type ({path}.parameters): "
                f"expected a string, a number or a boolean, got {got(value)}"
            )
    return parameters


def count(parameters: Parameters, key: str, path: str) -> int | None:
    """Return a whole number, None if it is not given. Raises: Malformed."""
    value = parameters.get(key)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= _MAX_COUNT:
        raise Malformed(
            f"parameter '{key}' has invalid type or value ({path}.parameters.{key}): "
            f"expected a whole number, got {got(value)}"
        )
    return value


def flag(parameters: Parameters, key: str, path: str) -> bool:
    """Return a boolean, False if it is not given. Raises: Malformed."""
    value = parameters.get(key, False)
    if not isinstance(value, bool):
        raise Malformed(
            f"parameter '{key}' has invalid type ({path}.parameters.{key}): "
            f"expected true or false, got {got(value)}"
        )
    return value


def refuse_sequence(parameters: Parameters) -> None:
    """Refuse a caller who counts on state between requests. Raises: Malformed."""
    asked = [key for key in ("sequence_start", "sequence_end") if flag(parameters, key, "$")]
    sequence = parameters.get("sequence_id", 0)
    if (type(sequence), sequence) not in _NO_SEQUENCE:
        asked.append("sequence_id")
    if asked:
        raise Malformed(
            f"sequences are not supported ($.parameters.{asked[0]}): every request stands "
            f"alone: expected no sequence, got {got(parameters[asked[0]])}"
        )


def refuse_shared_memory(parameters: Parameters, path: str) -> None:
    """Refuse a tensor that lies in memory of the caller's. Raises: Malformed."""
    if "shared_memory_region" in parameters:
        raise Malformed(
            f"shared memory is not supported: {path}.parameters: expected 'data' or "
            "'binary_data_size' for an input, 'binary_data' for an output, "
            "got 'shared_memory_region'"
        )
