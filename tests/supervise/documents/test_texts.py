import pytest

from gateway.supervise.documents.texts import document_of, text_of
from tests.supervise.documents.papers import a_document, read


def test_what_is_written_is_read_again() -> None:
    document = a_document("modèle", 7, 'because of "ä"\n')
    assert document_of(text_of(document), read) == document


def test_a_document_is_one_line() -> None:
    assert b"\n" not in text_of(a_document(reason="two\nlines"))


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"[]", b"\xff", b"{}", b"\0\0"])
def test_what_is_no_document_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        document_of(text, read)
