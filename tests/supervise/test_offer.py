"""What every replica holds, and the rows that leave with a table."""

from gateway.control.messages import Entry, Table
from gateway.supervise.offer import Offer
from tests.supervise.fakes import assigned


def offering(*rows: int) -> Offer:
    """An offer that has versions prepared; a version is called as its row."""
    offer = Offer()
    offer.add([assigned(str(row), row) for row in rows])
    return offer


def table(revision: int, *served: str, **arms: int) -> Table:
    return Table(revision, {"m": Entry(None, {one: one for one in served}, rows=arms)})


def test_versions_that_a_table_names_no_more_leave_with_their_rows() -> None:
    offer = offering(1, 2)
    assert offer.publish(table(1, "1", "2")) == ()
    assert offer.publish(table(2, "2")) == (1,)
    assert [one.row for one in offer.versions()] == [2]


def test_rows_of_arms_leave_with_the_table_that_named_them() -> None:
    offer = offering(1)
    assert offer.publish(table(1, "1", stable=11, canary=12)) == ()
    assert offer.publish(table(2, "1", stable=11, canary=13)) == (12,)
    assert offer.publish(table(3, "1")) == (11, 13)
    assert offer.publish(table(4, "1")) == ()


def test_a_row_that_goes_to_another_arm_has_not_left() -> None:
    offer = offering(1)
    offer.publish(table(1, "1", stable=11))
    assert offer.publish(table(2, "1", renamed=11)) == ()


def test_a_model_that_goes_takes_the_rows_of_its_arms_along() -> None:
    offer = offering(1)
    offer.publish(table(1, "1", stable=11))
    assert offer.publish(Table(2)) == (1, 11)


def test_what_is_prepared_for_another_table_has_not_left() -> None:
    offer = offering(1, 2)
    assert offer.publish(table(1, "1")) == ()
    assert [one.row for one in offer.versions()] == [1, 2]
    offer.forget([2])
    assert [one.row for one in offer.versions()] == [1]
    assert not offer.holds(assigned("2", 2))


def test_of_two_rows_for_one_name_the_newest_is_meant() -> None:
    offer = offering(1)
    offer.publish(table(1, "1"))
    again = assigned("1", 5)
    offer.add([again])
    assert offer.holds(again)
    assert offer.publish(table(2, "1")) == (1,)
    assert [one.row for one in offer.versions()] == [5]
