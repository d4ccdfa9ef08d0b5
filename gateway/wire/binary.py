"""Binary: the bytes that follow the JSON part of a body.

Job    cut the body, give each input its bytes in turn, prove that they fit its shape.
Never  copies numbers: the payload is a view of the body, so the body must not change.
"""

import struct

from gateway.errors import InvalidTensor, Malformed
from gateway.types import Payload
from gateway.wire.tensors import Tensor

_HEADER = "Inference-Header-Content-Length"
_LENGTH = struct.Struct("<I")  # before each string


class Blobs:
    """What follows the JSON part, taken from the front.

    Units: `json_length` is in bytes; None says that all of the body is JSON.
    """

    def __init__(self, body: bytes | bytearray, json_length: int | None) -> None:
        self._left = memoryview(body)[len(body) if json_length is None else json_length :]
        self._is_declared = json_length is not None

    def take(self, tensor: Tensor, size_bytes: int) -> Payload:
        """Return the elements of `tensor`, which declares `size_bytes` for them.

        Raises: Malformed, InvalidTensor.
        """
        where = f"{tensor.path}.parameters.binary_data_size"
        if not self._is_declared:
            raise Malformed(
                f"{where}: expected the header {_HEADER} with it, got nothing: without it "
                "the whole body is JSON"
            )
        expected = tensor.elements * tensor.kind.size_bytes
        if tensor.kind.size_bytes and size_bytes != expected:
            raise InvalidTensor(
                f"input byte size mismatch for input '{tensor.name}' for model "
                f"'{tensor.model}'. Expected {expected}, got {size_bytes} ({where})"
            )
        blob = self._left[:size_bytes]
        if len(blob) < size_bytes:
            raise Malformed(
                f"unexpected size for input '{tensor.name}', expecting "
                f"{size_bytes - len(blob)} additional bytes ({where}): expected {size_bytes} "
                f"after the JSON part, got {len(blob)}"
            )
        self._left = self._left[size_bytes:]
        return proved(tensor, blob)

    def finish(self, model: str) -> None:
        """Refuse bytes that no input has taken. Raises: Malformed."""
        if self._left:
            raise Malformed(
                f"unexpected additional input data for model '{model}' ($.inputs): expected "
                f"nothing after the last input's bytes, got {len(self._left)} bytes"
            )


def json_part(body: bytes | bytearray, json_length: int | None) -> bytes | bytearray:
    """Return the part of a body that is JSON; a length of 0 is raw.py's. Raises: Malformed."""
    if json_length is None or json_length == len(body) > 0:
        return body
    if not 0 < json_length <= len(body):
        raise Malformed(
            f"{_HEADER}: expected at most the {len(body)} bytes of the body, got {json_length}"
        )
    return body[:json_length]


def proved(tensor: Tensor, blob: memoryview) -> Payload:
    """Return bytes of the right number as elements of `tensor`. Raises: InvalidTensor."""
    if tensor.kind.name == "BYTES":
        return _strings(tensor, bytes(blob))
    if tensor.kind.name == "BOOL" and (strange := bytes(blob).translate(None, b"\0\1")):
        raise InvalidTensor(
            f"{tensor.path}: expected bytes of 0 or 1 {tensor.whose}, got {strange[0]}"
        )
    return blob


def _strings(tensor: Tensor, blob: bytes) -> list[str]:
    strings: list[str] = []
    at, end = 0, len(blob)
    try:
        for _ in range(tensor.elements):
            start = at + _LENGTH.size
            (length,) = _LENGTH.unpack_from(blob, at)
            at = start + length
            if at > end:
                raise _incomplete(tensor, len(strings), at - end)
            strings.append(blob[start:at].decode())
    except struct.error:  # not even a length is left
        if at < end:
            raise _incomplete(tensor, len(strings), at + _LENGTH.size - end) from None
        raise InvalidTensor(
            f"expected {tensor.elements} string elements for inference input '{tensor.name}' "
            f"for model '{tensor.model}', got {len(strings)} ({tensor.path}.shape)"
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidTensor(
            f"{tensor.path}: expected UTF-8 {tensor.whose}, got {error.reason} at byte "
            f"{error.start} of string element {len(strings)}"
        ) from None
    if at < end:
        raise InvalidTensor(
            f"unexpected number of string elements {len(strings) + 1} for inference input "
            f"'{tensor.name}' for model '{tensor.model}', expecting {tensor.elements} "
            f"({tensor.path}.shape)"
        )
    return strings


def _incomplete(tensor: Tensor, index: int, missing_bytes: int) -> InvalidTensor:
    return InvalidTensor(
        f"incomplete string data for inference input '{tensor.name}' "
        f"({tensor.path}.parameters.binary_data_size): expected {missing_bytes} more bytes for "
        f"string element {index}, got the end"
    )
