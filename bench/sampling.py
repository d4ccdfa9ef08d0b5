"""Sampling: one number of a process, read again and again beside what is being measured."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

EVERY_S = 0.25

Sample = tuple[float, float]  # when, on the monotonic clock, and how much


@contextmanager
def sampled(read: Callable[[], float], every_s: float = EVERY_S) -> Iterator[list[Sample]]:
    """Read until the block ends, in a thread; a process that has gone is read no more."""
    samples: list[Sample] = []
    over = threading.Event()

    def look() -> None:
        with suppress(OSError):
            while not over.wait(every_s):
                samples.append((time.monotonic(), read()))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()
