"""Which buckets move when weights change: as few as can be, and none that need not."""

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.documents import WHOLE_BP, Piece, Variant
from gateway.core.ranges import BUCKETS, MANY_PIECES, apportion, sizes
from tests.core.drawn import arms, weights

Pieces = tuple[Piece, ...]
counts = st.integers(1, 6)


@st.composite
def histories(draw: st.DrawFn, fewest: int = 1, most: int = 6) -> list[tuple[Variant, ...]]:
    """Splits that followed one another, of the same arms."""
    count = draw(counts)
    steps = draw(st.lists(weights(count), min_size=fewest, max_size=most))
    return [arms(step) for step in steps]


def played(history: Sequence[Sequence[Variant]]) -> Pieces:
    pieces: Pieces = ()
    for variants in history:
        pieces = apportion(pieces, variants)
    return pieces


def owned(pieces: Sequence[Piece]) -> dict[str, int]:
    """Return how many buckets each variant holds."""
    found: dict[str, int] = {}
    for piece in pieces:
        found[piece.variant] = found.get(piece.variant, 0) + piece.stop - piece.start
    return found


def is_whole(pieces: Sequence[Piece]) -> bool:
    """Say whether every bucket belongs to exactly one variant."""
    ascending = sorted(pieces, key=lambda piece: piece.start)
    edges = [(piece.start, piece.stop) for piece in ascending]
    return (
        all(start < stop for start, stop in edges)
        and (edges[0][0], edges[-1][1]) == (0, BUCKETS)
        and all(before[1] == after[0] for before, after in pairwise(edges))
    )


def moves(before: Sequence[Piece], after: Sequence[Piece]) -> Iterator[tuple[str, str, int]]:
    """Yield who gave how many buckets to whom."""
    old = sorted(before, key=lambda piece: piece.start)
    new = sorted(after, key=lambda piece: piece.start)
    at = 0
    for piece in old:
        while at < len(new) and new[at].start < piece.stop:
            size = min(piece.stop, new[at].stop) - max(piece.start, new[at].start)
            if piece.variant != new[at].variant:
                yield piece.variant, new[at].variant, size
            if new[at].stop > piece.stop:
                break
            at += 1


def moved(before: Sequence[Piece], after: Sequence[Piece]) -> int:
    return sum(size for _, _, size in moves(before, after))


def growth(before: Sequence[Piece], after: Sequence[Piece]) -> dict[str, int]:
    old, new = owned(before), owned(after)
    return {name: new.get(name, 0) - old.get(name, 0) for name in {**old, **new}}


def is_least(before: Sequence[Piece], after: Sequence[Piece]) -> bool:
    """Say whether only growth moved, and only from those that shrank to those that grew."""
    by = growth(before, after)
    return moved(before, after) == sum(one for one in by.values() if one > 0) and all(
        by[giver] < 0 < by[taker] for giver, taker, _ in moves(before, after)
    )


# --- sizes


@given(st.integers(1, 64).flatmap(weights))
def test_the_sizes_are_all_buckets_and_each_is_its_weight(weights_bp: list[int]) -> None:
    """Rounded down, but for the largest, which is off by less than a bucket a variant."""
    variants = [Variant(f"v{at}", "1", weight) for at, weight in enumerate(weights_bp)]
    found = sizes(variants)
    assert sum(found.values()) == BUCKETS
    largest = max(variants, key=lambda one: one.weight_bp).name
    for one in variants:
        off = found[one.name] - one.weight_bp * BUCKETS / WHOLE_BP
        assert -1 < off <= 0 if one.name != largest else 0 <= off < len(variants)


