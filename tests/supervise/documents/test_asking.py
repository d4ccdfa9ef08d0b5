from gateway.supervise.documents.asking import Asking, portions
from gateway.supervise.documents.texts import text_of
from tests.supervise.documents.papers import a_document

ASKING = Asking("fleet:7")


def test_every_key_stands_under_the_prefix() -> None:
    assert ASKING.channel == "fleet:7:changed"
    assert ASKING.table() == ("HGETALL", "fleet:7:newest")
    assert ASKING.newest("m") == ("LINDEX", "fleet:7:history:m", 0)
    assert ASKING.history("m") == ("LRANGE", "fleet:7:history:m", 0, 99)


def test_what_is_written_names_all_its_keys() -> None:
    """A Redis whose keys are spread over machines must know them before."""
    document = a_document("m", 3)
    keys = (3, "fleet:7:newest", "fleet:7:history:m", "fleet:7:changed")
    for command in (ASKING.write(document), ASKING.give_back(document)):
        assert command[0] == "EVAL"
        assert command[2:] == (*keys, "m", 3, text_of(document), 100)


def test_whatever_is_asked_for_is_in_one_of_the_portions_in_order() -> None:
    for count in (0, 1, 200, 201, 450):
        parts = portions(range(count))
        assert [one for part in parts for one in part] == list(range(count))
        assert all(0 < len(part) <= 200 for part in parts)
