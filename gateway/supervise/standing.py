"""Standing: which replica stands in which slot, and who accepts for those that are away.

Job    tell replicas to accept from slots, and to leave them, as others come and go.
Life   as long as the fleet, which says who stands.
Never  leaves a slot without an acceptor while anybody stands; waits for an answer.
"""

from collections.abc import Mapping

from gateway.control.messages import Accept, Release
from gateway.core.covering import changes, cover
from gateway.supervise.replica import Replica


class Standing:
    """Mutable state: who stands (`by_slot`) and who covers which slot (`_covering`)."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.by_slot: dict[int, Replica] = {}
        self._covering: dict[int, int] = {}

    def take(self, replica: Replica) -> None:
        """Have a replica stand, who accepts from its own slot already."""
        self.by_slot[replica.slot] = replica
        for slot, who in self._covering.items():
            if who == replica.slot:  # its predecessor did
                replica.send(Accept(slot))
        self._cover()

    def leave(self, replica: Replica) -> bool:
        """Have the slot of one that leaves covered; say whether it stood there."""
        if self.by_slot.get(replica.slot) is not replica:
            return False
        del self.by_slot[replica.slot]
        self._cover()
        return True

    def holds(self, digest: str | None) -> bool:
        """Say whether anybody stands, and of them one who could load this digest."""
        return any(digest not in replica.lacking for replica in self.by_slot.values())

    def lacking(self) -> Mapping[str, str]:
        """Return what is served and some replica cannot load: reasons by digest."""
        return {
            digest: f"replica {replica.slot} cannot load it: {reason}"
            for replica in self.by_slot.values()
            for digest, reason in replica.lacking.items()
        }

    def _cover(self) -> None:
        covering = cover(self.by_slot.keys(), self._slots, self._covering)
        accepts, releases = changes(self._covering, covering, self.by_slot.keys())
        self._covering = covering
        for who, slot in accepts:
            self.by_slot[who].send(Accept(slot))
        for who, slot in releases:
            self.by_slot[who].send(Release(slot))
