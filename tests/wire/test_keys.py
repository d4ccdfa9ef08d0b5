"""Keys: who may do more than ask, and what the others hear."""

import hashlib

import pytest

from gateway.errors import Forbidden, GatewayError, Unauthenticated
from gateway.wire.keys import NO_KEYS, Keys, shown_key
from gateway.wire.terms import joined

WHAT = "header x-gateway-variant"


def told(role: str, key: bytes, name: str = "me") -> str:
    """A key as the configuration has it."""
    return f"{role}:{name}:{hashlib.sha256(key).hexdigest()}"


KEYS = Keys([told("operate", b"lever"), told("view", b"glass"), told("operate", b"spare")])


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


@pytest.mark.parametrize("key", [b"lever", b"spare"])
def test_a_key_of_the_role_may(key: bytes) -> None:
    KEYS.check(key, "operate", WHAT)


def refusal(keys: Keys, key: bytes | None, role: str = "operate") -> tuple[type[GatewayError], str]:
    with pytest.raises(GatewayError) as caught:
        keys.check(key, role, WHAT)
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
    assert refusal(KEYS, shown_key(fields))[0] is Unauthenticated


def test_a_key_of_another_role_is_forbidden() -> None:
    assert refusal(KEYS, b"glass") == (
        Forbidden,
        f"{WHAT}: expected a key with the role operate, got one of view",
    )


def test_a_key_that_has_two_roles_may_do_both() -> None:
    keys = Keys([told("view", b"both"), told("operate", b"both", "again")])
    keys.check(b"both", "operate", WHAT)
    keys.check(b"both", "view", WHAT)
    assert refusal(keys, b"both", "admin") == (
        Forbidden,
        f"{WHAT}: expected a key with the role admin, got one of view",
    )


def test_where_no_key_is_configured_none_is_known() -> None:
    assert refusal(NO_KEYS, b"lever")[0] is refusal(NO_KEYS, b"")[0] is Unauthenticated


def test_a_key_itself_is_kept_nowhere() -> None:
    kept = [part for key in KEYS._keys for part in key]  # noqa: SLF001 - what is kept is the law
    assert b"lever" not in kept
    assert "lever" not in kept
