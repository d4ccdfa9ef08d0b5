"""What it costs a request that variants share its model, and what many documents cost.

What deciding adds is measured between the sockets, where nothing else disturbs it, and judged
as a share of what the same request costs the whole server where there is nothing to decide:
that is the share of the throughput which it takes. Beside it stands the whole server itself,
whose document is changed between windows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from bench import documents
from bench.apart import told
from bench.documents import Json
from bench.launch import Server
from bench.ratios import Bar, Figure, Finding, Verdict, ratio_spread, spread
from bench.requests import INFER, Target
from bench.rungs import gateway
from bench.stand import Stand
from bench.wrk import Window

CONNECTIONS = 64
LEAST_PERCENT = 0.01  # of a canary, so that every call is decided and hardly one is its own
MOST_PERCENT = {"weight": 2.0, "header": 8.0, "parameter": 8.0}
MODELS, VARIANTS = 1000, 4
MOST_RATIO = 2.0  # of decisions: caches show in it, a search through 1,000 models would at once

WHAT = {
    "weight": "split 99.99/0.01 by weight",
    "few": "split 95/5 by weight",
    "half": "split 50/50 by weight",
    "rule": "one rule on a header that is not there",
    "header": "split 99.99/0.01, sticky by header",
    "header, few": "split 95/5, sticky by header",
    "parameter": "split 99.99/0.01, sticky by V2 parameter",
}
AGAINST = {
    "weight": "one",
    "few": "one",
    "half": "one",
    "rule": "one",
    "header": "one, named",
    "header, few": "one, named",
    "parameter": "one, told",
}
WHOLE = {"few": "weight", "half": "weight", "header, few": "header"}  # whose batches stay whole

Kinds = Mapping[str, Sequence[float]]  # seconds by what they are of, one figure a group
Windows = Mapping[str, Sequence[Window]]


@dataclass(frozen=True, slots=True)
class Share:
    """One document before the whole server; `sent` is its target."""

    sent: Target
    canary_percent: float | None  # None: there is no canary
    sticky: Json | None = None


def routing(stand: Stand) -> list[Finding]:
    """Deciding costs at most 2 % of a request, or 8 % where a unit is hashed."""
    plain = stand.digits
    assert plain.bodies is not None
    words = [str(stand.models / "digits" / "1" / "model.onnx"), str(plain.bodies)]
    words += ["--groups", str(stand.effort.telemetry_groups), "--lanes", str(CONNECTIONS)]
    kinds = told("bench.deciding", words, stand.server_cpu)
    windows = served(stand, shares_of(stand))
    words = ["--models", "1", str(MODELS), "--repeats", str(stand.effort.telemetry_groups)]
    planned = told("bench.planning", words, stand.server_cpu)
    whole_s = {name: cost_s(some) for name, some in windows.items() if name in AGAINST.values()}
    return [
        *judge(kinds, whole_s),
        *compare(windows),
        *crowds(planned[str(MODELS)], planned["1"]),
    ]


def shares_of(stand: Stand) -> dict[str, Share]:
    """The documents that the whole server gets in turn, and what is sent under each."""
    plain = stand.digits
    assert plain.bodies is not None
    named = replace(plain, names_itself=True)
    users = Target(INFER, stand.scratch / "bodies-told")
    assert users.bodies is not None
    users.bodies.write_bytes(
        b"".join(
            b'{"parameters":{"user":"user-%d"},%b\n' % (at, body[1:])
            for at, body in enumerate(plain.bodies.read_bytes().splitlines())
        )
    )
    by_header = {"by": "header:x-request-id", "salt": "bench"}
    by_parameter = {"by": "parameter:user", "salt": "bench"}
    return {
        "one": Share(plain, None),
        "weight": Share(plain, LEAST_PERCENT),
        "one, named": Share(named, None),
        "header": Share(named, LEAST_PERCENT, by_header),
        "one, told": Share(users, None),
        "parameter": Share(users, LEAST_PERCENT, by_parameter),
    }


def served(stand: Stand, shares: Mapping[str, Share]) -> Windows:
    """Windows of one server, whose document is another in each; they alternate."""
    windows: dict[str, list[Window]] = {name: [] for name in shares}
    with stand.serving(gateway(stand.models)) as server:
        document = documents.in_force(server, "digits")
        for _ in range(stand.effort.pairs):
            for name, share in shares.items():
                document = _put(server, document, share)
                sending = replace(stand, digits=share.sent)
                names_itself = share.sent.names_itself
                window = sending.load(server, CONNECTIONS, names_itself=names_itself)
                windows[name].append(window)
    return windows


def _put(server: Server, before: Json, share: Share) -> Json:
    percent = share.canary_percent
    versions = ["1"] if percent is None else ["1", "1"]
    members = {"variants": documents.variants(versions, percent or 0), "sticky": share.sticky}
    return documents.put(server, before, **members).document


def judge(kinds: Kinds, whole_s: Mapping[str, float]) -> list[Finding]:
    """What each kind of document adds, as a share of a request and of its path inside."""
    found: list[Finding] = []
    for name, other in AGAINST.items():
        pairs = list(zip(kinds[name], kinds[other], strict=True))
        ours_us, theirs_us = (median(side) * 1e6 for side in zip(*pairs, strict=True))
        added = [100 * (ours - theirs) / whole_s[other] for ours, theirs in pairs]
        note = (
            f"of {whole_s[other] * 1e6:.1f} us, the server's CPU a request; "
            f"{ours_us - theirs_us:.2f} us more{_smaller(kinds, name)}"
        )
        what = f"{WHAT[name]}: share of a request's CPU"
        if name in MOST_PERCENT:
            bar = Bar(what, at_most=MOST_PERCENT[name])
            found.append(Verdict(bar, spread(added), "%", note))
        else:
            found.append(Figure(what, spread(added), "%", note))
        inner = spread(100 * (ours / theirs - 1) for ours, theirs in pairs)
        between = f"{ours_us:.2f} and {theirs_us:.2f} us a request, {CONNECTIONS} lanes"
        found.append(Figure(f"{WHAT[name]}: between the sockets", inner, "%", between))
    return found


def _smaller(kinds: Kinds, name: str) -> str:
    """Say how much of what a split adds is deciding, where it makes smaller batches as well."""
    if name not in WHOLE:
        return ""
    whole, other = WHOLE[name], AGAINST[name]
    decided_us, smaller_us = (
        median(ours - theirs for ours, theirs in zip(kinds[one], kinds[two], strict=True)) * 1e6
        for one, two in ((whole, other), (name, whole))
    )
    return f": {decided_us:.2f} us to decide, {smaller_us:.2f} us for two batches instead of one"


def cost_s(windows: Sequence[Window]) -> float:
    """The server's CPU a request."""
    return median(one.cpu_per_request_s for one in windows)


