"""Endpoints: what a row of the management port's table is made of.

Job    the nouns that a request and its answer pass through.
Never  knows an endpoint.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import orjson

from gateway.supervise.management.guard import Caller, Role

_READ_WITHIN_S = 10.0
_CHANGE_WITHIN_S = 900.0  # proving, loading and warming a large model on every replica

HTML = "text/html; charset=utf-8"
JSON = "application/json"
METRICS = ("text/plain", "application/openmetrics-text")  # the exporter says it in more detail


class Asked(NamedTuple):
    """One request that was let in. `caller` is None where everybody is."""

    caller: Caller | None
    names: Mapping[str, str]  # the variable parts of its path, decoded
    fields: Mapping[bytes, bytes]
    body: bytes
    query: Mapping[str, str] = MappingProxyType({})


class Reply(NamedTuple):
    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row. `role` None lets everybody in; `schema` names what the answer looks like, and
    `body` what a change does. `query` says what each parameter of the query means.

    `content_types` are those that an Accept field may choose from. A probe is asked by
    addresses that nobody configured.
    """

    method: str
    path: str
    role: Role | None
    about: str
    answer: Callable[[Asked], Awaitable[Reply]]
    content_types: tuple[str, ...] = (JSON,)
    schema: str | None = None
    body: str = "Change"
    query: Mapping[str, str] = field(default_factory=dict)
    is_probe: bool = False

    @property
    def within_s(self) -> float:
        """How long it may take, in seconds."""
        return _CHANGE_WITHIN_S if self.role is Role.OPERATOR else _READ_WITHIN_S


def json_reply(content: object, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Return an answer in JSON."""
    return Reply(orjson.dumps(content), JSON, headers)


def html_reply(text: str) -> Reply:
    """Return a page."""
    return Reply(text.encode(), HTML)
