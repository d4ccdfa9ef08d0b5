"""Sliding: two counts over the last few seconds.

Job    add to them, and tell their totals.
Life   a value; each event makes the next one.
Never  keeps more than its buckets: the oldest leaves as a new one begins.
"""

from dataclasses import dataclass, replace

Pair = tuple[int, int]

_NOTHING: Pair = (0, 0)


@dataclass(frozen=True, slots=True)
class Sliding:
    """Counts in buckets of `bucket_s` seconds, the newest of them last.

    The span is as long as the buckets together, less what of the newest is still to come.
    """

    bucket_s: float
    buckets: tuple[Pair, ...]
    newest: int = 0  # how many buckets of time there were before it

    @classmethod
    def over(cls, span_s: float, buckets: int) -> "Sliding":
        """Return one that has counted nothing yet."""
        return cls(span_s / buckets, (_NOTHING,) * buckets)

    def plus(self, now: float, first: int = 0, second: int = 0) -> "Sliding":
        """Return the counts with so many more, now."""
        moved = self._moved(now)
        *older, (a, b) = moved.buckets
        return replace(moved, buckets=(*older, (a + first, b + second)))

    def totals(self, now: float) -> Pair:
        """Return both counts over the span that ends now."""
        buckets = self._moved(now).buckets
        return sum([one for one, _ in buckets]), sum([other for _, other in buckets])

    def _moved(self, now: float) -> "Sliding":
        newest = int(now // self.bucket_s)
        passed = newest - self.newest
        if passed <= 0:  # within the newest, or a clock that another core has rounded
            return self
        size = len(self.buckets)
        kept = self.buckets[min(passed, size) :]
        return replace(self, buckets=kept + (_NOTHING,) * (size - len(kept)), newest=newest)
