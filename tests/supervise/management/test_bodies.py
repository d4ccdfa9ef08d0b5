"""Bodies: what a change may say."""

import pytest

from gateway.errors import Malformed
from gateway.supervise.management.bodies import MAX_REASON_CHARS, read_change, schema


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", None),
        (b' {"reason": null} ', None),
        (b'{"reason": ""}', ""),
        ('{"reason": "größer"}'.encode(), "größer"),
        (b'{"reason": "%b"}' % (b"x" * MAX_REASON_CHARS), "x" * MAX_REASON_CHARS),
    ],
)
def test_a_change_may_say_why(body: bytes, reason: str | None) -> None:
    assert read_change(body).reason == reason


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"reason": 7}', "$.reason: "),
        (b'{"raeson": "x"}', "$.raeson: "),
        (b'{"reason": "x", "force": true}', "$.force: "),
        (b"7", "$: "),
        (b"{", "$: "),
        (b"[" * 100_000, "$: "),
        (b'{"%b": 1}' % (b"x" * 10_000), "$.xxx"),
    ],
)
def test_a_fault_is_named_by_its_path_in_few_words(body: bytes, path: str) -> None:
    with pytest.raises(Malformed) as refused:
        read_change(body)
    assert str(refused.value).startswith(path)
    assert len(str(refused.value)) < 400


def test_the_schema_knows_what_is_read() -> None:
    described = schema()
    assert described["additionalProperties"] is False
    assert set(described["properties"]) == {"reason"}  # type: ignore[call-overload]  # it is a dict
