"""Routing documents as operators propose them: one that is right, and many that are not.

Job    the table that holds the reader, and the schema in /docs, to the same rules.
       A row is (what it is about, the document, every path that is to be named, whether the
       schema can tell).
"""

from typing import Any

from gateway.types import Signature, TensorSpec

Row = tuple[str, object, tuple[str, ...], bool]


def signature(
    *inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (TensorSpec("label", "INT64", (-1,)),)
) -> Signature:
    return Signature(inputs or (TensorSpec("x", "FP32", (-1, 4)),), outputs, 64)


WIDE = signature(TensorSpec("x", "FP32", (-1, 5)))
GRADED = signature(outputs=(TensorSpec("label", "INT64", (-1,)), TensorSpec("p", "FP32", (-1, 3))))
RETYPED = signature(outputs=(TensorSpec("label", "INT32", (-1,)),))
RESHAPED = signature(outputs=(TensorSpec("label", "INT64", (-1, 1)),))
# 1 and 2 are alike, 3 takes something else, 4 and 5 give something else, 6 is unknown yet
VERSIONS: dict[str, Signature | None] = {
    "1": signature(),
    "2": signature(),
    "3": WIDE,
    "4": GRADED,
    "5": RETYPED,
    "6": None,
    "7": RESHAPED,
}

STABLE = {"name": "stable", "version": "1", "weight": 95}
CANARY = {"name": "canary", "version": "2", "weight": 5}
DARK = {"name": "dark", "version": "2"}
BETA = {"header": "x-tier", "equals": "beta"}
RULE = {"if": {"all": [BETA]}, "variant": "canary"}
STICKY = {"by": "header:x-user-id", "salt": "spring"}


def but(**members: object) -> dict[str, Any]:
    """Return a document that is right, but for these members."""
    return {"variants": [STABLE, CANARY], "reason": "A canary.", **members}


def only(version: str, **members: object) -> dict[str, Any]:
    """Return a document with one variant."""
    return but(variants=[{"name": "stable", "version": version, "weight": 100}], **members)


def pair(stable: str, canary: str, weight: object = 5, **members: object) -> dict[str, Any]:
    """Return a document with two variants of these versions."""
    arms = [{**STABLE, "version": stable}, {**CANARY, "version": canary, "weight": weight}]
    return but(variants=arms, **members)


def arm(**members: object) -> dict[str, Any]:
    """Return a document whose canary is right, but for these members."""
    return but(variants=[STABLE, {**CANARY, **members}])


def dark(**members: object) -> dict[str, Any]:
    """Return a document whose shadow is right, but for these members."""
    return but(shadows=[{**DARK, **members}])


def compared(**comparison: object) -> dict[str, Any]:
    return dark(compare={"label": comparison})


def asked(*conditions: object) -> dict[str, Any]:
    """Return a document whose rule has these conditions."""
    return but(rules=[{**RULE, "if": {"all": list(conditions)}}])


def without(owner: dict[str, Any], name: str) -> dict[str, Any]:
    return {one: value for one, value in owner.items() if one != name}


def spread(count: int) -> list[dict[str, object]]:
    """Return so many variants, of which the first has everything."""
    return [{"name": f"v{at}", "version": "1", "weight": 0 if at else 100} for at in range(count)]


IF = "$.rules[0].if"
FIRST = "$.rules[0].if.all[0]"
LAST = "$.variants[1]"
SHADOW = "$.shadows[0]"
LABEL = "$.shadows[0].compare.label"

