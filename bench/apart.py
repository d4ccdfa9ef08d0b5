"""Apart: measurements that carry the gateway, each in a process of its own.

Job    run a module of the bench on one processor, as a replica is run; read its JSON.
Never  leaves the process behind.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.launch import ROOT, pinned
from gateway.supervise.allocator import with_tunables

END_S = 60.0


class ApartFailed(RuntimeError):
    """The process ended without saying what it was to say; why is on stderr."""


class Apart:
    """A process that says a line of JSON now and then, and can be told to go on."""

    def __init__(self, module: str, process: "subprocess.Popen[str]") -> None:
        self._module = module
        self._process = process

    def hear(self) -> Any:
        """Wait for its next word. Raises: ApartFailed."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ApartFailed(f"{self._module} ended with {self._process.wait(END_S)}")
        return json.loads(line)

    def go_on(self) -> None:
        """Say that it may go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()


@contextmanager
def apart(module: str, words: Sequence[str], cpu: int | None) -> Iterator[Apart]:
    """Run `python -m module words` on `cpu`, or on any, until the block ends."""
    command = pinned([sys.executable, "-m", module, *words], cpu)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=with_tunables(os.environ),
    ) as process:
        try:
            yield Apart(module, process)
        finally:
            if process.poll() is None:
                process.kill()


def told(module: str, words: Sequence[str], cpu: int | None) -> Any:
    """The one thing that such a process says. Raises: ApartFailed."""
    with apart(module, words, cpu) as process:
        return process.hear()
