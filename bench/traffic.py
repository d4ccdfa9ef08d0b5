"""What two replicas and their clients see of a split: fair shares, and switches under load.

Both replicas and the generator share all processors. Each connection belongs to one replica,
as the kernel says; so the answers of each are known apart.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from bench import documents, managed
from bench.apart import Apart, apart
from bench.callers import callers_of, wait_for
from bench.chances import binomial
from bench.documents import Json
from bench.launch import Server
from bench.ratios import Bar, Figure, Finding, Verdict, spread, worst
from bench.rungs import gateway
from bench.stand import Stand

REPLICAS = 2
CONNECTIONS = 32
CANARY_PERCENT = 5.0
LEVEL = 0.999
SWITCHES = 100
WEIGHTS = (0, 100, 50, 5)  # of the canary, in turn
OK = 200


class Seen(NamedTuple):
    """So many calls of one connection, answered alike; status 0: they were not answered."""

    port: int
    status: int
    revision: str
    variant: str
    version: str
    calls: int


def traffic(stand: Stand) -> list[Finding]:
    """Shares are what a document says, and a hundred changes of it fail nobody."""
    with stand.serving(gateway(stand.models, replicas=REPLICAS), is_free=True) as server:
        document = documents.in_force(server, "digits")
        split = documents.variants(["1", "2"], CANARY_PERCENT)
        document = documents.put(server, document, variants=split, sticky=None).document
        return [*shares(stand, server), *switches(stand, server, document)]


def shares(stand: Stand, server: Server) -> list[Finding]:
    """Count who answers a million calls, by replica and together."""
    words = _words(stand, server, "--requests", str(stand.effort.share_requests))
    with apart("bench.answers", words, None) as generator:
        held = _held(server, generator)
        generator.go_on()
        seen = _seen(generator)
    return fair(seen, held)


def fair(seen: Sequence[Seen], held: Mapping[int, int]) -> list[Finding]:
    """Hold each replica's share, and that of both, against what chance allows."""
    failed = sum(one.calls for one in seen if one.status != OK)
    calls = sum(one.calls for one in seen)
    whole = Bar("95/5 on two replicas: failed requests", at_most=0)
    found: list[Finding] = [Verdict(whole, worst([float(failed)]), "", f"of {calls:,}")]
    replicas = sorted(set(held.values()))
    sides = {"together": set(replicas)}
    sides |= {f"replica {at}": {pid} for at, pid in enumerate(replicas, 1)}
    for name, pids in sides.items():
        ours = [one for one in seen if held[one.port] in pids and one.status == OK]
        found.append(_share(name, ours))
    return found


def _share(name: str, seen: Sequence[Seen]) -> Verdict:
    """How far the canary's share is from its middle, of what chance allows: 1 is the edge."""
    calls = sum(one.calls for one in seen)
    canary = sum(one.calls for one in seen if one.variant == "canary")
    low, high = binomial(calls, CANARY_PERCENT / 100, LEVEL)
    reach = (high - low) / 2
    bar = Bar(f"95/5, {name}: distance from 5 %, of what chance allows", at_most=1)
    note = (
        f"{canary:,} of {calls:,} calls, {100 * canary / max(1, calls):.3f} %; "
        f"{LEVEL:.1%} of fair counts are {low:,} to {high:,}"
    )
    return Verdict(bar, spread([abs(canary - (low + high) / 2) / max(1.0, reach)]), "", note)


def switches(stand: Stand, server: Server, document: Json) -> list[Finding]:
    """Change weights and versions again and again under full load."""
    allowed = {str(document["revision"]): holds(document)}
    took_s = []
    with apart("bench.answers", _words(stand, server), None) as generator:
        _held(server, generator)
        generator.go_on()
        for number in range(SWITCHES):
            versions = ["1", "2"] if number % 3 else ["2", "1"]
            split = documents.variants(versions, WEIGHTS[number % len(WEIGHTS)])
            document, seconds = documents.put(server, document, variants=split)
            took_s.append(seconds)
            allowed[str(document["revision"])] = holds(document)
        generator.go_on()
        seen = _seen(generator)
    return truthful(seen, allowed, took_s)


def holds(document: Json) -> frozenset[tuple[str, str]]:
    """Return the variants that a document gives calls to, with their versions."""
    return frozenset((one["name"], one["version"]) for one in document["variants"] if one["weight"])


def truthful(
    seen: Sequence[Seen],
    allowed: Mapping[str, frozenset[tuple[str, str]]],
    took_s: Sequence[float],
) -> list[Finding]:
    """Count the failed, and those whose variant and version their revision does not have."""
    answered = [one for one in seen if one.status == OK]
    failed = Counter[int]()
    for one in seen:
        if one.status != OK:
            failed[one.status] += one.calls
    lies = sum(
        one.calls
        for one in answered
        if (one.variant, one.version) not in allowed.get(one.revision, frozenset())
    )
    calls = sum(one.calls for one in seen)
    revisions = len({one.revision for one in answered})
    kinds = "".join(f"; {status or 'unanswered'}: {many}" for status, many in failed.items())
    switched = f"{len(took_s)} switches under full load"
    note = f"of {calls:,}, {revisions} revisions seen"
    took_ms = [seconds * 1e3 for seconds in took_s]
    return [
        Verdict(
            Bar(f"{switched}: failed requests", at_most=0),
            worst([float(failed.total())]),
            "",
            note + kinds,
        ),
        Verdict(
            Bar(f"{switched}: answers that their revision does not hold", at_most=0),
            worst([float(lies)]),
            "",
            note,
        ),
        Figure(f"{switched}: one change, prepared, kept and in force", spread(took_ms), "ms"),
        Figure(f"{switched}: the longest change", worst(took_ms), "ms"),
    ]


def _words(stand: Stand, server: Server, *more: str) -> list[str]:
    bodies = str(stand.digits.bodies)
    return [str(server.port), bodies, "--connections", str(CONNECTIONS), *more]


def _held(server: Server, generator: Apart) -> Mapping[int, int]:
    """Wait until all of the generator's connections are accepted; return by which process."""
    ports = frozenset[int](generator.hear()["ports"])
    pids = [one.pid for one in managed.replicas(server)]
    return wait_for(ports, partial(callers_of, pids, server.port))


def _seen(generator: Apart) -> list[Seen]:
    rows: Iterable[Sequence[Any]] = generator.hear()["seen"]
    return [Seen(*row) for row in rows]
