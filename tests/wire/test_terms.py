"""Terms: a header that an inference request may not carry is named and refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.errors import Forbidden, GatewayError, Unauthenticated
from gateway.wire.codings import Coding
from gateway.wire.failures import Refused, status_of
from gateway.wire.paths import Dialect
from gateway.wire.terms import NO_TERMS, Terms, joined, read_terms, usable_request_id
from tests.wire.splitting import GUARDED, KEYS, LEVER

TIMEOUT = b"x-request-timeout-ms"
PRIORITY = b"x-request-priority"
JSON_LENGTH = b"inference-header-content-length"
CODING = b"content-encoding"
PIN = b"x-gateway-variant"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (TIMEOUT, b"250", Terms(timeout_s=0.25)),
        (TIMEOUT, b"0.5", Terms(timeout_s=0.0005)),
        (TIMEOUT, b"86400000", Terms(timeout_s=86400.0)),
        (TIMEOUT, b"007", Terms(timeout_s=0.007)),
        (PRIORITY, b"0", Terms()),
        (PRIORITY, b"7", Terms(priority=7)),
        (PRIORITY, b"9" * 18, Terms(priority=int("9" * 18))),
        (JSON_LENGTH, b"0", Terms(json_length=0)),
        (JSON_LENGTH, b"99999999999", Terms(json_length=99999999999)),
        (JSON_LENGTH, b"5, 5", Terms(json_length=5)),
        (JSON_LENGTH, b"5, 05", Terms(json_length=5)),
        (CODING, b"gzip", Terms(coding=Coding.GZIP)),
        (CODING, b"identity, Deflate", Terms(coding=Coding.DEFLATE)),
        (b"content-type", b"text/csv", Terms()),
        (CODING, b"identity", Terms()),
        (CODING, b"Identity, identity", Terms()),
        (CODING, b"", Terms()),
        (b"accept", b"*/*", Terms()),
    ],
)
def test_a_header_becomes_a_term(name: bytes, value: bytes, expected: Terms) -> None:
    assert read_terms({name: value}) == expected


def test_all_terms_are_read_together() -> None:
    fields = {TIMEOUT: b"1000", PRIORITY: b"2", JSON_LENGTH: b"3", CODING: b"identity"}
    expected = Terms(timeout_s=1.0, priority=2, json_length=3)
    assert read_terms(fields) == expected


@pytest.mark.parametrize("value", [b"canary", b"", b"a, b"])
@pytest.mark.parametrize("dialect", Dialect)
def test_a_pin_is_read_in_every_dialect_if_the_key_may_operate(
    value: bytes, dialect: Dialect
) -> None:
    found = read_terms({PIN: value, b"x-api-key": LEVER}, dialect, KEYS)
    assert found == Terms(pin=value, dialect=dialect)


@pytest.mark.parametrize("value", [b"canary", b"nobody", b""])
@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, Unauthenticated),
        ({b"x-api-key": b"nonsense"}, Unauthenticated),
        ({b"authorization": b"Basic bGV2ZXI="}, Unauthenticated),
        ({b"authorization": b"Bearer glass"}, Forbidden),
    ],
)
def test_a_pin_without_a_key_that_may_is_refused_whatever_it_names(
    value: bytes, fields: dict[bytes, bytes], kind: type[GatewayError]
) -> None:
    with pytest.raises(kind, match="header x-gateway-variant: "):
        read_terms({PIN: value, **fields}, keys=KEYS)


@pytest.mark.parametrize("name", [b"x-api-key", b"authorization"])
def test_without_a_wish_that_needs_one_no_key_is_looked_at(name: bytes) -> None:
    assert read_terms({name: b"Bearer lever"}) is NO_TERMS
    assert read_terms({name: b"Bearer nonsense"}, keys=KEYS) is NO_TERMS


@pytest.mark.parametrize("dialect", Dialect)
def test_where_keys_guard_predictions_who_shows_none_is_refused_before_all_else(
    dialect: Dialect,
) -> None:
    with pytest.raises(Unauthenticated, match="a prediction: expected a key"):
        read_terms({PRIORITY: b"nonsense"}, dialect, GUARDED)
    with pytest.raises(Unauthenticated):
        read_terms({b"x-api-key": b"nonsense"}, dialect, GUARDED)
    with pytest.raises(Forbidden, match="role predict, got one of feedback"):
        read_terms({b"x-api-key": b"glass"}, dialect, GUARDED)


@pytest.mark.parametrize("key", [b"ticket", LEVER])
def test_who_may_predict_or_operate_asks_on_the_usual_terms(key: bytes) -> None:
    fields = {b"authorization": b"Bearer " + key}
    assert read_terms(fields, keys=GUARDED) is NO_TERMS
    assert read_terms({**fields, PRIORITY: b"1"}, keys=GUARDED) == Terms(priority=1)


def test_who_may_only_predict_may_not_pin() -> None:
    with pytest.raises(Forbidden, match="role operate, got one of predict"):
        read_terms({b"x-api-key": b"ticket", PIN: b"canary"}, keys=GUARDED)


def test_a_pinned_request_in_json_is_plain() -> None:
    assert read_terms({PIN: b"canary", b"x-api-key": LEVER}, keys=KEYS).is_plain


@pytest.mark.parametrize("dialect", [Dialect.INVOCATIONS, Dialect.VERTEX])
@pytest.mark.parametrize("value", [b"text/csv", None])
def test_only_dialects_that_go_by_the_content_type_hear_of_it(
    dialect: Dialect, value: bytes | None
) -> None:
    fields = {PRIORITY: b"3"} | ({} if value is None else {b"content-type": value})
    found = read_terms(fields, dialect)
    assert found == Terms(priority=3, dialect=dialect, media=value or b"")
    assert not found.is_plain
    assert read_terms(fields, Dialect.V1) == Terms(priority=3, dialect=Dialect.V1)


def test_only_v2_in_json_as_it_comes_is_plain() -> None:
    assert Terms(timeout_s=1.0, priority=2).is_plain
    assert not Terms(json_length=0).is_plain
    assert not Terms(coding=Coding.GZIP).is_plain
    assert not Terms(dialect=Dialect.V1).is_plain


def test_a_request_without_such_headers_has_the_default_terms() -> None:
    assert read_terms({b"host": b"h"}) is NO_TERMS
    assert Terms(timeout_s=None, priority=0, json_length=None) == NO_TERMS


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"0", b"0.0", b"-1", b"+1", b"1e3", b"nan", b"inf", b"Infinity", b"1_000", b"0x10"),
        *(b".5", b"5.", b"1 000", b"1,5", b"5, 5", b"86400000.1", b"999999999999", b"1.1.1"),
        *("\u0661".encode(), b"5s", b"soon", b"9" * 5000),
    ],
)
def test_a_timeout_that_is_no_positive_number_of_a_day_at_most_is_malformed(value: bytes) -> None:
    with pytest.raises(errors.Malformed, match="header x-request-timeout-ms: expected"):
        read_terms({TIMEOUT: value})


@pytest.mark.parametrize("name", [PRIORITY, JSON_LENGTH])
@pytest.mark.parametrize(
    "value",
    [b"", b"-1", b"+1", b"1.0", b"1e3", b"0x1", b"1_0", b"high", b"9" * 19, "\u0661".encode()],
)
def test_a_count_that_is_no_whole_number_is_malformed(name: bytes, value: bytes) -> None:
    with pytest.raises(errors.Malformed, match=f"header {name.decode()}: expected a whole number"):
        read_terms({name: value})


def test_a_priority_given_twice_is_malformed() -> None:
    with pytest.raises(errors.Malformed):
        read_terms({PRIORITY: b"1, 1"})


@pytest.mark.parametrize("value", [b"5, 6", b"5, 5, 6"])
def test_json_lengths_that_differ_are_malformed(value: bytes) -> None:
    with pytest.raises(errors.Malformed, match="given twice"):
        read_terms({JSON_LENGTH: value})


@pytest.mark.parametrize("value", [b"5, ", b", 5", b"5, x"])
def test_a_json_length_beside_something_else_is_malformed(value: bytes) -> None:
    with pytest.raises(errors.Malformed):
        read_terms({JSON_LENGTH: value})


@pytest.mark.parametrize("value", [b"br", b"zstd", b"gzip, gzip", b"identity, gzip, br", b"x"])
def test_a_coding_that_we_do_not_read_gets_415_and_hears_which_we_do(value: bytes) -> None:
    with pytest.raises(Refused) as refused:
        read_terms({CODING: value})
    assert status_of(refused.value) == 415
    assert refused.value.code == "unsupported_media_type"
    assert refused.value.headers == (("accept-encoding", "gzip, deflate"),)


@pytest.mark.parametrize(
    "value",
    [b"a", b"0af7651916cd43dd8448eb211c80319c", b"!#$%&()*+,-./:;<=>?@[]^_`{|}~", b"x" * 128],
)
def test_a_visible_request_id_is_usable(value: bytes) -> None:
    assert usable_request_id({b"x-request-id": value}) == value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x" * 129,
        b"a b",
        b"a, b",
        b'a"b',
        b"a'b",
        b"a\\b",
        b"a\tb",
        b"a\r\nb",
        b"\x7f",
        b"\xe9",
    ],
)
def test_any_other_request_id_is_not_echoed(value: bytes) -> None:
    assert usable_request_id({b"x-request-id": value}) is None


def test_a_request_without_an_id_has_none() -> None:
    assert usable_request_id({}) is None


def test_repeated_fields_become_one_list_in_order() -> None:
    headers = [(b"a", b"1"), (b"b", b""), (b"a", b"2"), (b"a", b"1")]
    assert joined(headers) == {b"a": b"1, 2, 1", b"b": b""}


@given(
    st.dictionaries(
        st.sampled_from([TIMEOUT, PRIORITY, JSON_LENGTH, CODING, PIN]),
        st.binary(max_size=20) | st.from_regex(rb"[0-9.,e+-]{0,12}", fullmatch=True),
    )
)
def test_any_values_give_terms_or_a_named_error(fields: dict[bytes, bytes]) -> None:
    try:
        terms = read_terms(fields)
    except (errors.Malformed, errors.Unauthenticated, Refused):
        return
    assert terms.timeout_s is None or 0 < terms.timeout_s <= 86400
    assert terms.priority >= 0
    assert terms.json_length is None or terms.json_length >= 0
