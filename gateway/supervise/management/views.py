"""Views: what the supervisor knows, in the shape in which operators read it.

Job    turn versions and replicas into what becomes JSON; say what its shapes are.
Life   pure functions.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from types import MappingProxyType
from typing import Any

from gateway.core.breaker import State
from gateway.errors import UnknownModel
from gateway.supervise.management.office import BreakersView, ReplicaView, VersionView

Shown = dict[str, Any]

_NONE: Mapping[str, Shown] = MappingProxyType({})


def models_shown(versions: Sequence[VersionView]) -> list[Shown]:
    """Return one entry a model, in the order in which they come."""
    return [
        _model(name, list(group)) for name, group in groupby(versions, key=lambda one: one.model)
    ]


def model_shown(versions: Sequence[VersionView], name: str) -> Shown:
    """Return one model's entry. Raises: UnknownModel."""
    own = [one for one in versions if one.model == name]
    if not own:
        raise UnknownModel(f"Request for unknown model: '{name}' is not found")
    return _model(name, own)


def replicas_shown(replicas: Sequence[ReplicaView]) -> list[Shown]:
    """Return one entry a process."""
    return [
        {
            "slot": one.slot,
            "pid": one.pid,
            "state": one.state,
            "restarts": one.restarts,
            "started_at": datetime.fromtimestamp(one.started_at, UTC).isoformat("T", "seconds"),
        }
        for one in replicas
    ]


def breakers_shown(view: BreakersView) -> Shown:
    """Return one entry an executor instance and process, and who did not answer."""
    return {
        "breakers": [
            {
                "model": one.told.model,
                "version": one.told.version,
                "executor": one.told.executor,
                "replica": one.replica,
                "pid": one.pid,
                "state": one.told.state,
                "since": _moment(one.told.since),
                "calls": one.told.calls,
                "failure_ratio": round(one.told.failure_ratio, 4),
                "slow_ratio": round(one.told.slow_ratio, 4),
                "next_try": None if one.told.next_try is None else _moment(one.told.next_try),
            }
            for one in view.breakers
        ],
        "silent": list(view.silent),
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat("T", "milliseconds")


def _model(name: str, versions: Sequence[VersionView]) -> Shown:
    default = next((one.version for one in versions if one.is_default), None)
    return {"name": name, "default": default, "versions": [_version(one) for one in versions]}


def _version(one: VersionView) -> Shown:
    return {
        "version": one.version,
        "state": one.state,
        # a path on disk may hold bytes that are no text
        "reason": one.reason.encode(errors="backslashreplace").decode(),
        "is_default": one.is_default,
        "digest": one.digest,
        "executor": one.executor,
        "max_batch_size": one.max_batch_size,
    }


def _object(members: Mapping[str, Shown], optional: Mapping[str, Shown] = _NONE) -> Shown:
    return {
        "type": "object",
        "properties": {**members, **optional},
        "required": list(members),
        "additionalProperties": False,
    }


def _list_of(name: str) -> Shown:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


def _nullable(kind: str, about: str) -> Shown:
    return {"type": [kind, "null"], "description": about}


_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_FLAG = {"type": "boolean"}
_RATIO = {"type": "number", "minimum": 0, "maximum": 1}

SCHEMAS: Mapping[str, Shown] = {
    "Version": _object(
        {
            "version": _TEXT,
            "state": {"enum": ["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]},
            "reason": {**_TEXT, "description": "Why it is not ready; empty where it is."},
            "is_default": {**_FLAG, "description": "Answers where a request names no version."},
            "digest": _nullable("string", "SHA-256 over its files, once they were read."),
            "executor": _nullable("string", "Where it runs, once it was proved."),
            "max_batch_size": _nullable("integer", "Rows of one request, at most; 0: no batch."),
        }
    ),
    "Model": _object(
        {
            "name": _TEXT,
            "default": _nullable("string", "The version that answers where none is named."),
            "versions": _list_of("Version"),
        }
    ),
    "Models": _object({"models": _list_of("Model")}),
    "Replica": _object(
        {
            "slot": _COUNT,
            "pid": _COUNT,
            "state": {"enum": ["starting", "serving", "retiring"]},
            "restarts": {**_COUNT, "description": "Processes that ended in this slot."},
            "started_at": {**_TEXT, "format": "date-time"},
        }
    ),
    "Replicas": _object({"replicas": _list_of("Replica")}),
    "Breaker": _object(
        {
            "model": _TEXT,
            "version": _TEXT,
            "executor": {**_TEXT, "description": "inline, thread, process/0 …"},
            "replica": {**_COUNT, "description": "Its slot."},
            "pid": _COUNT,
            "state": {"enum": [state.name for state in State]},
            "since": {**_TEXT, "format": "date-time"},
            "calls": {**_COUNT, "description": "Executions of the window, or that opened it."},
            "failure_ratio": {**_RATIO, "description": "How many of them failed."},
            "slow_ratio": {**_RATIO, "description": "How many of them were slow."},
            "next_try": {
                **_nullable("string", "When it may be asked; null: when an operator says."),
                "format": "date-time",
            },
        }
    ),
    "Breakers": _object(
        {
            "breakers": _list_of("Breaker"),
            "silent": {
                "type": "array",
                "items": _COUNT,
                "description": "Slots of replicas that did not answer within a second.",
            },
        }
    ),
    "Revisions": _object({"revisions": _list_of("RoutingDocument")}),
    "Disagreement": _object(
        {
            "output": _TEXT,
            "distance": _nullable("number", "How far apart; null: beyond all numbers."),
            "asked": {"type": "object", "description": "The row, by input; cut when long."},
            "told": {"type": "array", "description": "What the caller got."},
            "said": {"type": "array", "description": "What the shadow said."},
            "at": {"type": "number", "description": "Seconds since 1970."},
        }
    ),
    "Shadow": _object(
        {
            "name": _TEXT,
            "version": _TEXT,
            "sample_ratio": _RATIO,
            "is_noise_floor": {
                **_FLAG,
                "description": "It is the very version that it is compared with.",
            },
            "calls": {"type": "object", "additionalProperties": _COUNT},
            "disagreeing_rows": {"type": "object", "additionalProperties": _COUNT},
            "worst": _list_of("Disagreement"),
        }
    ),
    "Shadows": _object({"shadows": _list_of("Shadow")}),
    "AuditEntry": _object(
        {
            "at": {**_TEXT, "format": "date-time"},
            "who": _TEXT,
            "model": _TEXT,
            "action": {"enum": ["put", "delete", "rollback", "first_sight", "adopted"]},
            "from": _nullable("integer", "The revision that was replaced, if there was one."),
            "to": _COUNT,
            "reason": _TEXT,
        }
    ),
    "Audit": _object({"entries": _list_of("AuditEntry")}),
    "Live": _object({"live": _FLAG}),
    "Ready": _object({"ready": _FLAG}),
    "Document": {"type": "object"},
    "Fault": _object({"path": _TEXT, "fault": _TEXT}),
    "Error": _object(
        {
            "error": {**_TEXT, "description": "What is wrong, where, what was expected."},
            "code": {**_TEXT, "description": "A stable name for it."},
            "request_id": _TEXT,
        },
        {
            "faults": {**_list_of("Fault"), "description": "All there are, of a document."},
            "current": {**_COUNT, "description": "The revision in force, on a conflict."},
        },
    ),
}
