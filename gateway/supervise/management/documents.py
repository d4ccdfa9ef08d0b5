"""Documents: the JSON Schema of a routing document, as operators read it in /docs.

Job    say what core/proposals.py reads, member by member and bound by bound.
Life   a pure function.
Never  judges: what one part says of another (sums, names, versions) is in the descriptions.

Source: JSON Schema 2020-12, as OpenAPI 3.1 uses it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core import arms, clauses, documents, proposals

Schema = dict[str, Any]

_CONTROLS = r"\u0000-\u001f\u007f-\u009f"
_CONTROLS_BUT_LINES = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 100, "multipleOf": 0.01}
_TOLERANCE: Schema = {"type": "number", "minimum": 0, "maximum": arms.MAX_TOLERANCE}
_TERMS: Mapping[str, Schema] = {
    "atol": _TOLERANCE,
    "rtol": _TOLERANCE,
    "k": {"type": "integer", "minimum": 1, "maximum": arms.MAX_K},
}
_REFERENCE: Schema = {"type": "string", "description": "A variant's name."}
_READ_ONLY = {
    "revision": "Counts the changes of a model's document.",
    "changed_by": "Who brought it about.",
    "changed_at": "When; ISO 8601, UTC.",
    "pieces": "Who has which buckets; never shown.",
    "newest": "The newest version that any revision has named; never shown.",
}

EXAMPLE: Schema = {
    "variants": [
        {"name": "stable", "version": "1", "weight": 95},
        {"name": "canary", "version": "2", "weight": 5},
    ],
    "reason": "a few",
}


def document_schema() -> Schema:
    """Return the schema of what is shown, and of what may be proposed."""
    members: dict[str, Schema] = {
        "model": {"type": "string", "description": "The model in the path; may be left out."},
        "variants": {
            **_list(_variant(), 1, arms.MAX_VARIANTS),
            "description": "The arms of the split. Their weights add up to 100.",
        },
        "shadows": {
            **_list(_shadow(), 0, arms.MAX_SHADOWS),
            "description": "Asked as well; nobody waits for their answers.",
        },
        "rules": {
            **_list(_rule(), 0, clauses.MAX_RULES),
            "description": "The first that holds decides, whatever the weights say.",
        },
        "sticky": _nullable(_sticky(), "By what a caller is known who keeps a variant."),
        "fallback": _nullable(
            _REFERENCE, "Answers where another variant fails; `stable`, if there is one."
        ),
        "reason": {
            **_text(proposals.MAX_REASON_CHARS, _CONTROLS_BUT_LINES),
            "allOf": [{"pattern": r"\S"}],
            "description": "Why this change is made. Each change has its own.",
        },
    }
    ignored = {
        name: {"readOnly": True, "description": _READ_ONLY[name]} for name in proposals.IGNORED
    }
    return {**_object({**members, **ignored}, ("variants", "reason")), "examples": [EXAMPLE]}


def _variant() -> Schema:
    members = {"name": _name(), "version": _version(), "weight": {**_SHARE, "description": "%"}}
    return _object(members, tuple(members))


def _shadow() -> Schema:
    ratio = {"type": "number", "minimum": 0, "maximum": 1, "default": 1}
    compare = {
        "type": "object",
        "maxProperties": arms.MAX_COMPARISONS,
        "additionalProperties": {"oneOf": [_comparison(*row) for row in documents.TERMS.items()]},
        "description": "When two outputs count as equal, by output.",
    }
    members = {"name": _name(), "version": _version(), "sample_ratio": ratio, "compare": compare}
    return _object(members, ("name", "version"))


def _comparison(kind: str, terms: Sequence[str]) -> Schema:
    return _object({"kind": {"const": kind}, **{one: _TERMS[one] for one in terms}}, ("kind",))


def _rule() -> Schema:
    conditions = _list({"oneOf": _conditions()}, 1, clauses.MAX_CONDITIONS)
    either = [_object({word: conditions}, (word,)) for word in ("all", "any")]
    return _object({"if": {"oneOf": either}, "variant": _REFERENCE}, ("if", "variant"))


def _conditions() -> list[Schema]:
    equals = _text(clauses.MAX_TEXT_CHARS)
    header = {
        "type": "string",
        "pattern": _anchored(clauses.TOKEN.pattern),
        "description": f"In any case; not {' or '.join(clauses.SECRET_HEADERS)}.",
    }
    parameter = _text(clauses.MAX_NAME_CHARS)
    return [
        _object({"header": header, "equals": equals}, ("header", "equals")),
        _object({"parameter": parameter, "equals": equals}, ("parameter", "equals")),
        _object({"percentage": _SHARE}, ("percentage",)),
    ]


def _sticky() -> Schema:
    parameter = f"[^{_CONTROLS}]{{1,{clauses.MAX_NAME_CHARS}}}"
    by = {
        "type": "string",
        "pattern": _anchored(f"header:{clauses.TOKEN.pattern}|parameter:{parameter}"),
        "description": "header:NAME or parameter:NAME.",
    }
    return _object({"by": by, "salt": _text(clauses.MAX_NAME_CHARS)}, ("by", "salt"))


def _name() -> Schema:
    pattern = _anchored(arms.NAME.pattern)
    return {"type": "string", "pattern": pattern, "not": {"const": arms.RESERVED}}


def _version() -> Schema:
    about = "A version that is there; `01` is `1`."
    return {
        "type": "string",
        "pattern": r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$",
        "description": about,
    }


def _anchored(pattern: str) -> str:
    return f"^(?:{pattern})$"


def _text(most: int, refused: str = _CONTROLS) -> Schema:
    pattern = _anchored(f"[^{refused}]*")
    return {"type": "string", "minLength": 1, "maxLength": most, "pattern": pattern}


def _list(item: Schema, fewest: int, most: int) -> Schema:
    return {"type": "array", "items": item, "minItems": fewest, "maxItems": most}


def _nullable(schema: Schema, about: str) -> Schema:
    return {"anyOf": [schema, {"type": "null"}], "description": about}


def _object(members: Mapping[str, Schema], required: Sequence[str]) -> Schema:
    return {
        "type": "object",
        "properties": dict(members),
        "required": list(required),
        "additionalProperties": False,
    }
