"""Probe: a remote version as a trial sees it: asked from a thread that waits, one at a time.

Job    say what the endpoints say of themselves; run a batch at the first that is ready, and time
       it.
Life   `with`, in one thread; an event loop of its own, and connections that end with it.
Never  serves anybody; retries; waits longer than the version's own timeouts.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from gateway.core.stacking import zeros
from gateway.errors import ModelFailed
from gateway.execute.judging import judge
from gateway.execute.upstream import RemoteModel, Reply, Unanswered
from gateway.execute.v2 import JSON_LENGTH, BadAnswer, Request, metadata_of, of_arrays, outputs_of
from gateway.types import Array, Shape, TensorSpec

_LOOK_S = 5.0  # what an endpoint may take to say how it is

Specs = tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """What an endpoint says of the version; `trouble` instead, where it is not ready."""

    endpoint: str
    trouble: str = ""
    inputs: Specs = ()
    outputs: Specs = ()


class Probe:
    """Has the signature that is declared, and asks one endpoint. `fixed_rows` is any."""

    def __init__(self, model: RemoteModel, trial_shapes: Mapping[str, Shape]) -> None:
        self.signature = model.signature
        self.fixed_rows: int | None = None
        self._upstream = model.upstream
        self._trial_shapes = trial_shapes
        self._endpoint = model.upstream.endpoints[0]

    def __enter__(self) -> Self:
        from gateway.execute.client import Client  # noqa: PLC0415 - as in remote.py

        self._client = Client(self._upstream.terms)
        self._runner = asyncio.Runner()
        self._runner.run(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.__aexit__())
        self._runner.close()

    def look(self) -> list[Sight]:
        """Return what each endpoint says of itself; the first that is ready is the one asked."""
        sights = self._runner.run(self._look_at_all())
        self._endpoint = next((one.endpoint for one in sights if not one.trouble), self._endpoint)
        return sights

    def infer(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Run whole arrays, in the order of the signature. Raises: ModelFailed, TimeoutError."""
        return self._run(of_arrays(arrays, self.signature))

    def time_s(self, rows: int) -> float:
        """Run `rows` rows of zeros once; return the seconds it took, by the clock on the wall.

        Raises: as `infer`.
        """
        has_batch = self.signature.max_batch_rows > 0
        arrays = [
            zeros(spec, rows, has_batch, self._trial_shapes.get(spec.name))
            for spec in self.signature.inputs
        ]
        request = of_arrays(arrays, self.signature)
        started = time.perf_counter()
        self._run(request)
        return time.perf_counter() - started

    def _run(self, request: Request) -> Sequence[Array]:
        reply = self._runner.run(self._ask(request))
        if reply.status != 200:
            raise ModelFailed(f"{self._endpoint}: {judge(reply, is_trusted=True).error}")
        try:
            return outputs_of(reply.body, reply.headers, self.signature, request.rows)
        except BadAnswer as error:
            raise ModelFailed(f"{self._endpoint}: {error}") from error

    async def _ask(self, request: Request) -> Reply:
        headers = {
            **self._upstream.headers,
            "content-type": "application/octet-stream",
            JSON_LENGTH: str(len(request.json)),
        }
        url = self._endpoint + self._upstream.path("/infer")
        try:
            async with asyncio.timeout(self._upstream.timeout_s):
                return await self._client.ask("POST", url, headers, (request.json, *request.blobs))
        except TimeoutError:
            what = f"no answer within {self._upstream.timeout_s:g} s"
            raise ModelFailed(f"{self._endpoint}: {what}") from None
        except Unanswered as error:
            raise ModelFailed(f"{self._endpoint}: {error}") from error

    async def _look_at_all(self) -> list[Sight]:
        return await asyncio.gather(*(self._look_at(one) for one in self._upstream.endpoints))

    async def _look_at(self, endpoint: str) -> Sight:
        upstream = self._upstream
        within_s = min(_LOOK_S, upstream.timeout_s)
        try:
            async with asyncio.timeout(within_s):
                ready = await self._client.ask(
                    "GET", endpoint + upstream.path("/ready"), upstream.headers
                )
                if ready.status != 200:
                    return Sight(endpoint, f"is not ready: {judge(ready, is_trusted=True).error}")
                said = await self._client.ask("GET", endpoint + upstream.path(), upstream.headers)
            if said.status != 200:
                return Sight(endpoint, f"tells no metadata: {judge(said, is_trusted=True).error}")
            return Sight(endpoint, "", *metadata_of(said.body))
        except TimeoutError:
            return Sight(endpoint, f"no answer within {within_s:g} s")
        except ModelFailed as error:
            return Sight(endpoint, str(error))
