"""Remoting: a version that runs elsewhere, with its executor, its breakers and its batchers.

Job    introduce the servers that run a version to what gives them batches, and to what keeps
       batches from them.
Life   as opened.py's.
Never  has more batches under way at an endpoint than its version says.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from gateway.app.opened import Opened, admission_of, batcher_of, policy_of
from gateway.app.policies import breaker_policy, slowness_of
from gateway.batch.batcher import Busy, Finish
from gateway.batch.gate import Gate
from gateway.batch.guard import Guard
from gateway.batch.turns import Turns
from gateway.config import Config
from gateway.core import breaker
from gateway.errors import BreakerOpen
from gateway.execute.remote import open_remote
from gateway.execute.upstream import Outcome, RemoteModel
from gateway.observe.record import Record
from gateway.repository.load import version_of
from gateway.repository.proof import Proof
from gateway.types import Call

_OUTCOMES = {
    "success": breaker.Outcome.SUCCESS,
    "failure": breaker.Outcome.FAILURE,
    "void": breaker.Outcome.VOID,
}


async def open_elsewhere(
    proof: Proof, model: RemoteModel, config: Config, record: Record, busy: Busy
) -> Opened:
    """Make a version's executor and batchers. Raises: OSError for its authorities."""
    stack = AsyncExitStack()
    upstream = model.upstream
    most = upstream.terms.connections * len(upstream.endpoints)
    name = f"{proof.found.model} version {proof.found.version}"
    gate = Gate(name, *breaker_policy(config), record.breaker)
    slowness = slowness_of(config, proof.signature, proof.cost, upstream.terms.connections)
    guards = {
        endpoint: gate.guarded(f"remote/{number}", _never, slowness, upstream.terms.connections)
        for number, endpoint in enumerate(upstream.endpoints)
    }
    remote = await stack.enter_async_context(
        open_remote(model, proof.cost.of, record.retried, Breakers(guards))
    )
    turns = Turns(most)
    policy = replace(policy_of(proof.found.settings, proof.placement, config), max_running=most)
    admission = admission_of(proof.cost, policy, config, gate)
    make = partial(batcher_of, turns.counted(remote.run), policy, busy, turns, admission)
    return Opened(version_of(proof), make, record, stack, remote.execute, gate)


class Breakers:
    """Each endpoint's own breaker permits what is sent to it, and hears what came of it."""

    def __init__(self, guards: dict[str, Guard]) -> None:
        self._guards = guards

    def may_send(self, endpoint: str) -> breaker.Permit | None:
        return self._guards[endpoint].permit()

    def heard(
        self, endpoint: str, permit: object, outcome: Outcome, seconds: float, rows: int
    ) -> None:
        assert isinstance(permit, breaker.Permit)
        self._guards[endpoint].count(permit, _OUTCOMES[outcome], seconds, rows)


def _never(_calls: Sequence[Call], finish: Finish) -> None:
    """Run nothing: batches are given to the executor, which asks for permits itself."""
    finish(BreakerOpen("batches do not pass here"))
