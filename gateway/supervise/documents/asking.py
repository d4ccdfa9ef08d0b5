"""Asking: what documents look like in Redis, and the commands that ask for them.

Job    names of keys, and commands with their scripts.
Life   values; pure functions.
Never  talks to anybody.

    <prefix>:newest           hash: model -> its newest revision
    <prefix>:history:<model>  list: documents, newest first, the last MOST_REVISIONS
    <prefix>:changed          channel: the name of a model that somebody wrote

Source: Redis' EVAL runs a script alone, and does not undo what it did before an error. So
what may be of a wrong type is touched first: the hash is read, then the list is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway.core.documents import Document
from gateway.supervise.documents.store import MOST_REVISIONS
from gateway.supervise.documents.texts import text_of

T = TypeVar("T")

_MOST_AT_ONCE = 200  # commands, so that their replies come within the time of one
Command = tuple[str | bytes | int, ...]

_PUT = """
redis.call('LPUSH', KEYS[2], ARGV[3])
redis.call('LTRIM', KEYS[2], 0, ARGV[4] - 1)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PUBLISH', KEYS[3], ARGV[1])
return {1, '', ''}
"""
_WRITE = f"""
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if (tonumber(stored or '0') or 0) + 1 ~= tonumber(ARGV[2]) then
    return {{0, stored or '', redis.call('LINDEX', KEYS[2], 0) or ''}}
end
{_PUT}"""
_GIVE_BACK = f"""
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if (tonumber(stored or '0') or 0) >= tonumber(ARGV[2]) then
    return {{0, '', ''}}
end
{_PUT}"""


@dataclass(frozen=True, slots=True)
class Asking:
    """The commands under one prefix."""

    prefix: str

    @property
    def channel(self) -> str:
        """Where it is said that a model was written."""
        return f"{self.prefix}:changed"

    def table(self) -> Command:
        """Ask for the newest revision of every model."""
        return "HGETALL", f"{self.prefix}:newest"

    def newest(self, model: str) -> Command:
        """Ask for a model's newest document."""
        return "LINDEX", self._history(model), 0

    def history(self, model: str) -> Command:
        """Ask for all documents of a model that are kept."""
        return "LRANGE", self._history(model), 0, MOST_REVISIONS - 1

    def write(self, document: Document) -> Command:
        """Have a document written that is one above the newest.

        Answered by (1, -, -), or by (0, the newest revision, the newest document).
        """
        return self._put(_WRITE, document)

    def give_back(self, document: Document) -> Command:
        """Have a document written that is anything above the newest. Answered by (1 or 0, …)."""
        return self._put(_GIVE_BACK, document)

    def _history(self, model: str) -> str:
        return f"{self.prefix}:history:{model}"

    def _put(self, script: str, document: Document) -> Command:
        keys = (f"{self.prefix}:newest", self._history(document.model), self.channel)
        values = (document.model, document.revision, text_of(document), MOST_REVISIONS)
        return "EVAL", script, len(keys), *keys, *values


def portions(whole: Sequence[T]) -> Sequence[Sequence[T]]:
    """Return `whole` in parts, each of which can be asked for at once."""
    return [whole[at : at + _MOST_AT_ONCE] for at in range(0, len(whole), _MOST_AT_ONCE)]
