"""Keys: who may do what on the data port.

Job    find the holder of a key, or refuse it.
Life   made from the configuration; a value, the same for every request.
Never  keeps a key: only its SHA-256, which is compared in constant time.

    x-api-key: KEY                    either way
    authorization: Bearer KEY

    predict     ask for predictions: as soon as one key has it, each of them needs a key
    feedback    send true labels
    operate     both, and pin a variant, load and unload

A key is looked at once for each distinct head: the answer is kept with what else was read of
it (wire/heads.py). That gives nothing away. To be found there a request must repeat every byte
of one that was let in, its key too; and where a dictionary keeps its entries depends on a
secret of the process. The bytes of a head lie in memory anyway: they have just been received.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.errors import Forbidden, Unauthenticated
from gateway.wire.meters import NO_METERS, Meter, Meters

PREDICT, FEEDBACK, OPERATE = "predict", "feedback", "operate"
_HOW = "(header x-api-key, or authorization: Bearer)"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a key. `roles` are those that were given, in the order of the configuration.

    `meter` is that of the name's quota; None: it has none.
    """

    name: str
    roles: tuple[str, ...]
    meter: Meter | None = None

    def may(self, role: str) -> bool:
        """Say whether one of the roles is this one, or holds it."""
        return role in self.roles or OPERATE in self.roles


def shown_key(fields: Mapping[bytes, bytes]) -> bytes | None:
    """Return the key that a request shows, if it shows one."""
    key = fields.get(b"x-api-key")
    if key is not None:
        return key
    scheme, _, rest = fields.get(b"authorization", b"").partition(b" ")
    return rest.strip() or None if scheme.lower() == b"bearer" else None


class Keys:
    """Every key has one holder."""

    def __init__(self, told: Sequence[str], meters: Meters = NO_METERS) -> None:
        """Shapes: `told` are `role:name:sha256`; a key with two roles is told twice."""
        self.meters = meters
        held: dict[bytes, Holder] = {}
        for text in told:
            role, name, digest = text.split(":")
            known = held.get(bytes.fromhex(digest), Holder(name, (), meters.find(name)))
            held[bytes.fromhex(digest)] = replace(known, roles=(*known.roles, role))
        self._held = tuple(held.items())
        self.is_any = bool(held)
        self.guards_predictions = any(PREDICT in holder.roles for holder in held.values())

    def admit(self, fields: Mapping[bytes, bytes], role: str, what: str) -> Holder:
        """Return who asks, if that is somebody of a role, for `what` needs one.

        Raises: Unauthenticated, where no key is shown, or none that is known; Forbidden,
        where its holder has other roles.
        """
        key = shown_key(fields)
        if key is None:
            raise Unauthenticated(f"{what}: expected a key with the role {role} {_HOW}, got none")
        holder = self._find(key)
        if holder is None:
            raise Unauthenticated(f"{what}: expected a key with the role {role}, got no known key")
        if not holder.may(role):
            got = ", ".join(holder.roles)
            raise Forbidden(f"{what}: expected a key with the role {role}, got one of {got}")
        return holder

    def meter_of(self, fields: Mapping[bytes, bytes]) -> Meter | None:
        """Return the meter of who asks for a prediction, whatever is wrong with what he asks.

        None: he is not known, has no quota, or need show no key.
        """
        key = shown_key(fields) if self.guards_predictions else None
        holder = None if key is None else self._find(key)
        return None if holder is None else holder.meter

    def _find(self, key: bytes) -> Holder | None:
        shown = hashlib.sha256(key).digest()
        # All are compared, so that the time taken says nothing about which came near.
        found = [who for digest, who in self._held if hmac.compare_digest(digest, shown)]
        return found[0] if found else None


NO_KEYS = Keys(())
