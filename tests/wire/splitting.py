"""Models with a routing document, before flows that answer without a model.

Job    plan by a document what app/arms.py would, of versions that need no loading.
"""

import hashlib
from dataclasses import replace

from gateway.batch.batcher import Batcher
from gateway.core.batching import Policy
from gateway.core.documents import Document, Variant
from gateway.core.routing import keyed_by, split_of
from gateway.flow import Absent, Plan, Route
from gateway.types import Arm
from gateway.wire.keys import Keys
from tests.fakes import FakeModel, Tallied, a_record
from tests.wire.harness import DOUBLE, Echo

FIRST, SECOND = DOUBLE, replace(DOUBLE, version="2")
HALVES = (Variant("stable", "1", 5000), Variant("canary", "2", 5000))
SPLIT = Document("m", 7, HALVES, fallback="stable")
TO_STABLE, TO_CANARY = 0, (1 << 32) - 1  # what chance says for one and for the other
LEVER, GLASS, TICKET = b"lever", b"glass", b"ticket"


def told(role: str, key: bytes, name: str = "me") -> str:
    """A key as the configuration has it."""
    return f"{role}:{name}:{hashlib.sha256(key).hexdigest()}"


_TOLD = (told("operate", LEVER), told("feedback", GLASS))
KEYS = Keys(_TOLD)  # who shows none may ask for predictions
GUARDED = Keys((*_TOLD, told("predict", TICKET)))  # nobody may


class Fork:
    """What a flow answers by once it has a document.

    `arms` are those of the split, by variant; `lost` hears of what an absent one did not answer.
    """

    def __init__(self, flow: Echo, document: Document = SPLIT, absent: str | None = None) -> None:
        self.lost = Tallied()
        self.arms: dict[str, Arm | Absent] = {}
        served = flow.models[document.model]
        pinned: dict[str, Arm | Absent] = {}
        for one in document.variants:
            version = served.versions[one.version].version
            if one.name == absent:
                pinned[one.name] = Absent("m", one.name, "a bad checksum", self.lost, None)
            else:
                pinned[one.name] = Arm(version, one.name, document.revision)
        for name, found in pinned.items():
            other = pinned.get(document.fallback or "") if name != document.fallback else None
            self.arms[name] = replace(found, fallback=other if isinstance(other, Arm) else None)
        answering = [*served.versions.values(), *pinned.values(), *self.arms.values()]
        batcher = Batcher(FakeModel().run, Policy(), a_record())  # never asked: the flow answers
        self.plan = Plan(
            {document.model: replace(served, default=None, pinned=pinned)},
            {arm: batcher for arm in answering if isinstance(arm, Arm)},
            {
                document.model: Route(
                    document.model,
                    document.revision,
                    split_of(document),
                    tuple(self.arms.values()),
                )
            },
        )
        flow.replace(self.plan)


def unit_of(variant: str, salt: str = "salt") -> str:
    """Return a unit that a half and half split gives to a variant."""
    half = 1 << 63
    for number in range(1000):
        hashed = keyed_by(salt.encode()).copy()
        hashed.update(b"user-%d" % number)
        if (int.from_bytes(hashed.digest()) < half) == (variant == "stable"):
            return f"user-{number}"
    raise AssertionError("a thousand units on one side")
