"""Routing: the management port's endpoints for routing documents.

Job    read and answer what concerns documents, their revisions and their audit.
Life   made once; holds no state of its own.
Never  lets a change through that does not say which revision it changes.

Refusals come in one order: 401 and 403 (the guard's), 404, 428, 412, 400, 409.
"""

import re

from gateway.core.documents import Document, shown
from gateway.errors import Malformed, PreconditionRequired, RevisionConflict
from gateway.supervise.management.bodies import Reasoned, Rollback, read_body
from gateway.supervise.management.endpoints import Asked, Endpoint, Reply, json_reply
from gateway.supervise.management.guard import Role
from gateway.supervise.management.office import AuditView, Office, ShadowView
from gateway.wire import jsontext
from gateway.wire.paths import quoted

_MAX_DEPTH = 16
_MOST_ENTRIES = 1000
_USUAL_ENTRIES = 100
_TAG = re.compile(rb'(W/)?"([^"]*)"')
_UNPRINTABLE = re.compile("[^ -~]")  # or what a store says could begin a field of its own


class Routing:
    """One method an endpoint."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def show(self, asked: Asked) -> Reply:
        return self._reply(self._office.traffic.document(asked.names["model"]))

    async def put(self, asked: Asked) -> Reply:
        current = self._matched(asked)
        raw = jsontext.load(asked.body, _MAX_DEPTH)
        return self._reply(await self._office.traffic.put(current, raw, _who(asked)))

    async def delete(self, asked: Asked) -> Reply:
        current = self._matched(asked)
        reason = read_body(asked.body, Reasoned, '{"reason": "..."}').reason
        return self._reply(await self._office.traffic.delete(current, reason, _who(asked)))

    async def roll_back(self, asked: Asked) -> Reply:
        traffic = self._office.traffic
        is_bound = b"if-match" in asked.fields
        current = self._matched(asked) if is_bound else traffic.document(asked.names["model"])
        told = read_body(asked.body, Rollback, '{"reason": "...", "revision": 3}')
        changed = await traffic.roll_back(current, told.revision, told.reason, _who(asked))
        return self._reply(changed)

    async def revisions(self, asked: Asked) -> Reply:
        kept = await self._office.traffic.revisions(asked.names["model"])
        return json_reply({"revisions": [shown(one) for one in kept]})

    async def shadows(self, asked: Asked) -> Reply:
        shadows = self._office.shadows(asked.names["model"])
        return json_reply({"shadows": [_shadow(one) for one in shadows]})

    async def audit(self, asked: Asked) -> Reply:
        limit = _limit(asked.query.get("limit"))
        entries = await self._office.traffic.audited(limit, asked.query.get("model"))
        return json_reply({"entries": [_entry(one) for one in entries]})

    def _matched(self, asked: Asked) -> Document:
        """Return what a change changes.

        Raises: UnknownModel, NotReady; PreconditionRequired, RevisionConflict.
        """
        current = self._office.traffic.document(asked.names["model"])
        field = asked.fields.get(b"if-match")
        if field is None:
            raise PreconditionRequired(
                "header if-match: expected the ETag of the document that you read, got none"
            )
        if not _matches(field, current.revision):
            raise RevisionConflict(
                f'header if-match: expected "{current.revision}", which is the current revision '
                f"of model '{current.model}', got {quoted(field)}",
                current.revision,
            )
        return current

    def _reply(self, document: Document) -> Reply:
        headers = [("etag", f'"{document.revision}"')]
        trouble = self._office.traffic.trouble(document.model)
        if trouble is not None:  # RFC 9111's 110, in the words that are left of it
            headers.append(("x-gateway-stale", _UNPRINTABLE.sub("?", trouble)))
        return json_reply(shown(document), tuple(headers))


def routing_endpoints(at: Routing) -> tuple[Endpoint, ...]:
    """Return the rows of these endpoints."""
    path = "/admin/v1/models/{model}/routes"
    see, change = Role.VIEWER, Role.OPERATOR
    show = "The routing document in force; its ETag is what a change must name"
    put = "Share calls by another document; answered when every replica does"
    delete = "Give all calls to the highest version, as when the model was first seen"
    kept = "The last 100 revisions, newest first"
    back = "Write an old revision again"
    apart = "What the shadows in force have said so far, against what callers were told"
    audit = "Every change of a routing document: who, when, from, to, why"
    query = {
        "limit": f"How many, at most {_MOST_ENTRIES}; {_USUAL_ENTRIES} if it is not said.",
        "model": "Only those of this model.",
    }
    document = "RoutingDocument"
    return (
        Endpoint("GET", path, see, show, at.show, schema=document),
        Endpoint("PUT", path, change, put, at.put, schema=document, body=document),
        Endpoint("DELETE", path, change, delete, at.delete, schema=document, body="Reasoned"),
        Endpoint("GET", path + "/revisions", see, kept, at.revisions, schema="Revisions"),
        Endpoint(
            "POST", path + "/rollback", change, back, at.roll_back, schema=document, body="Rollback"
        ),
        Endpoint(
            "GET", path.removesuffix("routes") + "shadows", see, apart, at.shadows, schema="Shadows"
        ),
        Endpoint("GET", "/admin/v1/audit", see, audit, at.audit, schema="Audit", query=query),
    )


def _matches(field: bytes, revision: int) -> bool:
    """Say whether an If-Match field names a revision. Source: RFC 9110, section 13.1.1."""
    if field.strip() == b"*":
        return True
    wanted = b"%d" % revision
    return any(not weak and tag == wanted for weak, tag in _TAG.findall(field))


def _limit(text: str | None) -> int:
    if text is None:
        return _USUAL_ENTRIES
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MOST_ENTRIES:
        raise Malformed(f"query parameter limit: expected 1 to {_MOST_ENTRIES}, got {text[:80]!a}")
    return int(text)


def _who(asked: Asked) -> str:
    return "nobody" if asked.caller is None else asked.caller.name


def _shadow(one: ShadowView) -> dict[str, object]:
    return {
        "name": one.name,
        "version": one.version,
        "sample_ratio": one.sample_ratio,
        "is_noise_floor": one.is_noise_floor,
        "calls": one.calls,
        "disagreeing_rows": one.rows,
        "worst": [
            {
                "output": row.output,
                "distance": row.distance,
                "asked": row.asked,
                "told": row.told,
                "said": row.said,
                "at": row.at,
            }
            for row in one.worst
        ],
    }


def _entry(one: AuditView) -> dict[str, object]:
    return {
        "at": one.at,
        "who": one.who,
        "model": one.model,
        "action": one.action,
        "from": one.before,
        "to": one.after,
        "reason": one.reason,
    }
