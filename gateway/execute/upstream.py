"""Upstream: the servers that run a version elsewhere, and the words used of them.

Job    carry where they are and how they are talked to; the seam to who talks, and to who
       watches.
Life   made when a version is loaded; frozen.
Never  shows what is in the headers: they may hold a secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import quote

from gateway.errors import ModelFailed
from gateway.execute.v2 import Blob
from gateway.types import Signature

# What a request tells of its endpoint; void: nothing, its caller left, or asked for too much.
Outcome = Literal["success", "failure", "void"]


class Unanswered(ModelFailed):
    """Nothing whole came back; no call of the batch is to blame.

    `is_unheard`: no answer had begun, so that another endpoint may be asked.
    """

    def __init__(self, message: str, *, is_unheard: bool) -> None:
        super().__init__(message, by_a_call=False)
        self.is_unheard = is_unheard


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Asks(Protocol):
    """What sends one request, once, and returns the whole answer.

    Cancel: safe; the connection is closed, so that the server may hear of it.
    Raises: Unanswered.
    """

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], blobs: Sequence[Blob] = ()
    ) -> Reply: ...


class Watches(Protocol):
    """Who says whether an endpoint may be asked, a circuit breaker for one.

    Each request that may be sent is heard of once, when it has ended, whatever became of it, with
    the permit that it was given; None: it may not be sent. Refusals for want of room are void,
    and so is what was cancelled because its callers left.
    """

    def may_send(self, endpoint: str) -> object | None: ...

    def heard(
        self, endpoint: str, permit: object, outcome: Outcome, seconds: float, rows: int
    ) -> None: ...


class Unwatched:
    """Lets everything be sent, and forgets what it hears."""

    def may_send(self, endpoint: str) -> object | None:
        return self

    def heard(
        self, endpoint: str, permit: object, outcome: Outcome, seconds: float, rows: int
    ) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How an endpoint is talked to.

    Units: `connections` per endpoint. `ca_file` None: the system's authorities.
    """

    connections: int = 4
    connect_timeout_s: float = 1.0
    max_answer_bytes: int = 64 << 20
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a version is run: any of `endpoints`, under a name of its own there.

    `version` "": the servers choose. `endpoints` are what a path is put behind.
    """

    endpoints: tuple[str, ...]
    model: str
    version: str
    timeout_s: float = 10.0
    terms: Terms = Terms()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def path(self, rest: str = "") -> str:
        """Return the path of the model, `/infer` or the like behind it."""
        of_version = f"/versions/{quote(self.version, safe='')}" if self.version else ""
        return f"/v2/models/{quote(self.model, safe='')}{of_version}{rest}"


@dataclass(frozen=True, slots=True, eq=False)
class RemoteModel:
    """A version that runs elsewhere: what it takes and gives is declared, and held to."""

    upstream: Upstream
    signature: Signature
