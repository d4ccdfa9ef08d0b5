"""A request to each endpoint that it obeys, as long as whoever asks may."""

import json

from gateway.supervise.management.endpoints import Endpoint
from gateway.supervise.management.guard import Role

PROPOSED = {
    "variants": [
        {"name": "stable", "version": "2", "weight": 95},
        {"name": "canary", "version": "1", "weight": 5},
    ],
    "reason": "try 1",
}
_BODIES: dict[str, object] = {
    "Change": {},
    "Reasoned": {"reason": "anew"},
    "Rollback": {"reason": "back"},
    "RoutingDocument": PROPOSED,
}


def target_of(row: Endpoint) -> bytes:
    return row.path.format(model="digits", version="2").encode()


def body_of(row: Endpoint) -> bytes:
    return json.dumps(_BODIES[row.body]).encode() if row.role is Role.OPERATOR else b""


def fields_of(row: Endpoint) -> dict[str, str]:
    """Return what a request says beside the usual: what a change of a document changes."""
    is_bound = row.role is Role.OPERATOR and row.path.endswith("/routes")
    return {"if_match": '"2"'} if is_bound else {}
