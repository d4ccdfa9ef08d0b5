"""Inside: a process answers each question once, whatever its model does short of killing it."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from gateway.errors import ModelFailed
from gateway.execute import parcels
from gateway.execute.inside import Inside
from gateway.execute.parcels import Head, Kind
from gateway.execute.shared import Shared
from gateway.types import Array, Outputs
from tests.execute.child import TWICE
from tests.fakes import a_call, first_column

_WAIT_S = 30.0
Act = Callable[[Array], Array]


class Outside:
    """The other side: asks in a thread of its own what is answered in the test's."""

    def __init__(self) -> None:
        self.shared = Shared.create(4096)
        self.ask, self.answered = os.eventfd(0), os.eventfd(0)
        self.inside = Inside(os.dup(self.shared.fd), self.ask, self.answered)
        self._number = 0

    def question(self, kind: Kind, stop: int = 128) -> None:
        self._number += 1
        parcels.write_question(self.shared, Head(kind, self._number, stop=stop))
        os.eventfd_write(self.ask, 1)

    def answer(self) -> Head:
        os.eventfd_read(self.answered)
        head = parcels.read_answer(self.shared)
        assert head.number == self._number
        return head

    def text(self) -> str:
        head = self.answer()
        return parcels.text_of(self.shared, head).decode()

    def run(self, *rows: float, width: int = 1) -> Head:
        self.question(Kind.RUN, parcels.put_calls(self.shared, [a_call(*rows, width=width)], TWICE))
        return self.answer()

    def rows(self, head: Head) -> list[float]:
        assert head.kind == Kind.DONE
        (array,) = parcels.arrays_of(self.shared, head, TWICE.outputs)
        return first_column(array)


class Model:
    signature = TWICE

    def __init__(self, act: Act) -> None:
        self._act = act

    def execute_joined(self, arrays: Sequence[Array], calls: int, started_ns: int) -> Outputs:
        return Outputs([self._act(arrays[0])], calls, input_ns=11, infer_ns=22, output_ns=33)


@contextmanager
def outside(act: Act) -> Iterator[Outside]:
    """Serve a model in a thread; it must have ended when the block is left."""
    made = Outside()
    thread = threading.Thread(target=made.inside.serve, args=(Model(act),), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.question(Kind.END)
        thread.join(_WAIT_S)
        assert not thread.is_alive()
        made.shared.close()
        for fd in (made.ask, made.answered):
            os.close(fd)


def doubled(array: Array) -> Array:
    found: Array = array * np.float32(2)
    return found


def test_what_is_asked_is_run_and_answered_with_the_times_that_it_took() -> None:
    with outside(doubled) as asking:
        head = asking.run(1, 2, 3)
        assert asking.rows(head) == [2, 4, 6]
        input_ns, infer_ns, output_ns, cpu_ns = head.times_ns
        assert (input_ns, infer_ns) == (11, 22)
        assert output_ns > 33  # and what it took to lay them down
        assert cpu_ns > 0


def test_larger_batches_than_there_was_memory_for_are_answered() -> None:
    with outside(doubled) as asking:
        for width in (1, 1000, 3, 1024):
            assert asking.rows(asking.run(1, 2, width=width)) == [2, 4]


def test_an_output_that_is_an_input_is_answered_as_it_was() -> None:
    with outside(lambda array: array[::-1]) as asking:
        assert asking.rows(asking.run(1, 2, 3)) == [3, 2, 1]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModelFailed("output 'y' is no number"), "output 'y' is no number"),
        (RuntimeError("a folder of ours"), "the model failed"),
        (MemoryError(), "the model needs more memory than its process may have"),
        (ModelFailed("std::bad_alloc"), "the model needs more memory than its process may have"),
    ],
)
def test_what_a_model_raises_is_answered_in_words_that_callers_may_hear(
    error: Exception, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(array: Array) -> Array:
        if array[0, 0] == 1:
            raise error
        return doubled(array)

    with outside(fail) as asking:
        head = asking.run(1)
        assert head.kind == Kind.FAILED
        assert parcels.text_of(asking.shared, head).decode() == expected
        assert asking.rows(asking.run(2)) == [4]  # and it goes on
    assert ("in a way we did not name" in caplog.text) == (not isinstance(error, ModelFailed))


def test_a_process_says_that_it_is_ready_or_why_not() -> None:
    asking = Outside()
    asking.question(Kind.OPEN, parcels.put_text(asking.shared, b"a version"))
    assert asking.inside.opening() == b"a version"
    asking.inside.ready()
    assert asking.answer().kind == Kind.READY
    asking.inside.refuse("it is no model")
    assert asking.text() == "it is no model"
    asking.shared.close()
