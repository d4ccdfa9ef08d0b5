"""Opening: what a replica says to a process that is to run a version.

Job    the one message, typed on both sides; what follows is in execute/parcels.py.
Never  carries a model: both sides read the same folder.
"""

from dataclasses import dataclass

from pydantic import TypeAdapter

from gateway.repository.proof import Proof


@dataclass(frozen=True, slots=True)
class Opening:
    """The version, as it was proved. Limits are in its settings."""

    proof: Proof


OPENING: TypeAdapter[Opening] = TypeAdapter(Opening)
