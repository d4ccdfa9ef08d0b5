"""Slots: the data port's listening sockets, one for each replica's place.

Job    claim one address and bind all of them to it before anything is loaded: a taken port
       is known at once.
Life   they outlive every replica; the supervisor holds them until it ends.
Never  accepts a connection: replicas do.

With SO_REUSEPORT each socket has a queue of its own, and the kernel deals connections
out by their hash, where one shared socket would give most of them to the replica that
slept last. The price: a queue that nobody reads strands its connections, so a slot whose
replica is away is covered (core/covering.py).

The same option would let a second gateway of this user share the port unnoticed. So the
address is first bound without it, which fails where somebody listens. While a gateway loads
nobody does: then its claim is in the way, a unix socket in the abstract namespace whose name
says host and port. Like ports, such names are per network namespace, and the kernel takes
them back when the process ends, however it ends: no replica inherits the claim. Hosts are
told apart as the kernel writes them: with a wildcard and one of its addresses, whoever loads
second is not stopped by the claim, only by a port that listens.
"""

import socket
from collections.abc import Sequence
from contextlib import ExitStack

BACKLOG = 2048


class Slot(socket.socket):
    """A socket whose end is the end of its claim, if it has one."""

    claim: socket.socket | None = None

    def close(self) -> None:
        super().close()
        if self.claim is not None:
            self.claim.close()


def bind_slots(host: str, port: int, count: int) -> tuple[Slot, ...]:
    """Return `count` sockets bound to one address, not listening yet.

    The address is claimed until the first of them is closed.
    Raises: OSError where the address cannot be had.
    """
    with ExitStack() as bound:
        first = bound.enter_context(_bound(host, port, shares=False))
        address = first.getsockname()[:2]
        claim = bound.enter_context(_claimed(*address))
        slots: tuple[Slot, ...] = (first,)
        if count > 1:
            slots = tuple(bound.enter_context(_bound(*address, shares=True)) for _ in range(count))
            first.close()  # only now: a port that the kernel chose is nobody else's meanwhile
        slots[0].claim = claim
        bound.pop_all()
        return slots


def listen(slots: Sequence[socket.socket]) -> None:
    """Let connections queue at every slot."""
    for slot in slots:
        slot.listen(BACKLOG)


def _bound(host: str, port: int, *, shares: bool) -> Slot:
    slot = Slot(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        slot.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares:
            slot.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        slot.bind((host, port))
    except OSError as error:  # which one it was, only we know
        slot.close()
        raise _refusal(host, port, error) from error
    return slot


def _claimed(host: str, port: int) -> socket.socket:
    """Return what only one gateway can hold at a time."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0onnx-gateway {host} {port}")
    except OSError as error:
        claim.close()
        raise _refusal(host, port, error) from error
    return claim


def _refusal(host: str, port: int, error: OSError) -> OSError:
    what = f"cannot listen on {host}:{port}: {error.strerror or error}"
    return OSError(error.errno, what)