def test_of_equal_weights_the_first_takes_what_is_left_over() -> None:
    assert sizes(arms([3333, 3333, 3334])) == {
        "a": 3333 * BUCKETS // WHOLE_BP,
        "b": 3333 * BUCKETS // WHOLE_BP,
        "c": BUCKETS - 2 * (3333 * BUCKETS // WHOLE_BP),
    }
    assert sizes(arms([5000, 5000])) == {"a": BUCKETS // 2, "b": BUCKETS // 2}


# --- pieces


def test_at_first_the_variants_stand_side_by_side() -> None:
    half, quarter = BUCKETS // 2, BUCKETS // 4
    assert apportion((), arms([5000, 0, 2500, 2500])) == (
        Piece(0, half, "a"),
        Piece(half, half + quarter, "c"),
        Piece(half + quarter, BUCKETS, "d"),
    )


@given(histories())
def test_every_bucket_belongs_to_one_variant_and_each_has_its_size(
    history: list[tuple[Variant, ...]],
) -> None:
    pieces = played(history)
    assert is_whole(pieces)
    assert owned(pieces) == {name: size for name, size in sizes(history[-1]).items() if size}


@given(histories(fewest=2))
def test_as_few_buckets_move_as_can_be_and_only_to_those_that_grew(
    history: list[tuple[Variant, ...]],
) -> None:
    before = played(history[:-1])
    assert is_least(before, apportion(before, history[-1]))


@given(histories(fewest=2))
def test_a_step_that_is_taken_straight_back_returns_the_same_pieces(
    history: list[tuple[Variant, ...]],
) -> None:
    before = played(history[:-1])
    there = apportion(before, history[-1])
    assert apportion(there, history[-2]) == before


@given(histories(fewest=2))
def test_a_variant_that_goes_altogether_comes_back_to_what_it_had(
    history: list[tuple[Variant, ...]],
) -> None:
    before = played(history[:-1])
    staying = [one for one in history[-1] if one.weight_bp]
    there = apportion(before, staying)
    assert owned(there).keys() == {one.name for one in staying}
    assert is_least(before, there)
    assert apportion(there, history[-2]) == before


@given(histories(), st.randoms())
def test_the_order_of_a_document_means_nothing_to_who_has_what(
    history: list[tuple[Variant, ...]], dice: random.Random
) -> None:
    pieces = played(history)
    shuffled = list(history[-1])
    dice.shuffle(shuffled)
    moved_by_leftovers = moved(pieces, apportion(pieces, shuffled))
    assert moved_by_leftovers < len(shuffled)


@given(histories())
def test_what_does_not_change_moves_nobody(history: list[tuple[Variant, ...]]) -> None:
    pieces = played(history)
    assert apportion(pieces, history[-1]) == pieces


@given(st.lists(st.integers(0, WHOLE_BP), min_size=1, max_size=8).map(sorted))
def test_a_ramp_moves_nobody_back_and_its_end_moves_all_back(ramp: list[int]) -> None:
    steps = [
        arms([WHOLE_BP - canary, canary])
        for canary in (500, *(500 + one * 95 // 100 for one in ramp))
    ]
    pieces = start = apportion((), steps[0])
    for step in steps[1:]:
        before, pieces = pieces, apportion(pieces, step)
        assert {(giver, taker) for giver, taker, _ in moves(before, pieces)} <= {("a", "b")}
    assert moved(start, apportion(pieces, steps[0])) == 0


@pytest.mark.parametrize("canary", ["b", "c"])
def test_the_third_arm_does_not_feel_a_ramp(canary: str) -> None:
    start = apportion((), arms([8000, 1000, 1000]))
    raised = [8000 - 1500, 1000, 1000]
    raised["abc".index(canary)] += 1500
    after = apportion(start, arms(raised))
    assert {(giver, taker) for giver, taker, _ in moves(start, after)} == {("a", canary)}


# --- many pieces


def shuffled_weights(dice: random.Random, count: int) -> list[int]:
    cuts = [0, *sorted(dice.randrange(WHOLE_BP + 1) for _ in range(count - 1)), WHOLE_BP]
    return [after - before for before, after in pairwise(cuts)]


def nudged(dice: random.Random, weights_bp: list[int]) -> list[int]:
    """Return weights of which one gave a few hundredths to another."""
    giver = dice.choice([at for at, weight in enumerate(weights_bp) if weight])
    taker = dice.choice([at for at in range(len(weights_bp)) if at != giver])
    size = dice.randint(1, min(5, weights_bp[giver]))
    changed = list(weights_bp)
    changed[giver] -= size
    changed[taker] += size
    return changed


@pytest.mark.parametrize("count", [2, 3, 4, 8])
@pytest.mark.parametrize("is_gentle", [True, False])
def test_a_thousand_changes_leave_few_pieces_and_each_moved_the_least(
    count: int, is_gentle: bool
) -> None:
    """Without mending there would be thousands."""
    dice = random.Random(count)
    weights_bp = shuffled_weights(dice, count)
    pieces = apportion((), arms(weights_bp))
    for _ in range(1000):
        weights_bp = nudged(dice, weights_bp) if is_gentle else shuffled_weights(dice, count)
        before, pieces = pieces, apportion(pieces, arms(weights_bp))
        assert is_least(before, pieces)
        assert len(pieces) <= MANY_PIECES + 8 * count
    assert is_whole(pieces)


def test_many_pieces_are_mended_by_the_least_movement() -> None:
    """Two arms in 1,024 stripes: what moves is what the change asks for, and stripes join."""
    wide = BUCKETS // 1024
    stripes = tuple(Piece(at * wide, (at + 1) * wide, "ab"[at % 2]) for at in range(1024))
    after = apportion(stripes, arms([7500, 2500]))
    assert is_whole(after)
    assert is_least(stripes, after)
    assert len(after) <= 1024 - 256
    again = apportion(after, arms([10_000, 0]))
    assert again == (Piece(0, BUCKETS, "a"),)


def test_a_variant_that_goes_gives_up_all_of_its_many_pieces() -> None:
    wide = BUCKETS // 512
    stripes = tuple(Piece(at * wide, (at + 1) * wide, "abcd"[at % 4]) for at in range(512))
    after = apportion(stripes, arms([2500, 5000, 2500]))
    assert is_least(stripes, after)
    assert owned(after) == {"a": BUCKETS // 4, "b": BUCKETS // 2, "c": BUCKETS // 4}
