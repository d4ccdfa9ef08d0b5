"""Inside: the loop of a process that runs one version for its replica.

Job    wait for the bell, run what lies in the shared memory, lay the outputs beside it, ring.
Life   as long as it is asked; it ends when it is told to, or is killed.
Never  runs two executions at once; keeps anything of one when the next begins.
"""

import logging
import os
import time
from collections.abc import Sequence
from typing import Protocol

from gateway.errors import ModelFailed
from gateway.execute import parcels
from gateway.execute.parcels import Head, Kind
from gateway.execute.session import is_out_of_memory
from gateway.execute.shared import Shared
from gateway.types import Array, Outputs, Signature

_UNNAMED = "the model failed"

_log = logging.getLogger(__name__)


class Joined(Protocol):
    """What runs rows that were joined already: a Session."""

    signature: Signature

    def execute_joined(self, arrays: Sequence[Array], calls: int, started_ns: int) -> Outputs: ...


class Inside:
    """Answers each question once, in its turn.

    Mutable state: the question that is being answered.
    """

    def __init__(self, memory: int, asked: int, answered: int) -> None:
        """The descriptors of the memory, and of the bells: ours to hear, and to ring."""
        self._shared = Shared(memory)
        self._asked = asked
        self._answered = answered
        self._question = Head(0, 0)

    def opening(self) -> bytes:
        """Wait for the first question, and return what it says."""
        self._wait()
        return parcels.text_of(self._shared, self._question)

    def ready(self) -> None:
        """Answer that the version is loaded and warm."""
        self._answer(Kind.READY)

    def refuse(self, reason: str) -> None:
        """Answer that it cannot be loaded."""
        self._say(Kind.REFUSED, reason)

    def serve(self, session: Joined) -> None:
        """Run what is asked until told to end."""
        while self._wait() == Kind.RUN:
            try:
                self._run(session)
            except Exception as error:  # noqa: BLE001 - a model may raise anything
                if not isinstance(error, ModelFailed):
                    _log.exception("an execution failed in a way we did not name")
                self._say(Kind.FAILED, _told(error))

    def _run(self, session: Joined) -> None:
        started_ns = time.perf_counter_ns()
        shared, question, signature = self._shared, self._question, session.signature
        arrays = parcels.arrays_of(shared, question, signature.inputs)
        outputs = session.execute_joined(arrays, 1, started_ns)
        laid_ns = time.perf_counter_ns()
        stop = parcels.put_arrays(shared, outputs.arrays, signature.outputs, question.stop)
        output_ns = outputs.output_ns + time.perf_counter_ns() - laid_ns
        self._answer(Kind.DONE, stop, (outputs.input_ns, outputs.infer_ns, output_ns))

    def _wait(self) -> int:
        os.eventfd_read(self._asked)
        self._question = parcels.read_question(self._shared)
        return self._question.kind

    def _say(self, kind: Kind, text: str) -> None:
        told = text.encode("utf-8", "replace")
        self._answer(kind, parcels.put_text(self._shared, told, self._question.stop))

    def _answer(
        self, kind: Kind, stop: int = 0, times_ns: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        start = self._question.stop
        head = Head(
            kind, self._question.number, start, stop or start, (*times_ns, time.process_time_ns())
        )
        parcels.write_answer(self._shared, head)
        os.eventfd_write(self._answered, 1)


def _told(error: Exception) -> str:
    """Return what a caller may hear of an error."""
    if is_out_of_memory(error):
        return "the model needs more memory than its process may have"
    return str(error) if isinstance(error, ModelFailed) else _UNNAMED
