"""A management port in a thread, for commands to ask."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.config import Config
from gateway.supervise.management.listening import open_management
from tests.supervise.management.offices import FakeOffice
from tests.wire.harness import WAIT_S


@contextmanager
def managing(office: FakeOffice, **settings: Any) -> Iterator[str]:
    """Answer for `office` on a free port until the block is left; give the address of it."""
    config = Config.model_validate(settings)
    started, loops = threading.Event(), list[asyncio.AbstractEventLoop]()

    async def serve(listener: socket.socket) -> None:
        async with open_management(office, config, [listener]):
            loop = asyncio.get_running_loop()
            loops.append(loop)
            started.set()
            await ended.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = asyncio.Event()
        thread = threading.Thread(target=lambda: asyncio.run(serve(listener)))
        thread.start()
        try:
            assert started.wait(WAIT_S)
            scheme = "http" if config.admin_tls.certfile is None else "https"
            yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for loop in loops:
                loop.call_soon_threadsafe(ended.set)
            thread.join(WAIT_S)
            assert not thread.is_alive()
