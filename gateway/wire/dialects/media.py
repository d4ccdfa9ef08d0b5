"""Media: content types that say what a body is.

Job    tell a binary V2 body from JSON, where a header has no place for its length.
Life   pure functions.
Never  asked in V2 or V1, whose bodies are read whatever they are called.

Source: SageMaker's and Vertex AI's Triton containers, MLflow's scoring server; protocol N3, N4.
"""

import re

from gateway.errors import Malformed
from gateway.wire.failures import Refused
from gateway.wire.paths import quoted

SAGEMAKER = b"application/vnd.sagemaker-triton.binary+json"
VERTEX = b"application/vnd.vertex-ai-triton.binary+json"
_SIZE = b"json-header-size="
_NUMBER = re.compile(rb"[0-9]{1,18}")
_JSON = frozenset({b"application/json", b""})


def json_length(media: bytes, binary: bytes) -> int | None:
    """Return the length of the JSON part that a `binary` content type gives; None: it is another.

    Raises: Malformed, for what is nearly such a type.
    """
    lowered = media.lower().strip()
    if binary not in lowered:
        return None
    rest = lowered.removeprefix(binary).lstrip(b" ;").strip()
    size = rest.removeprefix(_SIZE)
    if not lowered.startswith(binary) or not rest.startswith(_SIZE) or not _NUMBER.fullmatch(size):
        expected = f"{binary.decode()};json-header-size=N"
        raise Malformed(f"header content-type: expected {expected}, got {quoted(media)}")
    return int(size)


def check_json(media: bytes) -> None:
    """Return if a content type means JSON in UTF-8, or says nothing. Raises: Refused 415."""
    kind, *parameters = (part.strip() for part in media.lower().split(b";"))
    charsets = [one.removeprefix(b"charset=").strip(b'"') for one in parameters if one]
    if kind not in _JSON or any(one != b"utf-8" for one in charsets):
        raise Refused(
            415,
            "header content-type: expected application/json in utf-8, or "
            f"{SAGEMAKER.decode()};json-header-size=N, got {quoted(media)}",
            code="unsupported_media_type",
        )
