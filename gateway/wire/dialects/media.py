"""Media: content types that say what a body is.

Job    tell a binary V2 body, and CSV, from JSON.
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
_CSV = frozenset({b"text/csv"})


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
    if not _is_utf_8(media, _JSON):
        raise Refused(
            415,
            "header content-type: expected application/json or, for MLflow, text/csv in utf-8, or "
            f"{SAGEMAKER.decode()};json-header-size=N, got {quoted(media)}",
            code="unsupported_media_type",
        )


def is_csv(media: bytes) -> bool:
    """Say whether a content type means CSV in UTF-8."""
    return _is_utf_8(media, _CSV)


def _is_utf_8(media: bytes, kinds: frozenset[bytes]) -> bool:
    """Say whether a type is one of `kinds`, and no parameter says anything but UTF-8."""
    kind, *parameters = (part.strip() for part in media.lower().split(b";"))
    charsets = [one.removeprefix(b"charset=").strip(b'"') for one in parameters if one]
    return kind in kinds and all(one == b"utf-8" for one in charsets)
