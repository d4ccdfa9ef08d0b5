"""Waiting: calls of which a shadow may be asked, once their callers have been answered.

Job    hold the latest of them, within a number and a size; give out what may be asked together.
Life   its mirror's, on the loop.
Never  holds back an answer, or counts what had no good one: those are no evidence.
"""

from collections import deque

from gateway.types import Call, Outputs, Payload

_STRING_BYTES = 64  # what a Python string takes beside its characters, about


class _Held:
    """A call that waits. `size` is what it was asked with; `outputs` are known once weighed."""

    __slots__ = ("call", "outputs", "size")

    def __init__(self, call: Call, size: int) -> None:
        self.call = call
        self.size = size
        self.outputs: Outputs | None = None


class Waiting:
    """The oldest make room for the latest; who is alone has room, however large.

    A call that waits keeps the outputs alive that answered it, together with its mates'. As a
    call is pushed before it has any, it is taken to have its share of the last ones seen, until
    it is answered and weighed: then an execution's outputs count once, as long as any of its
    calls waits.

    Mutable state: the calls, oldest first; what those that were weighed keep, each with how
    many of them do; how many were not weighed; the sum; and the share of the last ones.
    """

    __slots__ = (
        "_answer_bytes", "_bytes", "_calls", "_kept", "_max_bytes", "_max_calls", "_ratio",
        "_unweighed",
    )  # fmt: skip

    def __init__(self, max_calls: int, max_bytes: int, sample_ratio: float) -> None:
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._ratio = sample_ratio
        self._calls: deque[_Held] = deque()
        self._kept: dict[Outputs, int] = {}
        self._unweighed = 0
        self._bytes = 0  # of what was asked, and of the outputs that were weighed
        self._answer_bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def unweighed(self) -> int:
        """Return of how many calls it is not known what they keep."""
        return self._unweighed

    @property
    def size_bytes(self) -> int:
        """Return what the calls keep in memory, about."""
        return self._bytes + self._unweighed * self._answer_bytes

    def push(self, call: Call) -> int:
        """Hold `call`; return how many were dropped for it."""
        size = 0
        for payload in call.payloads:
            size += len(payload) if type(payload) is bytes else _size_bytes(payload)
        self._calls.append(_Held(call, size))
        self._unweighed += 1
        self._bytes += size
        return self._make_room()

    def weigh(self) -> int:
        """Weigh what was answered meanwhile; return how many were dropped for its size.

        What failed meanwhile is let go, and counts for nothing.
        """
        if self._unweighed:
            failed = False
            for held in self._calls:
                call = held.call
                if held.outputs is None and call.done:
                    if call.outputs is None:
                        failed = True
                    else:
                        self._keep(held, call.outputs)
            if failed:
                self._forget_failed()
        return self._make_room()

    def take(self, max_rows: int) -> list[Call]:
        """Take the oldest answered calls of one version and equal shapes; none if there are none.

        Shapes: no more than `max_rows` rows, unless the first has more. A model without a batch
        axis is given one call.
        """
        taken: list[Call] = []
        left: deque[_Held] = deque()
        rows, version, shapes = 0, None, None
        while self._calls:
            held = self._calls.popleft()
            call = held.call
            if call.done and call.outputs is None:
                self._release(held)  # failed, refused or abandoned
            elif not call.done or (
                taken and (call.arm.version is not version or call.shapes != shapes)
            ):
                left.append(held)
            elif taken and rows + call.rows > max_rows:
                left.append(held)
                break
            else:
                taken.append(call)
                rows += call.rows
                self._release(held)
                version, shapes = call.arm.version, call.shapes
                if not version.signature.max_batch_rows:
                    break
        left.extend(self._calls)
        self._calls = left
        if taken and taken[0].outputs is not None:
            self._answer_bytes = self._share_bytes(taken[0].outputs)
        return taken

    def clear(self) -> int:
        """Drop all; return how many."""
        return sum([self._drop() for _ in range(len(self._calls))])

    def _make_room(self) -> int:
        dropped = 0
        while len(self._calls) > self._max_calls or (
            self.size_bytes > self._max_bytes and len(self._calls) > 1
        ):
            dropped += self._drop()
        return dropped

    def _drop(self) -> int:
        held = self._calls.popleft()
        self._release(held)
        return held.call.error is None

    def _forget_failed(self) -> None:
        left: deque[_Held] = deque()
        for held in self._calls:
            if held.call.error is None:
                left.append(held)
            else:
                self._release(held)
        self._calls = left

    def _keep(self, held: _Held, outputs: Outputs) -> None:
        held.outputs = outputs
        self._unweighed -= 1
        calls = self._kept.get(outputs, 0)
        self._kept[outputs] = calls + 1
        if not calls:
            self._bytes += _outputs_bytes(outputs)
            self._answer_bytes = self._share_bytes(outputs)

    def _release(self, held: _Held) -> None:
        self._bytes -= held.size
        outputs = held.outputs
        if outputs is None:
            self._unweighed -= 1
            return
        calls = self._kept.pop(outputs) - 1
        if calls:
            self._kept[outputs] = calls
        else:
            self._bytes -= _outputs_bytes(outputs)

    def _share_bytes(self, outputs: Outputs) -> int:
        """Return what one call that waits keeps of an execution's outputs.

        Where all of its calls wait, each keeps its share; where few do, one keeps all of it.
        """
        held = max(1.0, outputs.calls * self._ratio)
        return round(_outputs_bytes(outputs) / held)


def _outputs_bytes(outputs: Outputs) -> int:
    return sum([array.nbytes for array in outputs.arrays])


def _size_bytes(payload: Payload) -> int:
    if isinstance(payload, list):
        return sum(map(len, payload)) + _STRING_BYTES * len(payload)
    return payload.nbytes if isinstance(payload, memoryview) else len(payload)