def compare(windows: Windows) -> list[Figure]:
    """Rate and CPU of the whole server with a split, beside the same without."""
    found = []
    for name, other in AGAINST.items():
        if name not in windows:
            continue
        pairs = list(zip(windows[name], windows[other], strict=True))
        rates = [median(w.requests_per_s for w in side) for side in zip(*pairs, strict=True)]
        busiest = max(w.generator_ratio for pair in pairs for w in pair)
        note = f"{rates[0]:.0f} and {rates[1]:.0f}/s; generator busy {busiest:.0%} at most"
        rate = ratio_spread(pairs, lambda w: w.requests_per_s)
        cpu = ratio_spread(pairs, lambda w: w.cpu_per_request_s)
        costs = " and ".join(f"{cost_s(side) * 1e6:.1f}" for side in zip(*pairs, strict=True))
        what = f"{WHAT[name]} / nothing to decide"
        found.append(Figure(f"{what}, requests/s", rate, "", note))
        found.append(Figure(f"{what}, CPU a request", cpu, "", f"{costs} us"))
    return found


def crowds(many: Kinds, one: Kinds) -> list[Finding]:
    """A decision takes as long among many documents as with one, but for the caches."""
    among = f"{MODELS} models of {VARIANTS} variants"
    found: list[Finding] = []
    for kind, what in (("weight", "by weight"), ("sticky", "sticky by header")):
        pairs = list(zip(many[kind], one[kind], strict=True))
        both = [median(side) * 1e9 for side in zip(*pairs, strict=True)]
        bar = Bar(f"decision {what}, {among} / one model", at_most=MOST_RATIO)
        note = f"{both[0]:.0f} and {both[1]:.0f} ns; another model each time"
        found.append(Verdict(bar, ratio_spread(pairs, float), "", note))
    each = [side["bytes"][0] / count / 1e3 for side, count in ((many, MODELS), (one, 1))]
    beside = f"documents, arms, batchers and plan, no versions; one model alone {each[1]:.1f} KB"
    found.append(Figure(f"{among}: memory a model", spread([each[0]]), "KB", beside))
    for kind, what in (
        ("anew_s", "a plan where nothing was known"),
        ("heard_s", "reading what a supervisor sends"),
        ("one_s", "a plan after one document changed"),
    ):
        alone = f"one model {median(one[kind]) * 1e3:.2f} ms"
        seen = spread(seconds * 1e3 for seconds in many[kind])
        found.append(Figure(f"{among}: {what}", seen, "ms", alone))
    return found
