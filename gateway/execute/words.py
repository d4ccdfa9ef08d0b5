"""Words: what ONNX Runtime says of a failure, as others may read it.

Job    one line: in our words where it is too old, and without the places in its sources.
Life   pure functions.
"""

import re

# What it says where it is too old for a model: (its words, ours).
_UNKNOWN = (
    (
        re.compile(r"Opset (\d+) is under development.* domain (\S+) is till opset (\d+)"),
        r"opset \1 of \2 is unknown to this ONNX Runtime: expected at most \3, got \1",
    ),
    (
        re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"),
        r"IR version \1 is unknown to this ONNX Runtime: expected at most \2, got \1",
    ),
)
# A line of its sources, and the function there, which it names in either of two ways.
_SEEN_AT = re.compile(r"\S+\.(?:h|cc|cpp):\d+ (?:[^()]*::[^()]*\([^()]*\)(?: const)? |\w+ )?")


def why_not_opened(error: Exception) -> str:
    """Return why a model cannot be opened."""
    line = _first_line(error)
    for words, ours in _UNKNOWN:
        if match := words.search(line):
            return match.expand(ours)
    return line


def what_failed(error: Exception) -> str:
    """Return what a caller hears of an execution that failed."""
    return _SEEN_AT.sub("", _first_line(error))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
