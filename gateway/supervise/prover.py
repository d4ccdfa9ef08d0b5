"""Prover: versions proved in a disposable child, so that none can harm who proves it.

Job    hand one version after another to a child, and say what became of each.
Life   `async with`; a child is started for the first version, serves the next ones too,
       and is let go when there were none for a while. Leaving kills it.
Never  opens a model; waits longer than its timeout; leaves a process unreaped.

A child that dies takes one version's trial with it and nothing else: the next version
gets a new child. What the child told last is what it was doing, and is part of the
reason. Its end is heard through a pidfd: no signal handler, no polling, no thread.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gateway.config import Config
from gateway.config.bounds import bounds_of
from gateway.control.channel import Broken, Channel, open_channel
from gateway.control.trial import (
    FROM_CHILD,
    TO_CHILD,
    At,
    FromChild,
    Prove,
    Proved,
    Ready,
    Refused,
)
from gateway.core.costs import Bounds
from gateway.repository.proof import Found, Proof
from gateway.supervise.allocator import without_settings
from gateway.supervise.signals import signal_name
from gateway.supervise.spare import spare_bytes

COMMAND = (sys.executable, "-P", "-m", "gateway.app.proving")
_SPARE_RATIO = 0.8  # of the memory that is nobody's yet: the others grow meanwhile
_GRACE_S = 5.0  # from the end of a child's answers to its own end


class Unproven(Exception):
    """A version did not pass; the message is the reason, for its operator."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What one trial may take.

    Units: `memory_bytes` is what the model may use beyond the child's own; it covers
    weights, what the optimiser makes of them, and the largest batch. Where less is spare,
    it may use less.
    """

    timeout_s: float = 60.0
    start_timeout_s: float = 60.0  # the imports, on a machine that is busy serving
    idle_s: float = 10.0
    memory_bytes: int = 4 << 30


class Prover:
    """Proves one version at a time.

    Mutable state: the child there is, its timer, and what a SIGHUP may change.
    """

    def __init__(
        self,
        bounds: Bounds,
        platform: str,
        patience: Patience = Patience(),
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._bounds = bounds
        self._platform = platform
        self._patience = patience
        self._command = command
        self._turn = asyncio.Lock()
        self._child: _Child | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill the child; whoever waits for it hears that its version is unproven."""
        self._is_closed = True
        self._stay_awake()
        if self._child is not None:
            await self._child.end()

    def adopt(self, config: Config) -> None:
        """Prove by these settings from the next version on."""
        self._bounds, self._platform = bounds_of(config), config.platform
        self._patience = _patience_of(config)

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return self._child.pid if self._child is not None and self._child.is_usable else None

    async def prove(self, found: Found) -> Proof:
        """Have a version proved.

        Raises: Unproven.
        Cancel: the child is killed and reaped before the cancellation goes on.
        """
        async with self._turn:
            self._stay_awake()
            request = Prove(found, self._bounds, self._platform, self._memory_bytes())
            answer: Proved | Refused | None = None
            try:
                answer = await self._try(request)
            finally:
                if answer is None:
                    await self._dismiss()
                else:
                    loop = asyncio.get_running_loop()
                    self._idle = loop.call_later(self._patience.idle_s, self._fall_asleep)
        if isinstance(answer, Refused):
            raise Unproven(answer.reason)
        return answer.proof

    async def _try(self, request: Prove) -> Proved | Refused:
        onnx, patience = request.found.onnx, self._patience
        is_new = self.pid is None
        child = await self._ready_child(onnx)
        try:
            async with asyncio.timeout(patience.timeout_s):
                answer = await child.ask(request)
        except TimeoutError:
            why = f"not done after {patience.timeout_s:g} s"
            raise Unproven(f"{onnx}: hung while {child.step}: {why}") from None
        except ValueError as error:  # a folder with a name that is no text; a child that babbles
            raise Unproven(f"{onnx}: cannot be proved: {error}") from error
        if answer is not None:
            return answer
        if not is_new and not child.has_begun:  # it died before it saw this version
            await self._dismiss()
            return await self._try(request)
        most = f" (of memory it might have {request.memory_bytes >> 20} MiB)"
        raise Unproven(f"{onnx}: {await self._obituary(child, most)}")

    def _memory_bytes(self) -> int:
        most, spare = self._patience.memory_bytes, spare_bytes()
        return most if spare is None else min(most, int(spare * _SPARE_RATIO))

    async def _ready_child(self, onnx: Path) -> "_Child":
        """Return the child there is, or a new one. Raises: Unproven."""
        if self._child is not None and self._child.is_usable:
            return self._child
        await self._dismiss()
        if self._is_closed:
            raise Unproven(f"{onnx}: the gateway is ending")
        start_s = self._patience.start_timeout_s
        try:
            async with asyncio.timeout(start_s):
                self._child = await _Child.spawn(self._command)
                is_ready = await self._child.is_ready()
        except TimeoutError:
            raise Unproven(f"{onnx}: no proving process was ready after {start_s:g} s") from None
        except (OSError, ValueError) as error:
            raise Unproven(f"{onnx}: no proving process could be started: {error}") from error
        if not is_ready:
            raise Unproven(f"{onnx}: {await self._obituary(self._child, '')}")
        return self._child

    async def _obituary(self, child: "_Child", most: str) -> str:
        """Say how a child ended, what it was doing, and `most` if it may have wanted more."""
        code = await child.ended(_GRACE_S)
        if self._is_closed:
            return "the gateway is ending"
        if code >= 0:
            return f"the proving process ended with code {code} while {child.step}"
        name = signal_name(-code)
        hint = most if -code in (signal.SIGKILL, signal.SIGABRT) else ""
        return f"killed by {name} while {child.step}{hint}"

    async def _dismiss(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end()

    def _fall_asleep(self) -> None:
        """Let an idle child go: it costs memory. It is reaped when its end is heard."""
        self._idle = None
        if self._child is not None:
            self._child.kill()

    def _stay_awake(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


def prover_of(config: Config) -> Prover:
    """Return one with the limits and the bounds of a configuration."""
    return Prover(bounds_of(config), config.platform, _patience_of(config))


def _patience_of(config: Config) -> Patience:
    repository = config.repository
    return Patience(repository.proof_timeout_s, memory_bytes=repository.proof_max_bytes)


class _Child:
    """One process; mutable state: the step that it told last."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", channel: Channel[Prove, FromChild]
    ) -> None:
        self.step = "starting"
        self.has_begun = False  # with the version that it was asked for last
        self._process = process
        self._channel = channel
        self._was_killed = False
        self._loop = asyncio.get_running_loop()
        self._code: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    @classmethod
    async def spawn(cls, command: Sequence[str]) -> Self:
        """Start a process that ends with this thread at the latest. Raises: OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            channel = await open_channel(ours, TO_CHILD, FROM_CHILD)
            try:
                process = subprocess.Popen(  # noqa: ASYNC220, S603 - milliseconds; our own program
                    [*command, "--parent", str(os.getpid())],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    env=without_settings(os.environ),
                    process_group=0,  # a Ctrl-C is for the supervisor
                )
            except OSError:
                channel.close()
                raise
        return cls(process, channel)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        return not self._was_killed and not self._code.done()

    async def is_ready(self) -> bool:
        """Wait until it runs our code; say whether it does. Raises: ValueError. Cancel: safe."""
        return isinstance(await self._channel.receive(), Ready)

    async def ask(self, request: Prove) -> Proved | Refused | None:
        """Return the answer, or None when the child will give none.

        Raises: ValueError where the request cannot be sent, or the answer is no message.
        Cancel: the child is of no further use.
        """
        self.step, self.has_begun = "reading the request", False
        with suppress(Broken):
            self._channel.send(request)
        while (message := await self._channel.receive()) is not None:
            if isinstance(message, Proved | Refused):
                return message
            if isinstance(message, At):
                self.step, self.has_begun = message.step, True
        return None

    async def ended(self, grace_s: float) -> int:
        """Return the exit code, negative for a signal; after `grace_s` the child is killed."""
        await asyncio.wait([self._code], timeout=grace_s)
        self.kill()
        return await asyncio.shield(self._code)

    def kill(self) -> None:
        """End the process now, if it has not ended."""
        if self.is_usable:
            self._was_killed = True
            self._process.kill()

    async def end(self) -> None:
        """Kill the process, reap it and hang up."""
        self.kill()
        await asyncio.shield(self._code)
        self._channel.close()

    def _reap(self) -> None:
        # The channel stays open: what the child told last is still in it.
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._code.set_result(self._process.wait())
