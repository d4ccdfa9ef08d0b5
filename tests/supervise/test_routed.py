"""Metrics of routing documents."""

from dataclasses import dataclass

from gateway.core.documents import WHOLE_BP, Document, Shadow, Variant
from gateway.observe.counts import ZERO, Counts
from gateway.observe.layout import MOST_OUTPUTS
from gateway.supervise.routed import Labels, routed
from gateway.types import Signature, TensorSpec

VARIANTS = (Variant("stable", "1", WHOLE_BP),)
DOCUMENT = Document("m", 4, VARIANTS, (Shadow("next", "2", 0.5),))
STABLE, NEXT = ("m", "1", "stable"), ("m", "2", "next")
Samples = dict[tuple[str, ...], float]


@dataclass(frozen=True)
class View:
    model: str
    version: str
    signature: Signature | None = None


def view(*outputs: str, version: str = "2") -> View:
    specs = tuple(TensorSpec(name, "FP32", (-1,)) for name in outputs)
    return View("m", version, Signature((), specs, 8))


def samples(
    name: str,
    totals: dict[Labels, Counts],
    documents: tuple[Document, ...] = (DOCUMENT,),
    versions: tuple[View, ...] = (),
) -> Samples:
    """Return the values of one family, by the values of their labels."""
    families = {one.name: one for one in routed(totals, {d.model: d for d in documents}, versions)}
    found = {tuple(one.labels.values()): one.value for one in families[name].samples}
    assert len(found) == len(families[name].samples)
    return found


def disagreeing(*rows: int) -> Counts:
    return Counts(disagreements=(*rows, *[0] * (MOST_OUTPUTS - len(rows))))


def test_every_family_is_told_though_there_is_nothing_to_tell() -> None:
    assert [(one.name, one.samples) for one in routed({}, {}, ())] == [
        ("gateway_route_revision", []),
        ("gateway_fallbacks", []),
        ("gateway_shadow_requests", []),
        ("gateway_shadow_disagreements", []),
    ]


def test_the_revision_in_force_is_told_of_each_model() -> None:
    other = Document("n", 9, VARIANTS)
    found = samples("gateway_route_revision", {}, (DOCUMENT, other))
    assert found == {("m",): 4, ("n",): 9}


def test_fallbacks_are_told_of_variants_and_not_of_what_was_asked_for_by_version() -> None:
    totals = {STABLE: Counts(fallbacks=3), ("m", "1", "direct"): ZERO, ("m", "2", "canary"): ZERO}
    assert samples("gateway_fallbacks", totals) == {STABLE: 3, ("m", "2", "canary"): 0}


def test_a_shadow_is_told_by_what_came_of_its_calls_and_begins_at_zero() -> None:
    found = samples("gateway_shadow_requests", {STABLE: ZERO, NEXT: Counts(shadowed=(7, 0, 2, 1))})
    assert found == {
        (*NEXT, "agreed"): 7,
        (*NEXT, "disagreed"): 0,
        (*NEXT, "failed"): 2,
        (*NEXT, "dropped"): 1,
    }
    assert set(samples("gateway_shadow_requests", {NEXT: ZERO}).values()) == {0}


def test_a_shadow_that_a_document_has_no_more_goes_on_being_told() -> None:
    """A counter that vanished would be one that went back."""
    past = {("m", "7", "past"): Counts(shadowed=(1, 0, 0, 0)), ("m", "8", "never"): ZERO}
    found = samples("gateway_shadow_requests", past)
    assert {labels[:3] for labels in found} == {("m", "7", "past")}


def test_a_shadow_without_a_row_is_not_told_yet() -> None:
    assert samples("gateway_shadow_requests", {STABLE: ZERO}) == {}


def test_rows_that_disagree_are_told_by_output() -> None:
    totals = {NEXT: disagreeing(5, 1)}
    found = samples("gateway_shadow_disagreements", totals, versions=(view("label", "scores"),))
    assert found == {(*NEXT, "label"): 5, (*NEXT, "scores"): 1}


def test_outputs_beyond_those_that_are_counted_are_told_as_others() -> None:
    names = [f"y{number}" for number in range(MOST_OUTPUTS + 1)]
    totals = {NEXT: disagreeing(*range(1, MOST_OUTPUTS + 1))}
    found = samples("gateway_shadow_disagreements", totals, versions=(view(*names),))
    assert [labels[3] for labels in found] == [*names[: MOST_OUTPUTS - 1], "others"]
    assert found[*NEXT, "others"] == MOST_OUTPUTS


def test_no_series_is_told_twice_though_an_output_is_called_others() -> None:
    names = ["others", *(f"y{number}" for number in range(MOST_OUTPUTS))]
    totals = {NEXT: disagreeing(*[1] * MOST_OUTPUTS)}
    found = samples("gateway_shadow_disagreements", totals, versions=(view(*names),))
    assert len(found) == MOST_OUTPUTS - 1
    assert found[*NEXT, "others"] == 2


def test_as_many_outputs_as_are_counted_are_told_by_name() -> None:
    names = [f"y{number}" for number in range(MOST_OUTPUTS)]
    totals = {NEXT: disagreeing(*range(MOST_OUTPUTS))}
    found = samples("gateway_shadow_disagreements", totals, versions=(view(*names),))
    assert [labels[3] for labels in found] == names


def test_what_was_never_proved_has_no_outputs_to_tell_of() -> None:
    versions = (View("m", "2"), view("y", version="3"))
    totals = {NEXT: disagreeing(1)}
    assert samples("gateway_shadow_disagreements", totals, versions=versions) == {}
