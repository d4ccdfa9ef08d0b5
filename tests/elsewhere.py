"""A V2 server of our own in a thread, which behaves as a test wants it to, at any moment.

Job    listen on loopback, read whole requests, and let a behaviour answer each; remember what
       was asked.
Life   `with`; leaving ends every connection. `die` and `revive` do so in between, on one port.
Never  anything of the gateway's: what it reads and writes it packs and unpacks by itself.

It knows one model: y = 2 x, FP32 [-1,-1] both, in batches. A row that begins with POISON it
cannot bear.
"""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

POISON = -1.0
WAIT_S = 30.0
HANG_S = 600.0

TENSORS = """
[[remote.inputs]]
name = "x"
datatype = "FP32"
shape = [-1, -1]

[[remote.outputs]]
name = "y"
datatype = "FP32"
shape = [-1, -1]
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float = field(default_factory=time.monotonic)

    @property
    def is_infer(self) -> bool:
        return self.path.endswith("/infer")

    @property
    def rows(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The input, as it came."""
        end = int(self.headers["inference-header-content-length"])
        (member,) = json.loads(self.body[:end])["inputs"]
        return np.frombuffer(self.body[end:], dtype="<f4").reshape(member["shape"])


Behaviour = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, body: bytes = b"", **headers: str | int) -> bytes:
    """A whole answer; `retry_after=1` is a header."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def tensors(*members: dict[str, Any], blobs: bytes = b"") -> bytes:
    """An answer with these outputs, and so many bytes after the JSON."""
    head = json.dumps({"model_name": "twice", "model_version": "1", "outputs": members}).encode()
    return answer(200, head + blobs, inference_header_content_length=len(head))


def output(shape: list[int], size_bytes: int, name: str = "y", datatype: str = "FP32") -> Any:
    return {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": size_bytes},
    }


def doubled(asked: Asked) -> bytes:
    """What a server in good health says."""
    if not asked.is_infer:
        sides = [{"name": one, "datatype": "FP32", "shape": [-1, -1]} for one in ("x", "y")]
        said = {"name": "twice", "versions": ["1"], "inputs": sides[:1], "outputs": sides[1:]}
        return answer(200, b"" if asked.path.endswith("/ready") else json.dumps(said).encode())
    if "inference-header-content-length" not in asked.headers:
        return answer(400, b'{"error": "expected a tensor in binary"}')
    rows = asked.rows
    if (rows[:, :1] == POISON).any():
        return answer(500, b'{"error": "a row was poisoned"}')
    blob = (rows * np.float32(2)).tobytes()
    return tensors(output(list(rows.shape), len(blob)), blobs=blob)


async def well(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(doubled(asked))


def saying(said: bytes) -> Behaviour:
    """Answer inferences with these bytes, and the rest well."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(said if asked.is_infer else doubled(asked))

    return behave


def always(said: bytes) -> Behaviour:
    """Answer everything with these bytes."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    return behave


async def resetting(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def cut_off(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Say half of the answer, and go."""
    said = doubled(asked)
    writer.write(said[: len(said) - 3])
    await writer.drain()
    writer.close()


async def dripping(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Say one byte after the other, and never all of them in time."""
    for byte in doubled(asked)[:-1]:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.01)
    await asyncio.sleep(HANG_S)


async def hanging(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(HANG_S)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    latest = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < latest
        await asyncio.sleep(0.001)


class Elsewhere:
    """The server; `behave` may be set at any time, and `asked` is what it was asked so far."""

    def __init__(self, behave: Behaviour = well, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.asked: list[Asked] = []
        self.gone = 0  # how many askers left without their answers
        self.port = 0
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.revive()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    @property
    def inferences(self) -> list[Asked]:
        return [one for one in self.asked if one.is_infer]

    def die(self) -> None:
        """Refuse connections, and reset those there are."""
        self._run(self._die())

    def revive(self) -> None:
        """Listen, where it did before."""
        self._run(self._listen())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, reuse_address=True, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _die(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (asked := await _read(reader)) is not None:
                self.asked.append(asked)
                await self._answer(asked, reader, writer)
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # whoever asked has left, or the scene is over
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(
        self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Behave, but no longer than anybody waits."""
        said = asyncio.ensure_future(self.behave(asked, writer))
        left = asyncio.ensure_future(reader.read(1))  # nobody pipelines: it is the end
        try:
            await asyncio.wait((said, left), return_when=asyncio.FIRST_COMPLETED)
            if not said.done():
                self.gone += 1
                raise ConnectionResetError
            await said
            await writer.drain()
            if left.done():
                raise ConnectionResetError
        finally:
            said.cancel()
            left.cancel()
            await asyncio.gather(said, left, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (s.partition(":") for s in lines)}
    method, path, _ = first.split()
    return Asked(
        method, path, headers, await reader.readexactly(int(headers.get("content-length", 0)))
    )


def declared(*urls: str, rows: int = 8, **keys: Any) -> str:
    """A `model.toml` of the model, run at these URLs; keys are those of the table `remote`."""
    told = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    return (
        f'[batching]\nmax_batch_size = {rows}\n\n[execution]\nexecutor = "remote"\n\n'
        f"[remote]\nendpoints = {json.dumps(list(urls))}\n{told}{TENSORS}"
    )


def write_remote(root: Path, *urls: str, name: str = "twice", rows: int = 8, **keys: Any) -> Path:
    """Write a model that is run at these URLs; return `root`."""
    folder = root / name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(declared(*urls, rows=rows, **keys))
    return root
