"""Trial: what a supervisor and the child that proves versions say to each other.

Job    the one list of messages, typed on both sides.
Life   a line of JSON each, over the child's standard input and output.
Never  carries a model: both sides read the same folder.

    Ready            the child runs our code and knows the machine's libraries
    Prove            one version, please
    At    <-         what is being done now; the last one before a death tells where it died
    Proved | Refused the end of one trial
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from gateway.core.costs import Bounds
from gateway.repository.proof import Found, Proof


@dataclass(frozen=True, slots=True)
class Prove:
    """Units: `memory_bytes` is what the model may use beyond what the child uses itself."""

    found: Found
    bounds: Bounds
    platform: str
    memory_bytes: int
    kind: Literal["prove"] = "prove"


@dataclass(frozen=True, slots=True)
class Ready:
    kind: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class At:
    step: str  # "warming 8 rows": what follows the word "while"
    kind: Literal["at"] = "at"


@dataclass(frozen=True, slots=True)
class Proved:
    proof: Proof
    kind: Literal["proved"] = "proved"


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str
    kind: Literal["refused"] = "refused"


FromChild = Ready | At | Proved | Refused

TO_CHILD: TypeAdapter[Prove] = TypeAdapter(Prove)
FROM_CHILD: TypeAdapter[FromChild] = TypeAdapter(FromChild)
