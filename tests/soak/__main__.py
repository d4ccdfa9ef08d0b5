"""`python -m tests.soak`: a million mutated requests against a real server; exit 1 at any fault.

A fault is a 5xx, a request without an answer, a complaint on the server's stderr, or memory
that grows by more than a tenth after the first tenth of the requests.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.server import Server, serving
from tests.soak.asking import Tally, soak
from tests.zoo import write_zoo

_CALLERS = 256
_FRAMING_RATIO = 0.1
_MOST_GROWTH_RATIO = 0.1


def main() -> int:
    """Run it; print what came, and what was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replicas", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        settings: dict[str, Any] = {
            "replicas": given.replicas,
            "dialects__default_model": "echo",
            "limits__header_timeout_s": 1,
            "limits__body_timeout_s": 1,
        }
        with serving(write_zoo(folder / "models"), folder, **settings) as server:
            return _report(server, given.requests, given.seed)


def _report(server: Server, requests: int, seed: int) -> int:
    started = time.monotonic()
    first = _run(server, requests // 10, seed)
    before = server.rss_bytes()
    rest = _run(server, requests - requests // 10, seed + 1)
    after = server.rss_bytes()
    growth = after / before - 1
    faults = [f"no answer: {raw!r}" for one in (first, rest) for raw in one.hung]
    faults += [f"5xx: {raw!r}" for one in (first, rest) for raw in one.failed]
    faults += server.complaints().splitlines()
    if growth > _MOST_GROWTH_RATIO:
        faults.append(f"memory grew by {growth:.1%}")
    statuses = first.statuses + rest.statuses
    asked, silent = first.asked() + rest.asked(), first.silent + rest.silent
    print(f"{asked:,} requests in {time.monotonic() - started:.0f} s, seed {seed}: "  # noqa: T201 - its report
          f"{dict(sorted(statuses.items()))}, {silent} closed without a word; memory "
          f"{before / 1e6:.1f} to {after / 1e6:.1f} MB ({growth:+.1%})")  # fmt: skip
    for fault in faults[:20]:
        print(fault, file=sys.stderr)  # noqa: T201 - its report
    return 1 if faults else 0


def _run(server: Server, requests: int, seed: int) -> Tally:
    return asyncio.run(soak(server.port, requests, seed, _FRAMING_RATIO, _CALLERS))


if __name__ == "__main__":
    sys.exit(main())
