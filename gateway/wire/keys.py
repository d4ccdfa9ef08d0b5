"""Keys: who on the data port may do more than ask for predictions.

Job    find the holder of a key, or refuse it.
Life   made from the configuration; pure, and the same for every request.
Never  keeps a key: only its SHA-256, which is compared in constant time. Asks who asks for
       a prediction: without a wish that needs a key none is looked at.

    x-api-key: KEY                    either way
    authorization: Bearer KEY
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from gateway.errors import Forbidden, Unauthenticated


def shown_key(fields: Mapping[bytes, bytes]) -> bytes | None:
    """Return the key that a request shows, if it shows one."""
    key = fields.get(b"x-api-key")
    if key is not None:
        return key
    scheme, _, rest = fields.get(b"authorization", b"").partition(b" ")
    return rest.strip() or None if scheme.lower() == b"bearer" else None


class Keys:
    """Every key that is known belongs to one role."""

    def __init__(self, told: Sequence[str]) -> None:
        """Shapes: `told` are `role:name:sha256`."""
        split = [text.split(":") for text in told]
        self._keys = tuple((bytes.fromhex(digest), role) for role, _, digest in split)

    def check(self, key: bytes | None, role: str, what: str) -> None:
        """Return if a key is of a role, for `what` needs one.

        Raises: Unauthenticated, where it is none that is known; Forbidden, where its role is
        another.
        """
        if key is None:
            raise Unauthenticated(
                f"{what}: expected a key with the role {role} (header x-api-key, or "
                "authorization: Bearer), got none"
            )
        shown = hashlib.sha256(key).digest()
        # All are compared, so that the time taken says nothing about which came near.
        found = [one for digest, one in self._keys if hmac.compare_digest(digest, shown)]
        if not found:
            raise Unauthenticated(f"{what}: expected a key with the role {role}, got no known key")
        if role not in found:
            raise Forbidden(f"{what}: expected a key with the role {role}, got one of {found[0]}")


NO_KEYS = Keys(())
