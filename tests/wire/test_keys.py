"""Keys: who may do more than ask, and what the others hear."""

import hashlib

import pytest

from gateway.errors import Forbidden, GatewayError, Unauthenticated
from gateway.wire.keys import FEEDBACK, NO_KEYS, OPERATE, PREDICT, Holder, Keys, shown_key
from gateway.wire.meters import Meters
from gateway.wire.terms import joined
from tests.fakes import a_record
from tests.wire.splitting import told

WHAT = "header x-gateway-variant"

KEYS = Keys([told("operate", b"lever"), told("feedback", b"glass"), told("operate", b"spare")])


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({b"x-api-key": b"lever"}, b"lever"),
        ({b"authorization": b"Bearer lever"}, b"lever"),
        ({b"authorization": b"bearer lever"}, b"lever"),
        ({b"authorization": b"BEARER  lever "}, b"lever"),
        ({b"x-api-key": b"lever", b"authorization": b"Bearer other"}, b"lever"),
        ({b"x-api-key": b""}, b""),
        ({}, None),
        ({b"authorization": b""}, None),
        ({b"authorization": b"Bearer"}, None),
        ({b"authorization": b"Bearer  "}, None),
        ({b"authorization": b"Basic bGV2ZXI="}, None),
        ({b"authorization": b"lever"}, None),
        ({b"authorization": b"Bearerlever"}, None),
    ],
)
def test_a_key_is_shown_in_either_header(fields: dict[bytes, bytes], key: bytes | None) -> None:
    assert shown_key(fields) == key


def shown(key: bytes | None) -> dict[bytes, bytes]:
    return {} if key is None else {b"x-api-key": key}


@pytest.mark.parametrize("key", [b"lever", b"spare"])
@pytest.mark.parametrize("role", [PREDICT, FEEDBACK, OPERATE])
def test_who_may_operate_may_do_all(key: bytes, role: str) -> None:
    assert KEYS.admit(shown(key), role, WHAT) == Holder("me", (OPERATE,))


def refusal(keys: Keys, key: bytes | None, role: str = OPERATE) -> tuple[type[GatewayError], str]:
    with pytest.raises(GatewayError) as caught:
        keys.admit(shown(key), role, WHAT)
    return type(caught.value), str(caught.value)


def test_who_shows_no_key_hears_how_to_show_one() -> None:
    assert refusal(KEYS, None) == (
        Unauthenticated,
        (
            "header x-gateway-variant: expected a key with the role operate (header x-api-key, "
            "or authorization: Bearer), got none"
        ),
    )


@pytest.mark.parametrize(
    "key",
    [
        *(b"", b"leve", b"lever2", b"LEVER", b" lever", b"\xff\xfe", b"x" * 65536),
        hashlib.sha256(b"lever").digest(),
        hashlib.sha256(b"lever").hexdigest().encode(),
        b"lever, lever",
    ],
)
def test_a_key_that_nobody_knows_is_refused_and_not_repeated(key: bytes) -> None:
    kind, text = refusal(KEYS, key)
    assert kind is Unauthenticated
    assert text == f"{WHAT}: expected a key with the role operate, got no known key"


def test_a_key_that_is_shown_twice_is_none_that_is_known() -> None:
    fields = joined([(b"x-api-key", b"lever"), (b"x-api-key", b"lever")])
    with pytest.raises(Unauthenticated, match="got no known key"):
        KEYS.admit(fields, OPERATE, WHAT)


def test_a_key_of_another_role_is_forbidden() -> None:
    assert refusal(KEYS, b"glass") == (
        Forbidden,
        f"{WHAT}: expected a key with the role operate, got one of feedback",
    )


def test_a_key_that_has_two_roles_may_do_both() -> None:
    keys = Keys([told("predict", b"both"), told("feedback", b"both")])
    who = Holder("me", (PREDICT, FEEDBACK))
    assert keys.admit(shown(b"both"), PREDICT, WHAT) == who
    assert keys.admit(shown(b"both"), FEEDBACK, WHAT) == who
    assert refusal(keys, b"both") == (
        Forbidden,
        f"{WHAT}: expected a key with the role operate, got one of predict, feedback",
    )


def test_a_holder_may_have_two_keys() -> None:
    """The old one and the new one, while they are being changed."""
    keys = Keys([told("predict", b"old"), told("predict", b"new"), told("predict", b"x", "other")])
    names = [keys.admit(shown(key), PREDICT, WHAT).name for key in (b"old", b"new", b"x")]
    assert names == ["me", "me", "other"]


@pytest.mark.parametrize(
    ("roles", "is_any", "guards"),
    [
        ([], False, False),
        (["operate", "feedback"], True, False),
        (["operate", "predict"], True, True),
    ],
)
def test_predictions_are_guarded_as_soon_as_one_key_is_for_them(
    roles: list[str], is_any: bool, guards: bool
) -> None:
    keys = Keys([told(role, role.encode()) for role in roles])
    assert (keys.is_any, keys.guards_predictions) == (is_any, guards)


def test_where_no_key_is_configured_none_is_known() -> None:
    assert refusal(NO_KEYS, b"lever")[0] is refusal(NO_KEYS, b"")[0] is Unauthenticated


def test_a_key_itself_is_kept_nowhere() -> None:
    assert "lever" not in repr(vars(KEYS))


@pytest.mark.parametrize(
    ("key", "is_metered"), [(b"ticket", True), (b"glass", True), (b"nobody", False), (None, False)]
)
def test_a_request_counts_against_its_holders_quota_whatever_he_may_do(
    key: bytes | None, is_metered: bool
) -> None:
    keys = [told("predict", b"ticket", "shop"), told("feedback", b"glass", "shop")]
    meters = Meters(["shop:1:1"], a_record())
    expected = meters.find("shop") if is_metered else None
    assert Keys(keys, meters).meter_of(shown(key)) is expected
    assert Keys(keys[1:], meters).meter_of(shown(key)) is None  # predictions need no key
