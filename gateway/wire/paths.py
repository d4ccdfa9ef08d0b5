"""Paths: what a request target names.

Job    cut a target into decoded segments, and recognise inference paths.
Never  decodes twice, redirects, or lets an encoded slash split a segment.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self
from urllib.parse import unquote_to_bytes

from gateway.core.versions import is_model_name
from gateway.wire.failures import Refused

_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)([^#]*)")
# A comma is legal in a name, yet only a joined pair of Host fields is ever seen with one.
_AUTHORITY = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,64}\]|[0-9A-Za-z\-._~%!$&'()*+;=]{1,255})(?::[0-9]{0,5})?"
)
_PREDICT = ":predict"  # the verb belongs to the last segment
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Dialect(Enum):
    """Whose words a request for a prediction is in."""

    V2 = auto()  # Open Inference Protocol
    V1 = auto()  # KServe V1 and TensorFlow Serving
    INVOCATIONS = auto()  # SageMaker and MLflow
    VERTEX = auto()


@dataclass(frozen=True, slots=True)
class InferTarget:
    """The model that an inference path names, and the version as it was written, if any."""

    model: str
    version: str | None
    dialect: Dialect = Dialect.V2


@dataclass(frozen=True, slots=True)
class Routes:
    """Which paths there are beyond those of V2 and V1.

    `default_model` answers where a path names none; without it there are no such paths.
    `predict` and `health` are where Vertex AI asks, as segments.
    """

    default_model: str | None = None
    predict: tuple[str, ...] | None = None
    health: tuple[str, ...] | None = None

    @classmethod
    def told(cls, default_model: str | None, predict: str | None, health: str | None) -> Self:
        """Return the routes that are configured as paths. Raises: Refused, for no path."""
        predict_at, health_at = (
            None if path is None else path_segments(path.encode()) for path in (predict, health)
        )
        return cls(default_model, predict_at, health_at)

    def infer_target(self, segments: tuple[str, ...]) -> InferTarget | None:
        """Return what a POST to this path would infer on, or None: not an inference path."""
        found = infer_target(segments)
        if found is None and self.default_model is not None:
            if segments == self.predict:
                return InferTarget(self.default_model, None, Dialect.VERTEX)
            if segments == ("invocations",):
                return InferTarget(self.default_model, None, Dialect.INVOCATIONS)
        return found


V2_AND_V1 = Routes()


def is_authority(value: bytes) -> bool:
    """Say whether `value` is host[:port]."""
    return _AUTHORITY.fullmatch(value) is not None


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Cut an origin-form or absolute-form target into (raw path, query).

    Raises: Refused, when it has neither form.
    """
    path, _, query = target.partition(b"?")
    if path.startswith(b"/") or target == b"*":
        return path, query
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not is_authority(absolute[1]):
        raise Refused(400, f"request target: expected a path or an http URL, got {quoted(target)}")
    path, _, query = absolute[2].partition(b"?")
    return path or b"/", query


def path_segments(raw_path: bytes) -> tuple[str, ...]:
    """Return the decoded segments of a raw path; none for `/`, one for `/v2/`.

    Any other trailing slash stays as an empty last segment, which no route has.
    Raises: Refused, for a bad escape or bytes that are not UTF-8.
    """
    try:
        if b"%" in raw_path:
            if _BAD_ESCAPE.search(raw_path):
                raise Refused(400, f"request path: bad percent escape in {quoted(raw_path)}")
            parts = raw_path.removeprefix(b"/").split(b"/")
            found = tuple([unquote_to_bytes(part).decode() for part in parts])
        else:
            found = tuple(raw_path.decode().removeprefix("/").split("/"))
    except UnicodeDecodeError:
        raise Refused(400, f"request path: not UTF-8: {quoted(raw_path)}") from None
    if found == ("v2", ""):
        return ("v2",)
    return () if found == ("",) else found


def infer_target(segments: tuple[str, ...]) -> InferTarget | None:
    """Return what a POST to this path would infer on by V2 or V1, or None."""
    version: str | None = None
    dialect = Dialect.V2
    match segments:
        case ("v2", "models", model, "infer"):
            pass
        case ("v2", "models", model, "versions", version, "infer") if version:
            pass
        case ("v1", "models", last) if last.endswith(_PREDICT):
            model, dialect = last.removesuffix(_PREDICT), Dialect.V1
        case ("v1", "models", model, "versions", last) if last.endswith(_PREDICT):
            version, dialect = last.removesuffix(_PREDICT), Dialect.V1
            if not version:
                return None
        case _:
            return None
    return InferTarget(model, version, dialect) if is_model_name(model) else None


def quoted(raw: bytes) -> str:
    """Return the beginning of `raw` as it may stand in an error's text."""
    return ascii(raw[:80].decode("latin-1")) + ("..." if len(raw) > 80 else "")
