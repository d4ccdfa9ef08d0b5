"""Poison: one row in fifty that a model cannot bear, and all others answered.

Twice: `five` in its thread, and a model that costs ten microseconds a row, on the event loop,
where batches are long and each has its poison. Open loop at half the saturated rate, and then
saturated, to say what finding the guilty costs.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench import five
from bench.courses import Clients, Counts, Course, play
from bench.goodput import said
from bench.launch import Server
from bench.ratios import Bar, Figure, Finding, Verdict, interleave, ratio_spread, worst
from bench.rungs import gateway
from bench.saturation import saturated_per_s
from bench.stand import Stand

EVERY = 50
CALM_RATIO = 0.5
PATIENT_S = 10.0
CLEAN, POISONED = "clean", "poisoned"
LEAST_S = 5.0
QUICK = "quick"  # the gate of `five`, and nothing behind it


class Subject(NamedTuple):
    """A model, and how many connections saturate it."""

    name: str
    busy: int
    connections: int

    @property
    def path(self) -> str:
        return f"/v2/models/{self.name}/infer"


class Bodies(NamedTuple):
    """Files of bodies: without poison, one row in fifty, and nothing else."""

    clean: Path
    mixed: Path
    poisoned: Path


SUBJECTS = (Subject("five", 2 * five.MOST_ROWS, 256), Subject(QUICK, 64, 256))


def poison(stand: Stand) -> list[Finding]:
    """Forty-nine of fifty are always answered."""
    models = five.build(stand)
    five.write(models, QUICK, 0, "")
    bodies = bodies_of(stand)
    found: list[Finding] = []
    with stand.serving(gateway(models)) as server:
        for subject in SUBJECTS:
            clean = partial(saturated, stand, server, subject, bodies.clean)
            mixed = partial(saturated, stand, server, subject, bodies.mixed)
            rates = interleave(mixed, clean, stand.effort.pairs)
            counts = beside(stand, server, subject, bodies, CALM_RATIO * rates[0][1])
            found += judge(subject.name, counts, rates)
    return found


def bodies_of(stand: Stand) -> Bodies:
    """Write the poisoned ones."""
    clean = stand.digits.bodies
    assert clean is not None
    found = Bodies(clean, stand.scratch / "mixed-bodies", stand.scratch / "poisoned-bodies")
    five.write_poisoned(found.mixed, clean, EVERY)
    five.write_poisoned(found.poisoned, clean, 1)
    return found


def saturated(stand: Stand, server: Server, subject: Subject, bodies: Path) -> float:
    """Answers with 200 a second, as fast as they come."""
    clients = Clients(CLEAN, subject.path, str(bodies), 1, None, PATIENT_S)
    return saturated_per_s(stand, server, clients, subject.busy)


def beside(
    stand: Stand, server: Server, subject: Subject, bodies: Bodies, rate: float
) -> tuple[Counts, Counts]:
    """One row in fifty poisoned, open loop: what became of the clean and of the poisoned."""
    window_s = max(LEAST_S, stand.effort.surge_s)
    clients = tuple(
        Clients(name, subject.path, str(file), subject.connections, (share * rate,), PATIENT_S)
        for name, file, share in (
            (CLEAN, bodies.clean, 1 - 1 / EVERY),
            (POISONED, bodies.poisoned, 1 / EVERY),
        )
    )
    course = Course(server.port, (window_s,), clients)
    report = play(course, stand.generator_cpu, stand.scratch)
    return report.of(CLEAN).phases[0], report.of(POISONED).phases[0]


def judge(
    name: str, counts: tuple[Counts, Counts], rates: Sequence[tuple[float, float]]
) -> list[Finding]:
    """Whatever of the clean is not answered is one too many; what it costs is told."""
    clean, poisoned = counts
    what = f"{name}, one row in {EVERY} poisoned"
    wrong = poisoned.offered - poisoned.answers.get("500", 0)
    note = f"of {clean.offered:,}; p99 {clean.p99_s * 1e3:.3g} ms"
    mixed_per_s, clean_per_s = rates[0]
    return [
        Verdict(
            Bar(f"{what}: others that are not answered", at_most=0),
            worst([float(clean.failed)]),
            "",
            note,
        ),
        Verdict(
            Bar(f"{what}: poisoned that are not told so", at_most=0),
            worst([float(wrong)]),
            "",
            f"of {poisoned.offered:,}; {said([poisoned])}",
        ),
        Figure(
            f"{what} / none: answers with 200 a second, saturated",
            ratio_spread(rates, float),
            "",
            f"{mixed_per_s:.0f} and {clean_per_s:.0f}/s; {1 - 1 / EVERY:g} would be no cost",
        ),
    ]
