"""What shadows have shown: of this revision, by output, with the worst rows."""

from dataclasses import replace

from gateway.control.messages import Disagreed
from gateway.core.documents import WHOLE_BP, Document, Shadow, Variant
from gateway.core.lifecycle import Ready
from gateway.observe.counts import Counts
from gateway.observe.layout import MOST_OUTPUTS
from gateway.supervise.disagreements import Disagreements
from gateway.supervise.ledger import RowKey
from gateway.supervise.management.office import ShadowView
from gateway.supervise.register import Known
from gateway.supervise.shadowing import shadow_views
from gateway.types import Signature, TensorSpec
from tests.supervise.steered import FakeInventory

VARIANTS = (Variant("stable", "1", WHOLE_BP - 500), Variant("canary", "2", 500))
DOCUMENT = Document("m", 4, VARIANTS, (Shadow("next", "3", 0.5),), fallback="stable")
NONE = (0,) * MOST_OUTPUTS


def signature(*outputs: str) -> Signature:
    return Signature((), tuple(TensorSpec(name, "FP32", (-1,)) for name in outputs), 8)


def known(*outputs: str) -> dict[str, Known]:
    inventory = FakeInventory()
    inventory.have("m", "3", Ready(), signature(*outputs))
    return dict(inventory.known("m"))


def key(revision: int = 4, arm: str = "next", digest: str = "a", version: str = "3") -> RowKey:
    return RowKey("m", version, digest, arm, revision)


def counted(*shadowed: int, rows: tuple[int, ...] = ()) -> Counts:
    return Counts(shadowed=shadowed, disagreements=(*rows, *NONE[len(rows) :]))


def view(
    counts: dict[RowKey, Counts],
    versions: dict[str, Known] | None = None,
    document: Document = DOCUMENT,
) -> ShadowView:
    (found,) = shadow_views(document, counts, versions or known("y"), Disagreements())
    return found


def test_a_shadow_that_was_not_asked_yet_has_zeros() -> None:
    calls = {"agreed": 0, "disagreed": 0, "failed": 0, "dropped": 0}
    assert view({}) == ShadowView("next", "3", 0.5, False, calls, {"y": 0}, ())


def test_counts_of_equal_names_are_added_whatever_their_digest() -> None:
    found = view({key(): counted(1, 2, 3, 4), key(digest="b"): counted(10, 20, 30, 40)})
    assert found.calls == {"agreed": 11, "disagreed": 22, "failed": 33, "dropped": 44}


def test_what_another_revision_or_another_arm_has_counted_is_another_s() -> None:
    counts = {key(revision=3): counted(9, 9, 9, 9), key(arm="stable"): counted(9, 9, 9, 9)}
    assert set(view(counts).calls.values()) == {0}


def test_rows_that_disagree_are_named_by_their_output() -> None:
    found = view({key(): counted(0, 3, 0, 0, rows=(1, 2))}, known("label", "scores"))
    assert found.rows == {"label": 1, "scores": 2}


def test_of_more_outputs_than_are_counted_the_last_stands_for_the_rest() -> None:
    names = [f"y{number}" for number in range(MOST_OUTPUTS + 3)]
    rows = tuple(range(1, MOST_OUTPUTS + 1))
    found = view({key(): counted(0, 3, 0, 0, rows=rows)}, known(*names))
    assert list(found.rows) == [*names[: MOST_OUTPUTS - 1], "others"]
    assert found.rows["others"] == MOST_OUTPUTS


def test_as_many_outputs_as_are_counted_all_have_their_names() -> None:
    names = [f"y{number}" for number in range(MOST_OUTPUTS)]
    assert list(view({}, known(*names)).rows) == names


def test_a_version_that_was_never_proved_has_no_outputs() -> None:
    inventory = FakeInventory()
    inventory.register.know("m", "3")
    assert view({}, dict(inventory.known("m"))).rows == {}
    assert view({}, {"1": known("y")["3"]}).rows == {}


def test_a_shadow_of_the_usual_version_is_a_noise_floor() -> None:
    floor = replace(DOCUMENT, shadows=(Shadow("same", "1", 1.0),))
    assert view({}, document=floor).is_noise_floor
    other = replace(DOCUMENT, shadows=(Shadow("same", "2", 1.0),))  # of the canary, not the usual
    assert not view({}, document=other).is_noise_floor


def test_where_the_fallback_has_no_weight_the_noise_floor_is_of_the_heaviest() -> None:
    variants = (Variant("stable", "1", 0), Variant("canary", "2", 10_000))
    document = replace(DOCUMENT, variants=variants)
    floor = replace(document, shadows=(Shadow("same", "2", 1.0),))
    assert view({}, document=floor).is_noise_floor
    other = replace(document, shadows=(Shadow("same", "1", 1.0),))
    assert not view({}, document=other).is_noise_floor


def test_each_shadow_has_its_own_counts_and_its_own_worst_rows() -> None:
    shadows = (Shadow("next", "3", 0.5), Shadow("more", "3", 1.0))
    kept = Disagreements()
    for shadow, distance in (("next", 1.0), ("next", 2.0), ("more", 3.0)):
        kept.note(Disagreed("m", 4, shadow, "y", distance, {}, (0,), (1,), 0.0))
    counts = {key(): counted(1, 0, 0, 0), key(arm="more"): counted(2, 0, 0, 0)}
    found = shadow_views(replace(DOCUMENT, shadows=shadows), counts, known("y"), kept)
    told = [(one.name, one.calls["agreed"], [row.distance for row in one.worst]) for one in found]
    assert told == [("next", 1, [2.0, 1.0]), ("more", 2, [3.0])]


def test_a_document_without_shadows_has_none() -> None:
    assert shadow_views(replace(DOCUMENT, shadows=()), {}, {}, Disagreements()) == ()
