"""`python -m bench`: the ladder and the bars, printed and stored under bench/results/.

Exit codes: 0 measured (met or not), 1 something could not be measured, 2 wrong usage.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from bench import claims
from bench.accounting import read_machine, waited_s
from bench.apart import ApartFailed
from bench.clients import clients
from bench.crowd import crowd
from bench.documents import PutRefused
from bench.fair import fair
from bench.heavy import heavy
from bench.kill import kill
from bench.ladder import Row, climb
from bench.launch import ROOT, StartFailed
from bench.leavers import leavers
from bench.loading import loading
from bench.managed import NeverSo
from bench.many import many
from bench.overload import overload
from bench.plans import GeneratorFailed
from bench.poison import poison
from bench.ratios import Figure, Finding, Timing, Verdict
from bench.recovery import recovery
from bench.replicas import replicas
from bench.report import Findings, header, markdown, store
from bench.requests import INFER, Target, write_bodies
from bench.routing import routing
from bench.shadow import shadow
from bench.stand import BODIES, QUICK, Effort, OneProcessor, Stand, two_processors
from bench.telemetry import telemetry
from bench.traffic import traffic
from bench.wrk import LoadFailed

CLAIMS: Mapping[str, Callable[[Stand], Sequence[Finding]]] = {
    "core": claims.core,
    "latency": claims.latency,
    "arrivals": claims.arrivals,
    "heavy": heavy,
    "memory": claims.memory,
    "replicas": replicas,
    "telemetry": telemetry,
    "routing": routing,
    "shadow": shadow,
    "many": many,
    "loading": loading,
    "recovery": recovery,
    "traffic": traffic,
    "overload": overload,
    "fair": fair,
    "crowd": crowd,
    "leavers": leavers,
    "poison": poison,
    "kill": kill,
    "clients": clients,
}
UNMEASURED = (
    OneProcessor,
    StartFailed,
    LoadFailed,
    GeneratorFailed,
    ApartFailed,
    NeverSo,
    PutRefused,
)
TOOLS = ("nginx", "wrk", "taskset", "redis-server")
T = TypeVar("T")


def main() -> int:
    """Run what was asked for; print the page and store it."""
    arguments = _parse(sys.argv[1:])
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    effort = QUICK if arguments.quick else Effort()
    wanted = set(arguments.only or ["micro", "ladder", *CLAIMS])
    started, machine, waited = perf_counter(), read_machine(), waited_s()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            findings = _measure(_stand(effort, Path(folder)), wanted)
    except UNMEASURED as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    stolen_ratio = read_machine().stolen_ratio_since(machine)
    now = waited_s()
    waits_s = None if now is None or waited is None else now - waited
    head = header(effort, perf_counter() - started, stolen_ratio, waits_s)
    print(markdown(head, findings))
    for path in store(head, findings, arguments.out, arguments.label):
        print(path)
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about twelve minutes, wider spreads")
    parser.add_argument(
        "--only", action="append", choices=["micro", "ladder", *CLAIMS], help="may be repeated"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--label", default="latest", help="name of the stored files")
    return parser.parse_args(words)


def _stand(effort: Effort, scratch: Path) -> Stand:
    server_cpu, generator_cpu = two_processors()
    bodies = scratch / "bodies"
    write_bodies(bodies, BODIES)
    scratch.chmod(0o755)  # nginx's worker may be another user
    digits = Target(INFER, bodies)
    return Stand(effort, server_cpu, generator_cpu, scratch, ROOT / "models", digits)


def _measure(stand: Stand, wanted: set[str]) -> Findings:
    timings: Sequence[Timing] = _told("micro", _micro) if "micro" in wanted else []
    rows: Sequence[Row] = _told("ladder", partial(climb, stand)) if "ladder" in wanted else []
    found: list[Finding] = []
    for name, claim in CLAIMS.items():
        if name in wanted:
            found += _told(name, partial(claim, stand))
    verdicts = [one for one in found if isinstance(one, Verdict)]
    figures = [one for one in found if isinstance(one, Figure)]
    return Findings(rows, verdicts, figures, timings)


def _micro() -> Sequence[Timing]:
    from bench import hops, micro  # noqa: PLC0415 - they carry the gateway into this process

    return [*micro.measure(), *hops.measure()]


def _told(name: str, measure: Callable[[], Sequence[T]]) -> Sequence[T]:
    started = perf_counter()
    print(f"{name} ...", end=" ", flush=True, file=sys.stderr)
    found = measure()
    print(f"{perf_counter() - started:.0f} s", file=sys.stderr)
    return found


if __name__ == "__main__":
    sys.exit(main())
