"""A V2 server that answers anything at once: the far end when HTTP clients are measured.

`python -m bench.v2stub --bytes N` listens on a free port, prints {"port": ...}, and answers each
request, read whole, with one tensor of N bytes in binary, as Triton would.
"""

import argparse
import asyncio
import json
from functools import partial
from typing import cast

import httptools
import uvloop


def answer(size_bytes: int) -> bytes:
    """The whole answer, head and all."""
    tensor = {
        "name": "y",
        "datatype": "FP32",
        "shape": [1, size_bytes // 4],
        "parameters": {"binary_data_size": size_bytes},
    }
    head = json.dumps({"model_name": "m", "model_version": "1", "outputs": [tensor]}).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
        b"inference-header-content-length: %d\r\ncontent-length: %d\r\n\r\n"
        % (len(head), len(head) + size_bytes)
        + head
        + bytes(size_bytes)
    )


class Stub(asyncio.Protocol):
    """One connection."""

    def __init__(self, response: bytes) -> None:
        self._response = response

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(self._response)


async def serve(size_bytes: int) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Stub, answer(size_bytes)), "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


def main() -> None:
    """Listen and serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.v2stub")
    parser.add_argument("--bytes", type=int, required=True)
    uvloop.run(serve(parser.parse_args().bytes))


if __name__ == "__main__":
    main()
