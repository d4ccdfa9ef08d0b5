"""How long it takes to find a model among few and among many.

`python -m bench.lookup --models 2 1000` prints seconds a look-up, by number of known models:
{"2": {"one": [...], "each": [...]}}. `one` asks for the same model again and again, `each`
for another every time, so that the processor's caches do not know it either.
"""

import argparse
import json
import random
from collections.abc import Sequence
from time import perf_counter

from gateway.flow import Flow, Served
from gateway.types import Arm, Signature, TensorSpec, Version

REPEATS = 25
FINDS = 20_000
SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 64)),), (TensorSpec("y", "FP32", (-1, 1)),), 64)


def flow_of(models: int) -> Flow:
    """A flow that serves so many models, one version each."""
    arms = [Arm(Version(f"model-{number}", "1", SIGNATURE)) for number in range(models)]
    return Flow({one.version.model: Served(one, {"1": one}) for one in arms}, {})


def asked(flow: Flow, is_one: bool) -> list[str]:
    """The names of all look-ups of one repeat, each a string of its own as from a request."""
    names = list(flow.models)
    random.Random(1).shuffle(names)
    chosen = names[:1] if is_one else names
    return ["".join(list(chosen[at % len(chosen)])) for at in range(FINDS)]


def find_s(flow: Flow, names: Sequence[str]) -> float:
    """Seconds a look-up."""
    find = flow.find
    started = perf_counter()
    for name in names:
        find(name, None)
    return (perf_counter() - started) / len(names)


def measure(counts: Sequence[int]) -> dict[str, dict[str, list[float]]]:
    """Seconds a look-up, in repeats that alternate."""
    flows = {count: flow_of(count) for count in counts}
    kinds = {"one": True, "each": False}
    names = {(n, kind): asked(flows[n], is_one) for n in counts for kind, is_one in kinds.items()}
    seen: dict[str, dict[str, list[float]]] = {str(n): {kind: [] for kind in kinds} for n in counts}
    for _ in range(REPEATS):
        for (count, kind), wanted in names.items():
            seen[str(count)][kind].append(find_s(flows[count], wanted))
    return seen


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.lookup")
    parser.add_argument("--models", type=int, nargs="+", default=[2, 1000])
    print(json.dumps(measure(parser.parse_args().models)), flush=True)


if __name__ == "__main__":
    main()
