"""Remoting: a version that runs elsewhere, with its executor and its batchers.

Job    introduce the servers that run a version to what gives them batches.
Life   as opened.py's.
Never  has more batches under way at an endpoint than its version says.
"""

from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from gateway.app.opened import Opened, admission_of, batcher_of, policy_of
from gateway.batch.batcher import Busy
from gateway.batch.turns import Turns
from gateway.config import Config
from gateway.execute.remote import open_remote
from gateway.execute.upstream import RemoteModel
from gateway.observe.record import Record
from gateway.repository.load import version_of
from gateway.repository.proof import Proof


async def open_elsewhere(
    proof: Proof, model: RemoteModel, config: Config, record: Record, busy: Busy
) -> Opened:
    """Make a version's executor and batcher. Raises: OSError for its authorities."""
    stack = AsyncExitStack()
    remote = await stack.enter_async_context(open_remote(model, proof.cost.of, record.retried))
    most = model.upstream.terms.connections * len(model.upstream.endpoints)
    turns = Turns(most)
    policy = replace(policy_of(proof.found.settings, proof.placement, config), max_running=most)
    admission = admission_of(proof.cost, policy, config)
    make = partial(batcher_of, turns.counted(remote.run), policy, busy, turns, admission)
    return Opened(version_of(proof), make, record, stack, remote.execute)
