"""Many models known and some of them loaded, beside a gateway that knows only what it serves.

Both serve `digits`, whose requests are compared; all models are as small as it is, and all
differ in a byte, so that each has a digest of its own.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import onnx

from bench import managed
from bench.accounting import resident_bytes
from bench.apart import told
from bench.launch import Rung, Server
from bench.ratios import (
    Bar,
    Figure,
    Finding,
    Verdict,
    interleave,
    ratio_spread,
    spread,
)
from bench.rungs import gateway
from bench.stand import Stand
from bench.wrk import Window

KNOWN, LOADED = 1000, 50
FEW = 2
CONNECTIONS = 64
MOST_RATIO = 2.0  # of look-ups; 500 times as many would show otherwise, and a tree would take 10


@dataclass(frozen=True, slots=True)
class Crowd:
    """A gateway that knows `known` models and loads `loaded` of them at its start."""

    known: int
    loaded: int
    rung: Rung

    @property
    def name(self) -> str:
        """How a row calls it."""
        return f"{self.known} models known, {self.loaded} loaded"


@dataclass(frozen=True, slots=True)
class Size:
    """Resident memory of one gateway."""

    supervisor_bytes: int
    replica_bytes: int


def many(stand: Stand) -> list[Finding]:
    """What a thousand known models cost at the start, in memory, and each request."""
    crowds = crowd(stand, KNOWN, LOADED), crowd(stand, FEW, FEW)
    starts_s: dict[str, list[float]] = {one.name: [] for one in crowds}
    for _ in range(stand.effort.starts - 1):
        for one in crowds:
            with stand.serving(one.rung) as server:
                starts_s[one.name].append(server.start_s)
    with stand.serving(crowds[0].rung) as much, stand.serving(crowds[1].rung) as little:
        pairs = interleave(
            partial(stand.load, much, CONNECTIONS),
            partial(stand.load, little, CONNECTIONS),
            stand.effort.pairs,
        )
        sizes = {}
        for one, server in zip(crowds, (much, little), strict=True):
            starts_s[one.name].append(server.start_s)
            sizes[one.name] = size_of(server)
    words = ["--models", str(FEW), str(KNOWN)]
    looked = told("bench.lookup", words, stand.server_cpu)
    return [
        *(Figure(f"{name}: start until it serves", spread(s), "s") for name, s in starts_s.items()),
        *sized(sizes),
        *costs(pairs),
        *lookups(looked[str(KNOWN)], looked[str(FEW)]),
    ]


def crowd(stand: Stand, known: int, loaded: int) -> Crowd:
    """Write `known` models, `digits` among them, into a folder of their own."""
    folder = stand.scratch / f"crowd-{known}"
    names = ["digits", *(f"known-{number:04}" for number in range(1, known))]
    stock(stand.models / "digits" / "1", folder, names)
    startup = ", ".join(f'"{name}"' for name in names[:loaded])
    settings = f'[repository]\ncontrol = "explicit"\nstartup = [{startup}]'
    return Crowd(known, loaded, gateway(folder, settings=settings))


def stock(version: Path, folder: Path, names: Sequence[str]) -> None:
    """Write the version's model once for each name, with the name inside."""
    model = onnx.load(version / "model.onnx")
    for name in names:
        home = folder / name / "1"
        home.mkdir(parents=True)
        model.doc_string = name
        onnx.save(model, home / "model.onnx")
        shutil.copy(version / "model.toml", home)


def size_of(server: Server) -> Size:
    """Resident memory of a gateway with one replica."""
    (replica,) = managed.replicas(server)
    return Size(resident_bytes(server.pid), resident_bytes(replica.pid))


def sized(sizes: Mapping[str, Size]) -> list[Figure]:
    """Memory of both processes of each gateway, after load."""
    return [
        Figure(f"{name}: resident memory of its {process}", spread([size / 1e6]), "MB")
        for name, one in sizes.items()
        for process, size in (
            ("supervisor", one.supervisor_bytes),
            ("replica", one.replica_bytes),
        )
    ]


def costs(pairs: Sequence[tuple[Window, Window]]) -> list[Figure]:
    """What a request costs in (much, little) company."""
    both = [median(w.cpu_per_request_s for w in side) * 1e6 for side in zip(*pairs, strict=True)]
    rates = [median(w.requests_per_s for w in side) for side in zip(*pairs, strict=True)]
    what = f"{KNOWN} models / {FEW}, CPU a request, {CONNECTIONS} connections"
    note = f"{both[0]:.1f} and {both[1]:.1f} us; {rates[0]:.0f} and {rates[1]:.0f} requests/s"
    return [Figure(what, ratio_spread(pairs, lambda w: w.cpu_per_request_s), "", note)]


def lookups(
    many: Mapping[str, Sequence[float]], few: Mapping[str, Sequence[float]]
) -> list[Finding]:
    """A look-up takes as long among many as among few, but for the processor's caches."""
    found: list[Finding] = []
    for kind, what in (("each", "another model each time"), ("one", "the same model each time")):
        pairs = list(zip(many[kind], few[kind], strict=True))
        both = [median(side) * 1e9 for side in zip(*pairs, strict=True)]
        ratio = ratio_spread(pairs, float)
        name = f"look-up among {KNOWN} models / among {FEW}, {what}"
        note = f"{both[0]:.0f} and {both[1]:.0f} ns"
        if kind == "each":
            found.append(Verdict(Bar(name, at_most=MOST_RATIO), ratio, "", note))
        else:
            found.append(Figure(name, ratio, "", note))
    return found
