"""One HTTP client under load: what a request costs it, and how long it takes.

`python -m bench.clientload LIBRARY --port N --bytes N --in-flight N --window S` sends binary V2
requests of so many bytes to a stub on loopback and prints
{"requests": ..., "cpu_s": ..., "p50_s": ...}; the CPU is this process's own.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from statistics import median
from time import perf_counter, process_time

import httpx
import uvloop

from gateway.execute.client import Client
from gateway.execute.upstream import Terms

Post = Callable[[Sequence[bytes]], Awaitable[int]]  # the size of the answer
WARMUP_S = 0.3
_JSON = json.dumps(
    {
        "inputs": [
            {
                "name": "x",
                "datatype": "FP32",
                "shape": [1, 64],
                "parameters": {"binary_data_size": 256},
            }
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
).encode()
_HEADERS = {
    "content-type": "application/octet-stream",
    "inference-header-content-length": str(len(_JSON)),
}


@asynccontextmanager
async def of_aiohttp(url: str, in_flight: int) -> AsyncIterator[Post]:
    """As the gateway uses it."""
    async with Client(Terms(in_flight, max_answer_bytes=1 << 30)) as client:

        async def post(blobs: Sequence[bytes]) -> int:
            return len((await client.ask("POST", url, _HEADERS, blobs)).body)

        yield post


@asynccontextmanager
async def of_httpx(url: str, in_flight: int) -> AsyncIterator[Post]:
    """With the same settings."""
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=None) as client:

        async def post(blobs: Sequence[bytes]) -> int:
            body = b"".join(blobs)
            return len((await client.post(url, content=body, headers=_HEADERS)).content)

        yield post


CLIENTS = {"aiohttp": of_aiohttp, "httpx": of_httpx}


async def load(
    library: str, port: int, size_bytes: int, in_flight: int, window_s: float
) -> dict[str, float]:
    """Ask without a pause, so many at once."""
    blobs, times = (_JSON, bytes(size_bytes)), list[float]()
    async with CLIENTS[library](f"http://127.0.0.1:{port}/v2/models/m/infer", in_flight) as post:

        async def ask(until: float) -> None:
            while (started := perf_counter()) < until:
                assert await post(blobs) > size_bytes
                times.append(perf_counter() - started)

        async def ask_all(within_s: float) -> None:
            until = perf_counter() + within_s
            await asyncio.gather(*(ask(until) for _ in range(in_flight)))

        await ask_all(WARMUP_S)
        times.clear()
        cpu_s = process_time()
        await ask_all(window_s)
        cpu_s = process_time() - cpu_s
    return {"requests": len(times), "cpu_s": cpu_s, "p50_s": median(times)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.clientload")
    parser.add_argument("library", choices=sorted(CLIENTS))
    for name in ("--port", "--bytes", "--in-flight"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--window", type=float, default=2.0)
    given = parser.parse_args()
    seen = load(given.library, given.port, given.bytes, given.in_flight, given.window)
    print(json.dumps(uvloop.run(seen)), flush=True)


if __name__ == "__main__":
    main()
