"""Waiting: calls of which a shadow may be asked, once their callers have been answered.

Job    hold the latest of them, within a number and a size; give out what may be asked together.
Life   its mirror's, on the loop.
Never  holds back an answer, or counts what had no good one: those are no evidence.
"""

from collections import deque

from gateway.types import Call, Outputs, Payload

_STRING_BYTES = 64  # what a Python string takes beside its characters, about


class Waiting:
    """The oldest make room for the latest; who is alone has room, however large.

    A call that waits keeps the outputs alive that answered it, together with its mates'. As a
    call is pushed before it has any, it is given the size of the last ones taken.

    Mutable state: the calls with their sizes, oldest first, the sum, and that last size.
    """

    __slots__ = ("_answer_bytes", "_bytes", "_calls", "_max_bytes", "_max_calls", "_ratio")

    def __init__(self, max_calls: int, max_bytes: int, sample_ratio: float) -> None:
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._ratio = sample_ratio
        self._calls: deque[tuple[Call, int]] = deque()
        self._bytes = 0
        self._answer_bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def size_bytes(self) -> int:
        """Return what the calls keep in memory, about."""
        return self._bytes

    def push(self, call: Call) -> int:
        """Hold `call`; return how many were dropped for it."""
        size = self._answer_bytes
        for payload in call.payloads:
            size += len(payload) if type(payload) is bytes else _size_bytes(payload)
        self._calls.append((call, size))
        self._bytes += size
        dropped = 0
        while len(self._calls) > self._max_calls or (
            self._bytes > self._max_bytes and len(self._calls) > 1
        ):
            dropped += self._drop()
        return dropped

    def take(self, max_rows: int) -> list[Call]:
        """Take the oldest answered calls of one version and equal shapes; none if there are none.

        Shapes: no more than `max_rows` rows, unless the first has more. A model without a batch
        axis is given one call.
        """
        taken: list[Call] = []
        left: deque[tuple[Call, int]] = deque()
        rows, version, shapes = 0, None, None
        while self._calls:
            call, size = pair = self._calls.popleft()
            if call.done and call.outputs is None:
                self._bytes -= size  # failed, refused or abandoned
            elif not call.done or (
                taken and (call.arm.version is not version or call.shapes != shapes)
            ):
                left.append(pair)
            elif taken and rows + call.rows > max_rows:
                left.append(pair)
                break
            else:
                taken.append(call)
                rows += call.rows
                self._bytes -= size
                version, shapes = call.arm.version, call.shapes
                if not version.signature.max_batch_rows:
                    break
        left.extend(self._calls)
        self._calls = left
        if taken:
            self._answer_bytes = self._share_bytes(taken[0].outputs)
        return taken

    def clear(self) -> int:
        """Drop all; return how many."""
        return sum([self._drop() for _ in range(len(self._calls))])

    def _drop(self) -> int:
        call, size = self._calls.popleft()
        self._bytes -= size
        return call.error is None

    def _share_bytes(self, outputs: Outputs | None) -> int:
        """Return what one call that waits keeps of an execution's outputs.

        Where all of its calls wait, each keeps its share; where few do, one keeps all of it.
        """
        assert outputs is not None, "only answered calls are taken"
        held = max(1.0, outputs.calls * self._ratio)
        return round(sum(array.nbytes for array in outputs.arrays) / held)


def _size_bytes(payload: Payload) -> int:
    if isinstance(payload, list):
        return sum(map(len, payload)) + _STRING_BYTES * len(payload)
    return payload.nbytes if isinstance(payload, memoryview) else len(payload)
