"""Grammar: one match is one whole line, and a line that is none says why."""

import pytest

from gateway.wire.failures import Refused
from gateway.wire.grammar import FIELD, field_fault, read_request_line
from gateway.wire.paths import InferTarget


def test_a_request_line_gives_all_that_follows_from_it() -> None:
    line = read_request_line(b"POST /v2/models/a%20b/infer?q=1 HTTP/1.0\r\n")
    assert line.method == "POST"
    assert line.target == b"/v2/models/a%20b/infer?q=1"
    assert line.path == ("v2", "models", "a b", "infer")
    assert line.raw_path == b"/v2/models/a%20b/infer"
    assert line.query == b"q=1"
    assert line.version_minor == 0
    assert line.infer == InferTarget("a b", None)
    assert line.path_fault is None


def test_a_bad_escape_is_kept_as_a_sentence() -> None:
    line = read_request_line(b"POST /v2/models/%zz/infer HTTP/1.1\r\n")
    assert (line.path, line.infer) == ((), None)
    assert line.path_fault == "request path: bad percent escape in '/v2/models/%zz/infer'"


def test_fields_are_found_only_as_whole_lines() -> None:
    raw = b"A: b\r\n C: d\r\nE : f\r\ng:\th i \r\nJ: k\rL: m\r\nN: o\nP: q\r\n"
    assert FIELD.findall(raw) == [(b"A", b"b"), (b"g", b"h i "), (b"P", b"q")]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"A: b\n", "a line ends with a bare LF"),
        (b" A: b\r\n", "folded lines are not allowed"),
        (b"\tA: b\r\n", "folded lines are not allowed"),
        (b"A b\r\n", "a header line has no colon"),
        (b": b\r\n", "a header has no name"),
        (b"A : b\r\n", "a space stands before a header's colon"),
        (b"A\t: b\r\n", "a space stands before a header's colon"),
        (b"A: b\0\r\n", "a header's value has a control character"),
        (b"A: b\rc\r\n", "a header's value has a control character"),
        (b"A(: b\r\n", "a header's name has a character that names may not have"),
        (b"A\x00: b\r\n", "a header's name has a character that names may not have"),
        (b"\xc3\xa9: b\r\n", "a header's name has a character that names may not have"),
    ],
)
def test_a_line_that_is_no_field_says_why(line: bytes, what: str) -> None:
    refused = field_fault(b"Good: one\r\n" + line + b"Other: x\r\n\r\n")
    assert refused.status == 400
    assert str(refused).startswith(f"request head: {what}: ")


def test_fields_without_their_blank_line_say_so() -> None:
    assert str(field_fault(b"A: b\r\n")) == "request head: expected one blank line, at its end"


def test_a_request_line_without_its_end_says_so() -> None:
    with pytest.raises(Refused, match="expected CRLF at its end"):
        read_request_line(b"GET / HTTP/1.1\n")
