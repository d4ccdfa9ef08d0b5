"""Reasons: what is wrong with a version, in as many words as somebody reads.

Job    cut what strangers wrote to what fits into a sentence, and many faults to the first.
Life   pure functions.
Never  grows with what it is told of: a reason goes into logs, answers and messages.
"""

from collections.abc import Collection
from itertools import islice

_MOST_FAULTS = 10
_MOST_BYTES = 4096
_MOST_QUOTED_CHARS = 100
_MORE_BYTES = 32  # for "and so many more"
_GAP = " … "


def brief(text: object) -> str:
    """Return a foreign text cut to what a message may quote of it."""
    text = str(text)
    return text if len(text) <= _MOST_QUOTED_CHARS else f"{text[:_MOST_QUOTED_CHARS]}…"


def shortened(text: str, most_bytes: int) -> str:
    """Return a text of at most `most_bytes`, without its middle if it has to be.

    Where it lies stands at its beginning, what came stands at its end.
    """
    content = text.encode(errors="backslashreplace")
    if len(content) <= most_bytes:
        return content.decode()
    half = (most_bytes - len(_GAP.encode())) // 2
    parts = content[:half], content[-half:]
    return _GAP.join(part.decode(errors="ignore") for part in parts)


def few(faults: Collection[str]) -> tuple[str, ...]:
    """Return the first ten, 4 KiB in all at most, and how many more there are."""
    told = list(islice(faults, _MOST_FAULTS))
    more = len(faults) - len(told)
    share_bytes = (_MOST_BYTES - _MORE_BYTES) // max(len(told), 1) - 2
    told = [shortened(one, share_bytes) for one in told]
    return (*told, f"and {more} more") if more else tuple(told)


def reason(faults: Collection[str]) -> str:
    """Return several faults as one text of at most 4 KiB."""
    return "; ".join(few(faults))
