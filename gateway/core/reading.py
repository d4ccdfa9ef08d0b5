"""Reading: a parsed JSON value, part by part, every fault named by its path.

Job    say of a part what it has to be: an object, a list, a text, a number.
Life   places share one list of faults; a part that is not what it has to be adds a sentence
       to it and reads as None, so that its neighbours are read all the same.
Never  raises, recurses, or repeats at length what came: a value may be hostile. What it says
       can always be encoded.
"""

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from gateway.core.versions import is_control

Fault = tuple[str, str]  # (path, what was expected and what came)

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_QUOTE = 60
_LONGEST_NUMBER = 10**20
_MOST_LISTED = 8
_MOST_LIKENED = 256  # faults
_MOST_UNKNOWN = 16  # members that are named; the others are counted


class Missing(Enum):
    """What is not there: null is a value."""

    MISSING = "nothing"


MISSING = Missing.MISSING


@dataclass(frozen=True, slots=True)
class Place:
    """A value, where it lies, and where its faults are written down."""

    value: object
    path: str
    faults: list[Fault]

    def expected(self, what: str) -> None:
        """Say that something else was expected here."""
        self.say(f"expected {what}, got {got(self.value)}")

    def say(self, what: str) -> None:
        """Say what is wrong here."""
        self.faults.append((self.path, what))

    def members(
        self, what: str, known: Sequence[str], ignored: Collection[str] = ()
    ) -> "dict[str, Place] | None":
        """Return a place for each known member, there or not; None if this is no object."""
        if not isinstance(self.value, dict):
            self.expected(what)
            return None
        owner, expected = self.value, {*known, *ignored}
        self._name_unknown([name for name in owner if name not in expected], known)
        return {
            name: Place(owner.get(name, MISSING), f"{self.path}.{name}", self.faults)
            for name in known
        }

    def entries(self, what: str, most: int) -> "list[tuple[str, Place]]":
        """Return names and places of an object with names of its own; [] if it is none."""
        if not isinstance(self.value, dict) or len(self.value) > most:
            self.expected(what)
            return []
        return [
            (name, Place(value, self.path + step(name), self.faults))
            for name, value in self.value.items()
        ]

    def items(self, what: str, fewest: int, most: int) -> "list[Place] | None":
        """Return a place for each item; None if this is no list of so many."""
        if not isinstance(self.value, list) or not fewest <= len(self.value) <= most:
            self.expected(what)
            return None
        return [
            Place(value, f"{self.path}[{at}]", self.faults) for at, value in enumerate(self.value)
        ]

    def text(self, what: str, fewest: int, most: int, allowed: str = "") -> str | None:
        """Return a text of so many characters, none of them a control character not `allowed`."""
        value = self.value
        if (
            isinstance(value, str)
            and fewest <= len(value) <= most
            and not any(one not in allowed and is_control(one) for one in value)
        ):
            return value
        self.expected(what)
        return None

    def matching(self, what: str, pattern: "re.Pattern[str]") -> str | None:
        """Return a text that the whole of `pattern` describes."""
        if isinstance(self.value, str) and pattern.fullmatch(self.value):
            return self.value
        self.expected(what)
        return None

    def number(self, what: str, low: float, high: float) -> float | None:
        """Return a number between two, both included."""
        value = self.value
        # NaN is between no two numbers; True is an int to Python, and no number to JSON.
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.expected(what)
        return None

    def whole(self, what: str, low: int, high: int) -> int | None:
        """Return a whole number between two, both included."""
        value = self.value
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.expected(what)
        return None

    def _name_unknown(self, names: list[str], known: Sequence[str]) -> None:
        for name in names[:_MOST_UNKNOWN]:
            # Looking for likeness is slow: it is for those who misspell, not for those who flood.
            is_likely = len(name) <= _LONGEST_QUOTE and len(self.faults) < _MOST_LIKENED
            near = difflib.get_close_matches(name, known, n=1) if is_likely else []
            what = f"did you mean {near[0]}?" if near else f"expected {listed(known)}"
            self.faults.append((self.path + step(name), f"unknown member; {what}"))
        if len(names) > _MOST_UNKNOWN:
            more = len(names) - _MOST_UNKNOWN
            self.faults.append((self.path, f"{more} more unknown members"))


def got(value: object) -> str:
    """Return how a fault calls a value: its kind, and the value itself if it is short."""
    match value:
        case Missing():
            return value.value
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case int() if abs(value) >= _LONGEST_NUMBER:
            return "a whole number of more than 20 digits"  # Python refuses to print thousands
        case int() | float():
            return str(value)
        case list():
            return f"a list of {len(value)}"
        case _:
            return "an object"


def quoted(text: str) -> str:
    """Return a text between quotes, cut where it is long, what cannot be printed escaped."""
    return repr(text[:_LONGEST_QUOTE]) + "…" * (len(text) > _LONGEST_QUOTE)


def step(name: str) -> str:
    """Return the step of a path that leads to a member of any name."""
    return f".{name}" if _PLAIN_NAME.fullmatch(name) else f"[{quoted(name)}]"


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them: a, b or c."""
    return " or ".join([", ".join(names[:-1]), *names[-1:]]) if names[1:] else "".join(names)


def some(names: Sequence[str]) -> str:
    """Return the first few names."""
    return ", ".join([*names[:_MOST_LISTED], *(["..."] if names[_MOST_LISTED:] else [])])
