"""Loading: what the bodies of repository requests say.

Job    read the body of an `index`, a `load` or an `unload`, or refuse it by its path.
Never  passes on what it has not read; opens no file, so that names are judged where files
       are written.

Source: Triton's model repository extension; the protocol's D1, D4, D5 and R8.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import orjson

from gateway.core.versions import is_model_name
from gateway.errors import Malformed, TooLarge
from gateway.execute.executors import switch_soon
from gateway.wire import jsontext, parameters
from gateway.wire.bulk import as_bytes, without_files
from gateway.wire.jsontext import MISSING, brief, got
from gateway.wire.parameters import Parameters

MOST_BYTES = 24 << 20
_MOST_AT_ONCE_BYTES = 256 << 10  # read in a millisecond

Body = bytes | bytearray

_NAMES = "1 to 256 characters other than / and \\ and control characters, and not '.' or 'stats'"


def check_name(model: str) -> None:
    """Refuse what no model can be called. Raises: Malformed."""
    if not model:
        raise Malformed("Model name cannot be empty")
    if not is_model_name(model):
        raise Malformed(
            "model name must not contain path traversal characters: expected "
            f"{_NAMES}, got '{brief(model)}'"
        )


def read_index(body: Body, max_depth: int) -> bytes:
    """Return the parameters of an `index`. Raises: Malformed, TooLarge."""
    ready = _object(body, max_depth).get("ready", MISSING)
    if ready is MISSING:
        ready = False
    if not isinstance(ready, bool):
        raise Malformed(
            f"Invalid value for 'ready': expected a boolean ($.ready), got {got(ready)}"
        )
    return orjson.dumps({"ready": ready})


async def read_load_beside(body: Body, max_depth: int) -> bytes:
    """Return what `read_load` returns; a large body is read in a thread. Cancel: safe.

    Raises: Malformed, TooLarge.
    """
    if len(body) <= _MOST_AT_ONCE_BYTES:
        return read_load(body, max_depth)
    switch_soon()
    return await asyncio.to_thread(read_load, body, max_depth)


def read_load(body: Body, max_depth: int) -> bytes:
    """Return what is to be passed on of a `load`: its parameters, or all of a large one.

    For any thread. It holds the others up for a fraction of a millisecond at a time, as long
    as what makes the body large are files in base64. Raises: Malformed, TooLarge.
    """
    _check_size(body)
    rest, files = without_files(body)
    with suppress(Malformed):  # what is wrong is told with its place in the whole
        if files and files.keys() <= set(_read_load(rest, max_depth).values()) and _is_json(rest):
            return as_bytes(body)
    return orjson.dumps({"parameters": _read_load(body, max_depth)})


def _is_json(text: Body) -> bool:
    """Say whether a text that could be read is JSON, without NaN and Infinity for numbers."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


async def parameters_beside(passed_on: bytes) -> Mapping[str, str | memoryview]:
    """Return the parameters of what `read_load` passed on; large ones are read in a thread.

    Shapes: a text, or a view of it where a large file lies, in base64. Cancel: safe.
    """
    if len(passed_on) <= _MOST_AT_ONCE_BYTES:
        return _parameters(passed_on)
    switch_soon()
    return await asyncio.to_thread(_parameters, passed_on)


def _parameters(passed_on: bytes) -> Mapping[str, str | memoryview]:
    rest, files = without_files(passed_on)
    found: dict[str, str] = orjson.loads(rest).get("parameters", {})
    if not files.keys() <= set(found.values()):
        found = orjson.loads(passed_on)["parameters"]
    return {key: files.get(value, value) for key, value in found.items()}


def _read_load(body: Body, max_depth: int) -> Parameters:
    asked = parameters.read(_object(body, max_depth), "$")
    for key, value in asked.items():
        if key != "config" and not key.startswith("file:"):
            raise Malformed(
                f"unrecognized load parameter '{brief(key)}' ($.parameters): expected 'config' "
                "or 'file:<version>/<name>'"
            )
        if not isinstance(value, str):
            raise Malformed(
                f"parameter '{brief(key)}' has invalid type ($.parameters): expected a string, "
                f"got {got(value)}"
            )
    _check_config(asked, max_depth)
    return asked


def read_unload(body: Body, max_depth: int) -> bytes:
    """Return the parameters of an `unload`: none has an effect. Raises: Malformed, TooLarge.

    No model here depends on another, so there are no dependents to unload.
    """
    parameters.flag(parameters.read(_object(body, max_depth), "$"), "unload_dependents", "$")
    return b"{}"


def _check_config(asked: Mapping[str, object], max_depth: int) -> None:
    config = asked.get("config")
    if not isinstance(config, str):
        return
    try:
        value = jsontext.load(config.encode(), max_depth)
    except Malformed as error:
        raise Malformed(f"parameter 'config' ($.parameters.config): {error}") from None
    if not isinstance(value, dict):
        raise Malformed(
            "parameter 'config' ($.parameters.config): expected the JSON text of an object, "
            f"got that of {got(value)}"
        )


def _object(body: Body, max_depth: int) -> dict[str, object]:
    """Return what a body says; none at all says nothing."""
    if not body:
        return {}
    _check_size(body)
    value = jsontext.load(body, max_depth)
    if not isinstance(value, dict):
        raise Malformed(f"request body ($): expected an object, got {got(value)}")
    return value


def _check_size(body: Body) -> None:
    if len(body) > MOST_BYTES:
        raise TooLarge(
            f"request body ($): expected at most {MOST_BYTES} bytes about the repository, "
            f"got {len(body)}: larger files belong into the repository's folder"
        )
