"""Everything that can go wrong, named once. No HTTP here: see wire/failures.py.

GatewayError
+-- Rejected            we will not try; a retry elsewhere is safe
|   +-- Malformed           the request cannot be understood
|   +-- InvalidTensor       a tensor does not fit the model
|   +-- UnknownModel        no such model
|   +-- UnknownVersion      no such version of it
|   +-- TooLarge            over a limit of ours
|   +-- Overloaded          no room for anybody
|   +-- QuotaExceeded       no room for who asks: it had its share
|   +-- BreakerOpen         the version fails too often to be asked
|   +-- NotReady            the model is not loaded yet
|   +-- Draining            this replica is going away
|   +-- Unauthenticated     who asks is not known
|   +-- Forbidden           who asks may not
|   +-- CannotPrepare       a version cannot be loaded; nothing was changed
|   +-- InvalidDocument     a routing document is not one
|   +-- RevisionConflict    somebody else has changed it meanwhile
|   +-- PreconditionRequired    a change must say what it changes
+-- Failed              we tried; the work is lost
    +-- ClientGone          nobody is left to hear the answer
    +-- DeadlineExceeded    the answer would be too late to matter
    +-- ModelFailed         the model broke
"""

from typing import Literal

# What there was no room for, where the caller did nothing wrong.
Shed = Literal[
    "rows", "bytes", "shapes", "limit", "sojourn", "priority", "deadline", "quota", "connections"
]
Stage = Literal["admission", "queue", "execute"]


class GatewayError(Exception):
    """Base. `code` is the stable name that clients and dashboards match on.

    `shed` says of a refusal what there was no room for.
    """

    code = "internal"
    shed: Shed | None = None


class Rejected(GatewayError):
    """Refused before any work was spent on it.

    Units: `retry_after_s` is how long a caller should stay away.
    """

    def __init__(
        self, message: str, *, retry_after_s: float = 1.0, shed: Shed | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.shed = shed


class Failed(GatewayError):
    """Work was spent on it and is lost."""


class Malformed(Rejected):
    code = "malformed"


class InvalidTensor(Rejected):
    code = "invalid_tensor"


class UnknownModel(Rejected):
    code = "unknown_model"


class UnknownVersion(Rejected):
    code = "unknown_version"


class TooLarge(Rejected):
    code = "too_large"


class Overloaded(Rejected):
    code = "overloaded"


class QuotaExceeded(Rejected):
    code = "quota_exceeded"


class BreakerOpen(Rejected):
    code = "breaker_open"


class NotReady(Rejected):
    code = "not_ready"


class Draining(Rejected):
    code = "draining"


class Unauthenticated(Rejected):
    code = "unauthenticated"


class Forbidden(Rejected):
    code = "forbidden"


class CannotPrepare(Rejected):
    code = "cannot_prepare"


class InvalidDocument(Rejected):
    """Shapes: `faults` are (path, sentence), all that there are."""

    code = "invalid_document"

    def __init__(self, message: str, faults: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message)
        self.faults = faults


class RevisionConflict(Rejected):
    """`current` is the revision in force; 0: there is none."""

    code = "revision_conflict"

    def __init__(self, message: str, current: int) -> None:
        super().__init__(message)
        self.current = current


class PreconditionRequired(Rejected):
    code = "precondition_required"


class ClientGone(Failed):
    code = "client_gone"


class DeadlineExceeded(Failed):
    """`stage` is where a call was when it was too late; at admission, it would have been."""

    code = "deadline_exceeded"

    def __init__(self, message: str, stage: Stage | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.shed = "deadline" if stage == "admission" else None


class ModelFailed(Failed):
    """`by_a_call` False: whatever a batch held, it would have failed; no call of it is to blame,
    and none is looked for.
    """

    code = "model_failed"

    def __init__(self, message: str, *, by_a_call: bool = True) -> None:
        super().__init__(message)
        self.by_a_call = by_a_call
