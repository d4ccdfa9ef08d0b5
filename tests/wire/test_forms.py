"""Forms: what all answers of a kind begin with."""

import pytest

from gateway.wire.forms import JSON, OCTETS, form


def test_a_form_ends_where_the_request_id_begins() -> None:
    made = form(200, (JSON, (b"x-gateway-version", b"2")))
    assert made.lines == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        b"x-gateway-version: 2\r\nx-request-id: "
    )
    assert (made.status, made.pairs) == (200, (JSON, (b"x-gateway-version", b"2")))


def test_a_status_that_nobody_named_has_an_empty_phrase() -> None:
    assert form(299, ()).lines == b"HTTP/1.1 299 \r\nx-request-id: "


def test_a_client_that_left_has_a_phrase_too() -> None:
    assert form(499, ()).lines.startswith(b"HTTP/1.1 499 Client Closed Request\r\n")


@pytest.mark.parametrize(("status", "has_body"), [(200, True), (204, False), (404, True)])
def test_only_an_answer_without_content_has_no_body(status: int, has_body: bool) -> None:
    assert form(status, (OCTETS,)).has_body is has_body
