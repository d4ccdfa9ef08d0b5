"""Load: from a version that was proved to one that is open and warm in this process.

Job    open the model, warm every size of batch that will come, see that it is the one
       that was proved.
Life   in a thread beside the loop that serves: no step holds the interpreter for long.
Never  measures or compares: that was done once, in a child. A version that cannot be
       loaded is a LoadFailed with its file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.core.costs import Cost, Placement
from gateway.core.stacking import bucket
from gateway.execute.executors import switch_soon
from gateway.execute.session import LoadFailed, Session, SessionSettings
from gateway.repository.digest import signature_of_files
from gateway.repository.manifest import identify
from gateway.repository.proof import External, Found, Proof
from gateway.repository.reasons import few
from gateway.repository.settings import ModelSettings
from gateway.repository.weights import weights_of
from gateway.types import Shape, Version


class Timed(Protocol):
    """What can be warmed and measured: a Session."""

    def time_s(self, rows: int) -> float: ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version that can be served."""

    version: Version
    session: Session
    settings: ModelSettings
    cost: Cost
    placement: Placement


def load(proof: Proof) -> Loaded:
    """Open and warm a version, if its files are still those that were proved.

    Raises: LoadFailed.
    """
    session = open_proved(proof)
    return Loaded(version_of(proof), session, proof.found.settings, proof.cost, proof.placement)


def version_of(proof: Proof) -> Version:
    """Return what callers are shown of a version that was proved."""
    found = proof.found
    return Version(
        found.model,
        found.version,
        proof.signature,
        proof.digest,
        proof.platform,
        found.settings.labels,
    )


def open_proved(proof: Proof) -> Session:
    """Open and warm what runs a version; nothing else is made of it. Raises: as `load`."""
    # Not a nicer thread: one that is preempted while it holds the interpreter stalls the loop.
    switch_soon()
    found = proof.found
    try:
        stamp = signature_of_files(found.folder)
        session = open_session(found, proof.trial_shapes, proof.external, proof.digest)
        if session.signature != proof.signature:
            raise LoadFailed(f"{found.onnx}: its tensors are not those that were proved")
        for rows in sizes(proof.placement.max_rows, found.settings.batching.pad_to):
            warm(session, found, rows)
        if signature_of_files(found.folder) != stamp:
            raise LoadFailed(f"{found.folder}: changed while it was loaded")
    except (OSError, ValueError) as error:
        raise LoadFailed("\n".join(few(str(error).splitlines()))) from error
    return session


def open_session(
    found: Found,
    trial_shapes: Mapping[str, Shape],
    external: External,
    digest: str | None,
) -> Session:
    """Open a version's model as its settings declare.

    The files are read before they are opened: with a `digest`, what has another one is
    not opened at all, for nobody has proved it. Of external data, what was read then is
    what is served.

    Raises: LoadFailed, OSError, Unverified.
    """
    with weights_of(found, external) as weights:
        if digest is not None and (got := identify(found, weights.hashes)) != digest:
            raise LoadFailed(
                f"{found.folder}: changed since it was proved: expected digest {digest}, got {got}"
            )
        return Session(weights.onnx, _session_settings(found, trial_shapes), weights.files)


def _session_settings(found: Found, trial_shapes: Mapping[str, Shape]) -> SessionSettings:
    declared = found.settings
    return SessionSettings(
        declared.batching.max_batch_size,
        declared.execution.intra_op_threads,
        declared.execution.inter_op_threads,
        declared.batching.pad_to,
        trial_shapes,
        declared.declared_inputs or (),
        declared.declared_outputs or (),
    )


def sizes(max_rows: int, pad_to: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Return the batches to warm, ascending: every bucket that an execution may fill, or,
    where there are none, every doubling up to the largest.
    """
    filled = [rows for rows in pad_to if rows <= max_rows]
    doublings = [1 << power for power in range(max_rows.bit_length())]
    return tuple(sorted({bucket(rows, pad_to) for rows in (*doublings, *filled, max_rows)}))


def warm(session: Timed, found: Found, rows: int) -> None:
    """Run a batch of `rows` once. Raises: LoadFailed."""
    try:
        session.time_s(rows)
    except Exception as error:
        raise LoadFailed(f"{found.onnx}: a trial run of {rows} rows failed: {error}") from error
