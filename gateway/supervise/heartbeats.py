"""Heartbeats: a replica whose event loop does not turn serves nobody.

Job    kill it, so that it is replaced and its slot covered.
Life   one task of the fleet.
Never  judges anybody after a pause of our own: theirs may have been the same.
"""

import asyncio
import time
from collections.abc import Callable, Collection

from gateway.supervise.overseer import Policy
from gateway.supervise.replica import Phase, Replica


async def watch(lives: Collection[Replica], policy_now: Callable[[], Policy]) -> None:
    """Look at every live replica, for ever."""
    before = time.monotonic()
    while True:
        policy = policy_now()
        await asyncio.sleep(policy.watch_every_s)
        now = time.monotonic()
        if now - before < 2 * policy.watch_every_s:
            for replica in tuple(lives):
                judge(replica, policy, time.monotonic_ns())
        before = now


def judge(replica: Replica, policy: Policy, now_ns: int) -> None:
    """Kill a replica that is silent for too long, or never spoke."""
    if replica.phase is Phase.ENDED:
        return
    beat_ns = replica.heartbeat_ns()
    silent_s = (now_ns - (beat_ns or replica.began_ns)) / 1e9
    if not beat_ns and silent_s > policy.start_timeout_s:
        replica.kill(f"it did not start within {policy.start_timeout_s} s", is_silent=True)
    elif beat_ns and silent_s > policy.heartbeat_timeout_s:
        replica.kill(f"its event loop did not turn for {silent_s:.1f} s", is_silent=True)
