"""What it costs the hot path to decide between variants, without sockets.

`python -m bench.deciding MODEL BODIES --groups N --lanes 64` prints seconds a request by kind,
one figure a group, the shortest of its windows: {"one": [...], "weight": [...], ...}.

Lanes, intake, arms, batchers, ONNX Runtime, encoder and records are the gateway's own, and all
variants lead to one version and one session: what differs is who decides, and how many batches
a turn of the loop makes. A canary of 0.01 % has every call decided and leaves the batches
whole; at 5 % nearly every turn has a second, small one. Windows of all kinds alternate.
"""

import argparse
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.lanes import BATCH_ROWS, WINDOW_REQUESTS, Bank, lay
from bench.requests import INFER, Target
from gateway.app.arms import Arms
from gateway.app.following import settle_memory
from gateway.app.opened import Opened
from gateway.batch.batcher import Batcher
from gateway.control.messages import Entry, Table
from gateway.core.batching import Policy as BatchingPolicy
from gateway.core.documents import WHOLE_BP, Document, Matches, Rule, Sticky, Variant
from gateway.execute.executors import Inline
from gateway.execute.session import Session, SessionSettings
from gateway.flow import Flow
from gateway.observe.memory import Memory
from gateway.observe.record import Record
from gateway.route.mirror import Mirror
from gateway.types import Version
from gateway.wire.intake import Intake, Policy

WINDOWS = 60  # of each kind in a group
LEAST_BP, FEW_BP, HALF_BP = 1, 500, 5000  # of WHOLE_BP
BY_HEADER = Sticky("header", "x-user-id", "bench")
BY_PARAMETER = Sticky("parameter", "user", "bench")
BETA = Rule("canary", (Matches("header", "x-tier", "beta"),), needs_all=True)
ROWS_EACH = 3  # of telemetry: the version's own, and one a variant

Parts = Sequence[Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is sent (`plain`, `named` by header, `told` by parameter), and what decides.

    `against` is the kind with the same requests and nothing to decide; None: it is one.
    """

    sent: str
    document: Document
    against: str | None = None


def shared(canary_bp: int, sticky: Sticky | None = None, rules: tuple[Rule, ...] = ()) -> Document:
    """A document of two variants of one version."""
    stable = Variant("stable", "1", WHOLE_BP - canary_bp)
    both = (stable, Variant("canary", "1", canary_bp))
    return Document("digits", 1, both, (), rules, sticky, "stable")


ONE = Document("digits", 1, (Variant("stable", "1", WHOLE_BP),), fallback="stable")
KINDS: dict[str, Kind] = {
    "one": Kind("plain", ONE),
    "weight": Kind("plain", shared(LEAST_BP), "one"),
    "few": Kind("plain", shared(FEW_BP), "one"),
    "half": Kind("plain", shared(HALF_BP), "one"),
    "rule": Kind("plain", shared(0, rules=(BETA,)), "one"),
    "one, named": Kind("named", ONE),
    "header": Kind("named", shared(LEAST_BP, BY_HEADER), "one, named"),
    "header, few": Kind("named", shared(FEW_BP, BY_HEADER), "one, named"),
    "one, told": Kind("told", ONE),
    "parameter": Kind("told", shared(LEAST_BP, BY_PARAMETER), "one, told"),
}


def requests_of(bodies: Path) -> dict[str, list[bytes]]:
    """All requests, each ready for a lane: as they are, with a user's header, with a parameter."""
    plain = Target(INFER, bodies).formatted()
    told = [
        b'{"parameters":{"user":"user-%d"},%b' % (at, body[1:])
        for at, body in enumerate(bodies.read_bytes().splitlines())
    ]
    return {
        "plain": plain,
        "named": [_named(request, b"user-%d" % at) for at, request in enumerate(plain)],
        "told": [_with_body(plain[0], body) for body in told],
    }


def parted(requests: Sequence[bytes]) -> Parts:
    """Requests as so many windows: together they are more than any cache of heads holds."""
    whole = range(0, len(requests) - WINDOW_REQUESTS + 1, WINDOW_REQUESTS)
    return [requests[at : at + WINDOW_REQUESTS] for at in whole]


def _named(request: bytes, user: bytes) -> bytes:
    head, separator, body = request.partition(b"\r\n\r\n")
    return b"%b\r\nx-user-id: %b%b%b" % (head, user, separator, body)


def _with_body(request: bytes, body: bytes) -> bytes:
    head = request.partition(b"content-length:")[0]
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


@asynccontextmanager
async def open_split(
    session: Session, document: Document, lanes: int, memory: Memory, first_row: int
) -> AsyncIterator[Bank]:
    """Lanes before `digits`, whose calls are shared by a document as a replica shares them."""

    def record_of(row: int) -> Record:
        return Record(memory.row(row))

    inline, policy = Inline(session.execute, 1.0), BatchingPolicy(max_rows=BATCH_ROWS)
    opened = Opened(
        Version("digits", "1", session.signature),
        lambda record: Batcher(inline.run, policy, record),
        record_of(first_row),
        AsyncExitStack(),
        session.execute,
    )
    rows = {one.name: first_row + at for at, one in enumerate(document.variants, 1)}
    lost = record_of(0)
    table = Table(1, {document.model: Entry(None, {}, {}, document, rows)})
    plan, tallies, _ = Arms(record_of, lost, no_mirror).plan(table, {"digits": {"1": opened}})
    flow = Flow({}, {})
    flow.replace(plan)
    intake = Intake(flow, Policy(), lost)
    intake.keep(tallies)
    with lay(intake, lanes) as bank:
        yield bank
    await opened.close(1.0)


def no_mirror(*_: object) -> Mirror:
    """Open none: no document here has a shadow."""
    raise AssertionError("nobody mirrors here")


async def group(
    session: Session, lanes: int, requests: Mapping[str, Parts], windows: int = WINDOWS
) -> dict[str, float]:
    """The shortest of many windows of each kind, in seconds a request.

    Shapes: `requests` in parts, by what is sent; each window has the next.
    """
    shortest = dict.fromkeys(KINDS, float("inf"))
    with Memory.create() as memory:
        async with AsyncExitStack() as stack:
            banks = {
                name: await stack.enter_async_context(
                    open_split(session, kind.document, lanes, memory, 1 + ROWS_EACH * at)
                )
                for at, (name, kind) in enumerate(KINDS.items())
            }
            settle_memory()
            for turn in range(windows):
                for name in KINDS if turn % 2 else reversed(KINDS):
                    parts = requests[KINDS[name].sent]
                    seen_s = await banks[name].window_s(parts[turn % len(parts)])
                    shortest[name] = min(shortest[name], seen_s)
    return shortest


async def measure(model: Path, bodies: Path, groups: int, lanes: int) -> dict[str, list[float]]:
    """Seconds a request by kind, one figure a group."""
    session = Session(model, SessionSettings(max_batch_rows=1024))
    requests = {sent: parted(some) for sent, some in requests_of(bodies).items()}
    seen: dict[str, list[float]] = {name: [] for name in KINDS}
    for _ in range(groups):
        for name, shortest_s in (await group(session, lanes, requests)).items():
            seen[name].append(shortest_s)
    return seen


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.deciding")
    parser.add_argument("model", type=Path)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--groups", type=int, default=15)
    parser.add_argument("--lanes", type=int, default=64)
    given = parser.parse_args()
    seen = uvloop.run(measure(given.model, given.bodies, given.groups, given.lanes))
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
