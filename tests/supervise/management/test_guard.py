"""Guard: role by method by token; hosts, origins and content types."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Forbidden, GatewayError, Unauthenticated
from gateway.supervise.management.guard import LOCAL, Caller, Guard, Role, Shown, is_loopback
from gateway.wire.failures import Refused


def kept(role: str, name: str, token: str) -> str:
    return f"{role}:{name}:{hashlib.sha256(token.encode()).hexdigest()}"


TOKENS = (kept("operator", "alice", "a-secret"), kept("viewer", "grafana", "v-secret"))
GUARDED = Guard(TOKENS, ())
OPEN = Guard((), ())


def shown(address: str | None = "127.0.0.1", scheme: str = "http", **fields: str) -> Shown:
    """A change as a well-behaved client sends it, but for `fields`; an empty one is left out."""
    usual = {"host": "localhost:8081", "content-type": "application/json"}
    named = usual | {name.replace("_", "-"): value for name, value in fields.items()}
    found = {name.encode(): value.encode("latin-1") for name, value in named.items() if value}
    return Shown(found, scheme, address)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


ALICE = Caller("alice", Role.OPERATOR)
GRAFANA = Caller("grafana", Role.VIEWER)


@pytest.mark.parametrize(
    ("authorization", "need", "expected"),
    [
        ("Bearer a-secret", Role.VIEWER, ALICE),
        ("Bearer a-secret", Role.OPERATOR, ALICE),
        ("bearer  a-secret ", Role.OPERATOR, ALICE),
        ("Bearer v-secret", Role.VIEWER, GRAFANA),
        ("Bearer v-secret", Role.OPERATOR, Forbidden),
        ("", Role.VIEWER, Unauthenticated),
        ("", Role.OPERATOR, Unauthenticated),
        ("Bearer", Role.VIEWER, Unauthenticated),
        ("Bearer ", Role.VIEWER, Unauthenticated),
        ("Bearer unknown", Role.VIEWER, Unauthenticated),
        ("Bearer A-SECRET", Role.VIEWER, Unauthenticated),
        ("Bearer a-secret, Bearer a-secret", Role.VIEWER, Unauthenticated),
        ("a-secret", Role.VIEWER, Unauthenticated),
        (basic("", "a-secret"), Role.VIEWER, ALICE),
        (basic("anybody", "v-secret"), Role.VIEWER, GRAFANA),
        (basic("alice", "a-secret"), Role.OPERATOR, Unauthenticated),
        (basic("alice", ""), Role.VIEWER, Unauthenticated),
        ("Basic ====", Role.VIEWER, Unauthenticated),
        ("Digest a-secret", Role.VIEWER, Unauthenticated),
    ],
)
def test_a_token_gives_its_role_and_nothing_more(
    authorization: str, need: Role, expected: Caller | type[GatewayError]
) -> None:
    request = shown(authorization=authorization)
    if isinstance(expected, Caller):
        assert GUARDED.admit(need, request) == expected
    else:
        with pytest.raises(expected):
            GUARDED.admit(need, request)


@pytest.mark.parametrize("need", list(Role))
def test_without_tokens_whoever_is_on_this_machine_is_an_operator(need: Role) -> None:
    assert OPEN.admit(need, shown()) == LOCAL


def test_the_hash_of_a_token_is_no_token() -> None:
    with pytest.raises(Unauthenticated):
        GUARDED.admit(Role.VIEWER, shown(authorization="Bearer " + TOKENS[0].split(":")[2]))


@given(st.binary(max_size=64))
def test_no_other_bytes_are_a_token(secret: bytes) -> None:
    if secret.strip() not in (b"a-secret", b"v-secret"):
        with pytest.raises(Unauthenticated):
            GUARDED.admit(Role.VIEWER, Shown({b"authorization": b"Bearer " + secret}, "http", None))


def test_a_hash_may_be_written_in_capitals() -> None:
    role, name, digest = TOKENS[0].split(":")
    guard = Guard((f"{role}:{name}:{digest.upper()}",), ())
    assert guard.admit(Role.VIEWER, shown(authorization="Bearer a-secret")) == ALICE


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("localhost", True),
        ("LOCALHOST:8081", True),
        ("localhost.:8081", True),
        ("127.0.0.1:9999", True),
        ("[::1]:8081", True),
        ("[0:0::1]", True),
        ("10.0.0.7:8081", True),
        ("gateway.example.org", True),
        ("Gateway.Example.org:443", True),
        ("10.0.0.8", False),
        ("evil.example.org:8081", False),
        ("localhost.evil.org", False),
        ("gateway.example.org.evil.org", False),
        ("evil@localhost", False),
        ("localhost:port", False),
        ("localhost, evil.org", False),
        ("", False),
    ],
)
def test_a_change_names_a_known_host(host: str, is_known: bool) -> None:
    guard = Guard((), ("gateway.example.org",))
    request = shown(address="10.0.0.7", host=host)
    if is_known:
        assert guard.admit(Role.OPERATOR, request) == LOCAL
    else:
        with pytest.raises(Forbidden, match="admin_hosts"):
            guard.admit(Role.OPERATOR, request)


def test_what_no_token_guards_is_not_read_under_a_strange_name() -> None:
    with pytest.raises(Forbidden):
        OPEN.admit(Role.VIEWER, shown(host="evil.org"))
    request = shown(host="evil.org", authorization="Bearer v-secret")
    assert GUARDED.admit(Role.VIEWER, request) == GRAFANA


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "is_same"),
    [
        ("http", "localhost:8081", "http://localhost:8081", True),
        ("http", "LOCALHOST:8081", "http://localhost:8081", True),
        ("http", "localhost", "http://localhost:80", True),
        ("https", "localhost:443", "https://localhost", True),
        ("http", "[::1]:8081", "http://[::1]:8081", True),
        ("http", "localhost:8081", "https://localhost:8081", False),
        ("http", "localhost:8081", "http://localhost:8080", False),
        ("http", "localhost:8081", "http://localhost", False),
        ("http", "localhost:8081", "http://127.0.0.1:8081", False),
        ("http", "localhost:8081", "http://evil.org", False),
        ("http", "localhost:8081", "http://localhost:8081/", False),
        ("http", "localhost:8081", "http://user@localhost:8081", False),
        ("http", "localhost:8081", "null", False),
        ("http", "localhost:8081", "http://localhost:99999", False),
        ("http", "localhost:8081", "http://localhost:8081, http://evil.org", False),
    ],
)
def test_a_page_of_another_origin_changes_nothing(
    scheme: str, host: str, origin: str, is_same: bool
) -> None:
    request = shown(scheme=scheme, host=host, origin=origin)
    if is_same:
        assert OPEN.admit(Role.OPERATOR, request) == LOCAL
    else:
        with pytest.raises(Forbidden, match="origin"):
            OPEN.admit(Role.OPERATOR, request)


@pytest.mark.parametrize(
    ("content_type", "is_json"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("", False),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data", False),
        ("application/jsonp", False),
        ("application/json, text/plain", False),
    ],
)
def test_a_change_says_that_it_is_json(content_type: str, is_json: bool) -> None:
    request = shown(content_type=content_type)
    assert OPEN.admit(Role.VIEWER, request) == LOCAL
    if is_json:
        assert OPEN.admit(Role.OPERATOR, request) == LOCAL
    else:
        with pytest.raises(Refused, match="content-type") as refused:
            OPEN.admit(Role.OPERATOR, request)
        assert refused.value.status == 415


def test_who_may_not_hears_that_before_anything_else() -> None:
    wrong = {"host": "evil.org", "origin": "http://evil.org", "content_type": "text/plain"}
    with pytest.raises(Unauthenticated):
        GUARDED.admit(Role.OPERATOR, shown(**wrong))
    with pytest.raises(Forbidden, match="grafana is a viewer"):
        GUARDED.admit(Role.OPERATOR, shown(authorization="Bearer v-secret", **wrong))


@pytest.mark.parametrize("wrong", [{"host": "evil.org"}, {"host": ""}, {"origin": "http://e.org"}])
def test_what_anybody_may_ask_a_strangers_page_may_not_unless_tokens_guard_the_rest(
    wrong: dict[str, str],
) -> None:
    stranger = shown(address="127.0.0.1", scheme="http", **wrong)
    with pytest.raises(Forbidden):
        OPEN.admit_anybody(stranger)
    OPEN.admit_anybody(shown())
    GUARDED.admit_anybody(stranger)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback_is_what_only_this_machine_can_reach(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected
