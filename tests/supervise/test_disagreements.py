"""The worst that shadows have said is kept: few, and of one revision."""

from gateway.control.messages import Disagreed
from gateway.supervise.disagreements import Disagreements


def one(
    distance: float | None,
    output: str = "y",
    shadow: str = "next",
    revision: int = 3,
    model: str = "m",
) -> Disagreed:
    return Disagreed(model, revision, shadow, output, distance, {"x": (1.0,)}, (0,), (1,), 1.5)


def noted(*some: Disagreed) -> Disagreements:
    kept = Disagreements()
    for each in some:
        kept.note(each)
    return kept


def distances(kept: Disagreements, revision: int = 3, model: str = "m") -> list[float | None]:
    return [each.distance for each in kept.worst(model, revision, "next")]


def test_the_worst_five_are_kept_the_worst_first() -> None:
    kept = noted(*(one(float(distance)) for distance in (3, 1, 7, 2, 5, 4, 6)))
    assert distances(kept) == [7.0, 6.0, 5.0, 4.0, 3.0]


def test_what_is_beyond_all_numbers_is_worst() -> None:
    assert distances(noted(one(9.0), one(None), one(1.0))) == [None, 9.0, 1.0]


def test_each_output_has_its_own() -> None:
    kept = noted(one(1.0, "b"), one(2.0, "a"), one(3.0, "b"))
    assert [(each.output, each.distance) for each in kept.worst("m", 3, "next")] == [
        ("a", 2.0),
        ("b", 3.0),
        ("b", 1.0),
    ]


def test_each_shadow_has_its_own() -> None:
    kept = noted(one(1.0), one(2.0, shadow="other"))
    assert distances(kept) == [1.0]


def test_a_new_revision_begins_anew_and_an_old_one_is_heard_no_more() -> None:
    kept = noted(one(1.0), one(2.0, revision=4), one(9.0, revision=3))
    assert distances(kept, 4) == [2.0]
    assert distances(kept, 3) == []


def test_what_nobody_spoke_of_has_none() -> None:
    assert noted().worst("m", 1, "next") == ()


def test_of_too_many_models_the_longest_unheard_is_forgotten() -> None:
    kept = noted(one(1.0, model="first"), one(1.0, model="second"))
    for number in range(998):
        kept.note(one(1.0, model=f"m{number}"))
    kept.note(one(2.0, model="first"))
    kept.note(one(1.0, model="last"))
    assert distances(kept, model="first") == [2.0, 1.0]
    assert distances(kept, model="second") == []
