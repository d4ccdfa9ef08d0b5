"""Messages: what a supervisor and a replica say to each other.

Job    the one list of messages, typed on both sides.
Life   a line of JSON each, over the socket pair that a replica is born with.
Never  carries a prediction: the serving path does not pass through here. Holds a reason
       longer than anybody reads, or one that is no text: whatever a stranger or a disk has
       in it, it is cut when the message is made, so that none can be too long to be said.

The supervisor starts a conversation with Hello; the replica answers Started. Then:

    Prepare  -> Prepared    the versions are loaded and warm, or refused, unseen by callers
    Publish  -> Published   from now on callers are answered by this table
             -> Retired     later: versions no longer in it are closed, their rows are final
    Forget   -> Retired     what was prepared, and will never be published, is dropped
    Accept   -> Accepting   take connections from that slot's socket; who ends does not answer
    Release  -> Released    take no more from it; what was taken is served on
             -> Released    unasked, for its own slot: it was told by a signal to end
    Withdraw                fail readiness, ask callers to leave, serve on
    Retire                  accept no more, see everybody off, then end; a successor stands
    Drain                   end within so many seconds
    Report   -> Reported    how the executors of all versions are; nobody waits for it long
             -> Disagreed   unasked: a shadow differs; the worst few alone
    Shares                  give out these parts of the quotas
    Ask      <- Ask         a caller of the data port wants what only the supervisor knows
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator, TypeAdapter

from gateway.control.reports import Report, Reported
from gateway.core.documents import Document
from gateway.repository.proof import Proof
from gateway.repository.reasons import shortened

MOST_REASON_BYTES = 4096
_put = object.__setattr__  # a message is frozen once it is made


def _told(reasons: Mapping[str, str]) -> Mapping[str, str]:
    return {one: shortened(why, MOST_REASON_BYTES) for one, why in reasons.items()}


@dataclass(frozen=True, slots=True)
class Hello:
    """Who the replica is. `settings` is the whole configuration, as JSON."""

    slot: int
    slots: int
    settings: str
    kind: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class Started:
    pid: int
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class Assigned:
    """A version to load, and the telemetry row that is its own until it is retired."""

    proof: Proof
    row: int


@dataclass(frozen=True, slots=True)
class Prepare:
    ticket: int
    versions: tuple[Assigned, ...]
    kind: Literal["prepare"] = "prepare"


@dataclass(frozen=True, slots=True)
class Prepared:
    """`refused` are reasons by digest; what is not in it is loaded and warm."""

    ticket: int
    refused: Mapping[str, str] = field(default_factory=dict)
    kind: Literal["prepared"] = "prepared"

    def __post_init__(self) -> None:
        _put(self, "refused", _told(self.refused))


@dataclass(frozen=True, slots=True)
class Entry:
    """One known model.

    `default` answers where a request names no version; None: nothing does. `served` are
    digests by version, ascending. `unready` are reasons by version, for what is known
    and cannot be asked: its callers hear `not_ready`. `document` says how calls are shared
    that name no version; None: there is none, and `default` answers. `rows` are the telemetry
    rows of its variants and shadows, by name.
    """

    default: str | None
    served: Mapping[str, str] = field(default_factory=dict)
    unready: Mapping[str, str] = field(default_factory=dict)
    document: Document | None = None
    rows: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _put(self, "unready", _told(self.unready))


@dataclass(frozen=True, slots=True)
class Table:
    """Everything that callers may ask for; replaced whole."""

    revision: int
    models: Mapping[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forget:
    """These rows are in no table; the replica prepared them before, or never heard of them."""

    rows: tuple[int, ...]
    kind: Literal["forget"] = "forget"


@dataclass(frozen=True, slots=True)
class Publish:
    table: Table
    kind: Literal["publish"] = "publish"


@dataclass(frozen=True, slots=True)
class Published:
    revision: int
    kind: Literal["published"] = "published"


@dataclass(frozen=True, slots=True)
class Retired:
    """These rows will not be written again by this replica."""

    rows: tuple[int, ...]
    kind: Literal["retired"] = "retired"


@dataclass(frozen=True, slots=True)
class Accept:
    slot: int
    kind: Literal["accept"] = "accept"


@dataclass(frozen=True, slots=True)
class Accepting:
    """`accepts` False: it cannot, for want of descriptors say."""

    slot: int
    accepts: bool = True
    kind: Literal["accepting"] = "accepting"


@dataclass(frozen=True, slots=True)
class Release:
    slot: int
    kind: Literal["release"] = "release"


@dataclass(frozen=True, slots=True)
class Released:
    slot: int
    kind: Literal["released"] = "released"


@dataclass(frozen=True, slots=True)
class Withdraw:
    kind: Literal["withdraw"] = "withdraw"


@dataclass(frozen=True, slots=True)
class Retire:
    within_s: float
    kind: Literal["retire"] = "retire"


@dataclass(frozen=True, slots=True)
class Drain:
    within_s: float
    kind: Literal["drain"] = "drain"


@dataclass(frozen=True, slots=True)
class Ask:
    """A question of the data port; answered by one Reply with the same ticket.

    `parameters` is the JSON body of a `load`, `unload` or `index`, already checked. One that
    brings files is no part of its line: so many bytes follow it as they are (`follow_bytes`;
    the channel's business).
    """

    ticket: int
    about: Literal["statistics", "index", "load", "unload"]
    model: str | None = None
    version: str | None = None
    parameters: bytes = b"{}"
    follow_bytes: int = 0
    kind: Literal["ask"] = "ask"


@dataclass(frozen=True, slots=True)
class Reply:
    """`body` is JSON text. `code` is None, or the stable code of a refusal, `body` its text."""

    ticket: int
    body: str
    code: str | None = None
    kind: Literal["reply"] = "reply"

    def __post_init__(self) -> None:
        if self.code is not None:
            _put(self, "body", shortened(self.body, MOST_REASON_BYTES))


@dataclass(frozen=True, slots=True)
class Shares:
    """Which part of each quota this replica gives out from now on.

    Shapes: by name, the place where it is counted, if it has one, and millionths.
    """

    parts: Mapping[str, tuple[int | None, int]]
    kind: Literal["shares"] = "shares"


Element = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Disagreed:
    """A row of which a shadow said something quite else than the caller was told.

    Shapes: rows are flat, and cut. Units: `at` is in seconds since 1970. `distance` None: there
    is no such number, or it is beyond all of them.
    """

    model: str
    revision: int
    shadow: str
    output: str
    distance: float | None
    asked: Mapping[str, tuple[Element, ...]]  # by input
    told: tuple[Element, ...]
    said: tuple[Element, ...]  # by the shadow
    at: float
    kind: Literal["disagreed"] = "disagreed"


ToReplica = (
    Hello
    | Prepare
    | Forget
    | Publish
    | Accept
    | Release
    | Withdraw
    | Retire
    | Drain
    | Reply
    | Shares
    | Report
)
ToSupervisor = (
    Started | Prepared | Published | Retired | Accepting | Released | Ask | Disagreed | Reported
)

# What answers nothing that the supervisor said, or nothing that a replica's life hangs on.
Unasked = Retired | Released | Ask | Disagreed | Reported

# Without a kind there is no message: a default would make one of `{}`.
TO_REPLICA: TypeAdapter[ToReplica] = TypeAdapter(Annotated[ToReplica, Discriminator("kind")])
TO_SUPERVISOR: TypeAdapter[ToSupervisor] = TypeAdapter(
    Annotated[ToSupervisor, Discriminator("kind")]
)