DOCUMENTS: tuple[Row, ...] = (
    ("null", None, ("$",), True),
    ("a list", [], ("$",), True),
    ("a text", "variants", ("$",), True),
    ("nothing at all", {}, ("$.variants", "$.reason"), True),
    ("no reason", without(but(), "reason"), ("$.reason",), True),
    ("reason null", but(reason=None), ("$.reason",), True),
    ("reason empty", but(reason=""), ("$.reason",), True),
    ("reason blank", but(reason=" \n\t"), ("$.reason",), True),
    ("reason too long", but(reason="x" * 1001), ("$.reason",), True),
    ("reason that rings a bell", but(reason="ring\a"), ("$.reason",), True),
    ("another model", but(model="iris"), ("$.model",), False),
    ("model null", but(model=None), ("$.model",), True),
    ("an unknown member", but(weights={}), ("$.weights",), True),
    ("many", but(wieghts={}, models="m", tag=1), ("$.wieghts", "$.models", "$.tag"), True),
    ("a member of odd name", but(**{"a b": 1}), ("$['a b']",), True),
)
VARIANTS: tuple[Row, ...] = (
    ("no variants", but(variants=[]), ("$.variants",), True),
    ("variants as object", but(variants={"stable": 100}), ("$.variants",), True),
    ("65 variants", but(variants=spread(65)), ("$.variants",), True),
    ("variants null", but(variants=None, fallback="x"), ("$.variants",), True),
    ("a variant as text", but(variants=[STABLE, "canary"]), (LAST,), True),
    ("an empty one", but(variants=[{}]), tuple(f"$.variants[0].{one}" for one in STABLE), True),
    ("name with a blank", arm(name="a b"), (f"{LAST}.name",), True),
    ("name empty", arm(name=""), (f"{LAST}.name",), True),
    ("name with a newline", arm(name="canary\n"), (f"{LAST}.name",), True),
    ("name in Cyrillic", arm(name="кот"), (f"{LAST}.name",), True),
    ("name of 65", arm(name="x" * 65), (f"{LAST}.name",), True),
    ("name reserved", arm(name="direct"), (f"{LAST}.name",), True),
    ("name taken", arm(name="stable"), (f"{LAST}.name",), False),
    ("version as number", arm(version=2), (f"{LAST}.version",), True),
    ("version as path", arm(version=".."), (f"{LAST}.version",), True),
    ("version unknown", arm(version="99"), (f"{LAST}.version",), False),
    ("weight true", arm(weight=True), (f"{LAST}.weight",), True),
    ("weight as text", arm(weight="5"), (f"{LAST}.weight",), True),
    ("weight negative", arm(weight=-5), (f"{LAST}.weight",), True),
    ("weight above all", arm(weight=100.01), (f"{LAST}.weight",), True),
    ("weight too fine", arm(weight=5.001), (f"{LAST}.weight",), True),
    ("weight nearly", arm(weight=0.1 + 0.2), (f"{LAST}.weight",), True),
    (
        "weight missing",
        but(variants=[STABLE, without(CANARY, "weight")]),
        (f"{LAST}.weight",),
        True,
    ),
    ("weights below 100", arm(weight=4.99), ("$.variants",), False),
    ("weights above 100", arm(weight=5.01), ("$.variants",), False),
    ("unknown member", arm(wieght=5), (f"{LAST}.wieght",), True),
    (
        "many faults in many places",
        but(
            variants=[{**STABLE, "weight": True}, {**CANARY, "version": "99"}],
            fallback="nobody",
            rules=[{**RULE, "variant": "beta"}],
        ),
        ("$.variants[0].weight", f"{LAST}.version", "$.fallback", "$.rules[0].variant"),
        True,
    ),
    (
        "a name that cannot be read may be the one that is meant",
        but(variants=[STABLE, {**CANARY, "name": 1}], rules=[RULE], fallback="other"),
        (f"{LAST}.name",),
        True,
    ),
)
SHADOWS: tuple[Row, ...] = (
    ("shadows null", but(shadows=None), ("$.shadows",), True),
    (
        "17 shadows",
        but(shadows=[{**DARK, "name": f"s{at}"} for at in range(17)]),
        ("$.shadows",),
        True,
    ),
    ("a shadow as number", but(shadows=[1]), (SHADOW,), True),
    ("an empty one", but(shadows=[{}]), (f"{SHADOW}.name", f"{SHADOW}.version"), True),
    ("name of a variant", dark(name="canary"), (f"{SHADOW}.name",), False),
    ("name of a shadow", but(shadows=[DARK, DARK]), ("$.shadows[1].name",), False),
    ("name reserved", dark(name="direct"), (f"{SHADOW}.name",), True),
    ("version unknown", dark(version="0"), (f"{SHADOW}.version",), False),
    ("ratio above one", dark(sample_ratio=1.1), (f"{SHADOW}.sample_ratio",), True),
    ("ratio null", dark(sample_ratio=None), (f"{SHADOW}.sample_ratio",), True),
    ("ratio false", dark(sample_ratio=False), (f"{SHADOW}.sample_ratio",), True),
    ("a weight", dark(weight=5), (f"{SHADOW}.weight",), True),
    ("other inputs", dark(version="3"), (f"{SHADOW}.version",), False),
    ("compare as list", dark(compare=[]), (f"{SHADOW}.compare",), True),
    (
        "65 comparisons",
        dark(compare={f"o{at}": {"kind": "label"} for at in range(65)}),
        (f"{SHADOW}.compare",),
        True,
    ),
    ("comparison as text", dark(compare={"label": "label"}), (LABEL,), True),
    ("comparison without kind", compared(), (f"{LABEL}.kind",), True),
    (
        "kind unknown, terms wrong",
        compared(kind="exact", atol=-1, k=0, z=1),
        tuple(f"{LABEL}.{one}" for one in ("kind", "atol", "k", "z")),
        True,
    ),
    ("kind as list", compared(kind=[]), (f"{LABEL}.kind",), True),
    ("term of another kind", compared(kind="label", atol=1), (f"{LABEL}.atol",), True),
    (
        "numeric with k",
        compared(kind="numeric", k=1, rtol="0"),
        (f"{LABEL}.k", f"{LABEL}.rtol"),
        True,
    ),
    ("k of none", compared(kind="top_k", k=0), (f"{LABEL}.k",), True),
    ("k of a half", compared(kind="top_k", k=1.5), (f"{LABEL}.k",), True),
    ("k true", compared(kind="top_k", k=True), (f"{LABEL}.k",), True),
    ("k too many", compared(kind="top_k", k=1001), (f"{LABEL}.k",), True),
    ("tolerance beyond", compared(kind="distribution", atol=1e301), (f"{LABEL}.atol",), True),
    (
        "an output that is not there",
        dark(compare={"score": {"kind": "label"}}),
        (f"{SHADOW}.compare.score",),
        False,
    ),
)
RULES: tuple[Row, ...] = (
    ("rules as object", but(rules={}), ("$.rules",), True),
    ("101 rules", but(rules=[RULE] * 101), ("$.rules",), True),
    ("a rule as null", but(rules=[RULE, None]), ("$.rules[1]",), True),
    ("an empty one", but(rules=[{}]), (IF, "$.rules[0].variant"), True),
    ("a misspelt one", but(rules=[{**RULE, "varaint": 1}]), ("$.rules[0].varaint",), True),
    ("if as list", but(rules=[{**RULE, "if": [BETA]}]), (IF,), True),
    ("if of nothing", but(rules=[{**RULE, "if": {}}]), (IF,), True),
    ("all and any", but(rules=[{**RULE, "if": {"all": [BETA], "any": [BETA]}}]), (IF,), True),
    ("none", but(rules=[{**RULE, "if": {"none": [BETA]}}]), (f"{IF}.none", IF), True),
    ("no conditions", asked(), (f"{IF}.all",), True),
    ("17 conditions", asked(*[BETA] * 17), (f"{IF}.all",), True),
    ("to a stranger", but(rules=[{**RULE, "variant": "beta"}]), ("$.rules[0].variant",), False),
    (
        "to a shadow",
        but(shadows=[DARK], rules=[{**RULE, "variant": "dark"}]),
        ("$.rules[0].variant",),
        False,
    ),
    ("to a number", but(rules=[{**RULE, "variant": 7}]), ("$.rules[0].variant",), True),
    ("condition as text", asked("x-tier"), (FIRST,), True),
    ("condition of nothing", asked({}), (FIRST,), True),
    ("condition without what", asked({"equals": "beta"}), (FIRST,), True),
    ("condition of two", asked({**BETA, "parameter": "tier"}), (FIRST,), True),
    ("header without equals", asked({"header": "x-tier"}), (f"{FIRST}.equals",), True),
    ("header misspelt", asked({"heder": "x-tier", "equals": "b"}), (f"{FIRST}.heder", FIRST), True),
    ("header no token", asked({**BETA, "header": "x tier"}), (f"{FIRST}.header",), True),
    ("header empty", asked({**BETA, "header": ""}), (f"{FIRST}.header",), True),
    ("header too long", asked({**BETA, "header": "x" * 257}), (f"{FIRST}.header",), True),
    (
        "header with a secret",
        asked({**BETA, "header": "Authorization"}),
        (f"{FIRST}.header",),
        False,
    ),
    ("header with cookies", asked({**BETA, "header": "Cookie"}), (f"{FIRST}.header",), False),
    (
        "header for a proxy",
        asked({**BETA, "header": "Proxy-Authorization"}),
        (f"{FIRST}.header",),
        False,
    ),
    ("header of an answer", asked({**BETA, "header": "set-cookie"}), (f"{FIRST}.header",), False),
    ("by cookies", but(sticky={**STICKY, "by": "header:Cookie"}), ("$.sticky.by",), False),
    ("header with a key", asked({**BETA, "header": "X-API-Key"}), (f"{FIRST}.header",), False),
    ("equals a number", asked({**BETA, "equals": 1}), (f"{FIRST}.equals",), True),
    ("equals nothing", asked({**BETA, "equals": ""}), (f"{FIRST}.equals",), True),
    ("equals with a newline", asked({**BETA, "equals": "a\nb"}), (f"{FIRST}.equals",), True),
    ("equals with C1", asked({**BETA, "equals": "\x85"}), (f"{FIRST}.equals",), True),
    ("equals too much", asked({**BETA, "equals": "x" * 1025}), (f"{FIRST}.equals",), True),
    ("parameter empty", asked({"parameter": "", "equals": "1"}), (f"{FIRST}.parameter",), True),
    ("parameter null", asked({"parameter": None, "equals": "1"}), (f"{FIRST}.parameter",), True),
    ("share of a text", asked({"percentage": "5"}), (f"{FIRST}.percentage",), True),
    ("share above all", asked({"percentage": 101}), (f"{FIRST}.percentage",), True),
    ("share that equals", asked({"percentage": 5, "equals": "x"}), (f"{FIRST}.equals",), True),
    (
        "faults of several conditions, and a stranger",
        but(rules=[{"if": {"any": [BETA, {"percentage": -1}, {"header": 1}]}, "variant": "beta"}]),
        (
            f"{IF}.any[1].percentage",
            f"{IF}.any[2].header",
            f"{IF}.any[2].equals",
            "$.rules[0].variant",
        ),
        True,
    ),
)
THE_REST: tuple[Row, ...] = (
    ("sticky as text", but(sticky="header:x-user-id"), ("$.sticky",), True),
    ("sticky false", but(sticky=False), ("$.sticky",), True),
    ("sticky of nothing", but(sticky={}), ("$.sticky.by", "$.sticky.salt"), True),
    (
        "by null, no salt, and more",
        but(sticky={"by": None, "key": 1}),
        ("$.sticky.key", "$.sticky.by", "$.sticky.salt"),
        True,
    ),
    ("by cookie", but(sticky={**STICKY, "by": "cookie:x"}), ("$.sticky.by",), True),
    ("by a header without name", but(sticky={**STICKY, "by": "header:"}), ("$.sticky.by",), True),
    ("by a name alone", but(sticky={**STICKY, "by": "x-user-id"}), ("$.sticky.by",), True),
    ("by a bad token", but(sticky={**STICKY, "by": "header:a b"}), ("$.sticky.by",), True),
    ("by a secret", but(sticky={**STICKY, "by": "header:authorization"}), ("$.sticky.by",), False),
    (
        "by a long parameter",
        but(sticky={**STICKY, "by": "parameter:" + "x" * 257}),
        ("$.sticky.by",),
        True,
    ),
    ("salt empty", but(sticky={**STICKY, "salt": ""}), ("$.sticky.salt",), True),
    ("salt too long", but(sticky={**STICKY, "salt": "x" * 257}), ("$.sticky.salt",), True),
    ("salt with NUL", but(sticky={**STICKY, "salt": "a\0b"}), ("$.sticky.salt",), True),
    ("fallback a number", but(fallback=1), ("$.fallback",), True),
    ("fallback a stranger", but(fallback="blue"), ("$.fallback",), False),
    ("fallback a shadow", but(shadows=[DARK], fallback="dark"), ("$.fallback",), False),
    ("takes something else", pair("1", "3", fallback="stable"), ("$.fallback",), False),
    ("so does stable, unasked", pair("1", "3"), ("$.fallback",), False),
    ("gives more", pair("1", "4", fallback="canary"), ("$.fallback",), False),
    ("gives another type", pair("1", "5"), ("$.fallback",), False),
    (
        "answers for a rule's variant of no weight",
        but(
            variants=[{**STABLE, "weight": 100}, {**CANARY, "version": "3", "weight": 0}],
            rules=[RULE],
        ),
        ("$.fallback",),
        False,
    ),
    (
        "everything at once",
        {
            "model": 1,
            "variants": [{**STABLE, "weight": 50}, CANARY],
            "shadows": [{**DARK, "version": "3"}],
            "rules": [{**RULE, "if": {"any": []}}],
            "sticky": {"by": "a"},
            "fallback": "z",
            "reson": "x",
        },
        (
            "$.model",
            "$.variants",
            f"{SHADOW}.version",
            f"{IF}.any",
            "$.sticky.by",
            "$.sticky.salt",
            "$.fallback",
            "$.reson",
            "$.reason",
        ),
        True,
    ),
)

