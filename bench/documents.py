"""Routing documents of a running gateway, changed as an operator changes them.

Job    read the document in force; put another in its place, and say how long that took.
Never  hides a refusal: it raises.
"""

import http.client
import json
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from bench import managed
from bench.launch import Server

Json = dict[str, Any]


class PutRefused(RuntimeError):
    """The gateway did not take a document; the message is what it said."""


class Change(NamedTuple):
    """A document as it is in force, and the time from the request to that answer."""

    document: Json
    took_s: float


def in_force(server: Server, model: str) -> Json:
    """Return a model's document. Raises: PutRefused."""
    return _ask(server, "GET", model, None, {})


def put(server: Server, before: Json, **members: Any) -> Change:
    """Change members of the document `before`, which must be in force. Raises: PutRefused."""
    reason = f"bench, after revision {before['revision']}"
    body = json.dumps({**before, "reason": reason, **members}).encode()
    headers = {"if-match": f'"{before["revision"]}"', "content-type": "application/json"}
    started = perf_counter()
    document = _ask(server, "PUT", before["model"], body, headers)
    return Change(document, perf_counter() - started)


def variants(versions: Sequence[str], canary_percent: float) -> list[Json]:
    """Return the members `stable` and `canary`; with one version there is no canary."""
    names = ("stable", "canary")[: len(versions)]
    weights = (100 - canary_percent, canary_percent) if len(versions) > 1 else (100,)
    return [
        {"name": name, "version": version, "weight": weight}
        for name, version, weight in zip(names, versions, weights, strict=True)
    ]


def _ask(
    server: Server, method: str, model: str, body: bytes | None, headers: Mapping[str, str]
) -> Json:
    connection = managed.connect(server)
    try:
        connection.request(method, f"/admin/v1/models/{model}/routes", body, dict(headers))
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise PutRefused(f"{method} of the document of {model}: {answer.status} {said[:500]!r}")
    document: Json = json.loads(said)
    return document
