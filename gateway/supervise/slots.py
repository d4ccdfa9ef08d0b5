"""Slots: the data port's listening sockets, one for each replica's place.

Job    bind all of them to one address before anything is loaded: a taken port is known
       at once.
Life   they outlive every replica; the supervisor holds them until it ends.
Never  accepts a connection: replicas do.

With SO_REUSEPORT each socket has a queue of its own, and the kernel deals connections
out by their hash, where one shared socket would give most of them to the replica that
slept last. The price: a queue that nobody reads strands its connections, so a slot whose
replica is away is covered (core/covering.py). The same option would let a second gateway
of this user share the port unnoticed; so the address is first bound without it.
"""

import socket
from collections.abc import Sequence
from contextlib import ExitStack

BACKLOG = 2048


def bind_slots(host: str, port: int, count: int) -> tuple[socket.socket, ...]:
    """Return `count` sockets bound to one address, not listening yet.

    Raises: OSError where the address cannot be had.
    """
    with ExitStack() as bound:
        first = bound.enter_context(_bound(host, port, shares=False))
        if count == 1:
            bound.pop_all()
            return (first,)
        address = first.getsockname()[:2]
        first.close()
        slots = tuple(bound.enter_context(_bound(*address, shares=True)) for _ in range(count))
        bound.pop_all()
        return slots


def listen(slots: Sequence[socket.socket]) -> None:
    """Let connections queue at every slot."""
    for slot in slots:
        slot.listen(BACKLOG)


def _bound(host: str, port: int, *, shares: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    slot = socket.socket(family)
    try:
        slot.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares:
            slot.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        slot.bind((host, port))
    except OSError as error:  # which one it was, only we know
        slot.close()
        what = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise OSError(error.errno, what) from error
    return slot