REFUSED: tuple[Row, ...] = (*DOCUMENTS, *VARIANTS, *SHADOWS, *RULES, *THE_REST)

# Everything that a document may say, at its bounds, and what is to be let alone.
ACCEPTED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("a canary", but()),
    ("its own model", but(model="digits")),
    ("a version with zeros", arm(version="002")),
    ("a version not loaded yet", arm(version="6")),
    (
        "what GET showed",
        but(revision="x", changed_by=None, changed_at=[], pieces={"a": 1}, newest=3),
    ),
    ("a reason of lines", but(reason="Why:\r\n\tbecause" + "!" * 984)),
    ("64 variants", but(variants=spread(64))),
    ("names of every sign", arm(name="A-Z.a_z-0.9" + "x" * 53)),
    (
        "a weight of a hundredth",
        but(variants=[{**STABLE, "weight": 99.99}, {**CANARY, "weight": 0.01}]),
    ),
    ("weights as floats", but(variants=[{**STABLE, "weight": 99.71}, {**CANARY, "weight": 0.29}])),
    (
        "16 shadows",
        but(shadows=[{**DARK, "name": f"s{at}", "sample_ratio": 1} for at in range(16)]),
    ),
    ("a shadow of none", dark(sample_ratio=0)),
    ("a shadow not loaded yet", dark(version="6", compare={"score": {"kind": "label"}})),
    ("by label", compared(kind="label")),
    ("by number", compared(kind="numeric", atol=0, rtol=1e300)),
    ("by top k", compared(kind="top_k", k=1000)),
    ("by distribution", compared(kind="distribution", atol=0.01)),
    ("100 rules", but(rules=[RULE] * 100)),
    ("16 conditions", asked(*[BETA] * 16)),
    (
        "every kind of condition",
        asked(BETA, {"parameter": "tier", "equals": "x" * 1024}, {"percentage": 0.01}),
    ),
    ("any", but(rules=[{"if": {"any": [{"percentage": 100}]}, "variant": "stable"}])),
    ("a header of every sign", asked({**BETA, "header": "!#$%&'*+.^_`|~-09AZaz" + "x" * 235})),
    ("sticky null", but(sticky=None)),
    ("sticky by header", but(sticky={**STICKY, "salt": "x" * 256})),
    ("sticky by parameter", but(sticky={**STICKY, "by": "parameter:Кот: " + "x" * 251})),
    ("fallback null", pair("1", "3", fallback=None)),
    (
        "no fallback to compare",
        but(variants=[{**CANARY, "name": "a", "version": "3"}, {**STABLE, "name": "b"}]),
    ),
    ("a fallback that differs by its outputs' shapes", pair("1", "7")),
    ("a fallback not loaded yet", pair("6", "3")),
    ("a fallback for one not loaded yet", pair("1", "6")),
    (
        "a warm version that differs",
        but(variants=[{**STABLE, "weight": 100}, {**CANARY, "version": "3", "weight": 0}]),
    ),
    ("one version alone", only("3")),
)
