from hypothesis import given
from hypothesis import strategies as st

from gateway.core.covering import changes, cover


def test_nothing_is_covered_while_everybody_serves() -> None:
    assert cover({0, 1, 2}, 3, {}) == {}


def test_a_slot_without_its_replica_goes_to_the_one_with_the_fewest() -> None:
    assert cover({1, 2}, 4, {0: 1}) == {0: 1, 3: 2}


def test_a_cover_that_is_alive_stays() -> None:
    assert cover({1, 2}, 3, {0: 2}) == {0: 2}


def test_a_cover_that_died_is_replaced() -> None:
    assert cover({2}, 3, {0: 1}) == {0: 2, 1: 2}


def test_with_nobody_alive_the_slots_wait() -> None:
    assert cover(set(), 2, {0: 1}) == {}


def test_a_replica_that_is_back_has_its_slot_given_back() -> None:
    assert changes({0: 1}, cover({0, 1}, 2, {0: 1}), {0, 1}) == ([], [(1, 0)])


def test_the_dead_are_told_nothing() -> None:
    assert changes({0: 1}, {0: 2, 1: 2}, {2}) == ([(2, 0), (2, 1)], [])


@given(st.data())
def test_after_any_story_every_slot_has_exactly_one_acceptor_while_anybody_lives(
    data: st.DataObject,
) -> None:
    """Replays deaths and returns, and obeys each instruction as a replica would."""
    slots = data.draw(st.integers(1, 6))
    accepting: dict[int, set[int]] = {who: {who} for who in range(slots)}  # of the living
    covering: dict[int, int] = {}
    for _ in range(data.draw(st.integers(0, 12))):
        who = data.draw(st.integers(0, slots - 1))
        if who in accepting:
            del accepting[who]
        else:
            accepting[who] = {who}
        after = cover(accepting.keys(), slots, covering)
        accepts, releases = changes(covering, after, accepting.keys())
        for one, slot in accepts:
            assert slot not in accepting[one]
            accepting[one].add(slot)
        for one, slot in releases:
            accepting[one].remove(slot)
        covering = after
        taken = sorted(slot for mine in accepting.values() for slot in mine)
        assert taken == (list(range(slots)) if accepting else [])
