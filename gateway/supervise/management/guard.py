"""Guard: who may ask the management port for what.

Job    find the caller behind a request, or refuse it: 401, 403, 415.
Life   made from the configuration; pure, and the same for every request.
Never  keeps a token: only its SHA-256, which is compared in constant time.

Two roles: a viewer reads, an operator also changes. Without tokens the port is on
loopback alone, and whoever is on this machine is an operator. That includes the browser
on it, which runs the pages of strangers; so whatever no token guards, and every change,

    names a known Host      or a page whose name was bound to our address anew could ask
    has our own Origin      if it has one: other pages may send, though not read
    is application/json     what a form cannot send without our leave: changes alone

Probes are answered under whatever name: a kubelet knows the pod's address and no name.

The second way to show a token, as the password of HTTP Basic, is for reading alone: a
browser asks its user for it, and from then on sends it along unasked.
"""

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import urlsplit

from gateway.errors import Forbidden, Unauthenticated
from gateway.wire.failures import Refused
from gateway.wire.paths import is_authority, quoted

_ALWAYS_KNOWN = ("localhost", "127.0.0.1", "::1")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Role(IntEnum):
    """What a caller may do; a higher one may do all that a lower one may."""

    VIEWER = 1
    OPERATOR = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the log names it."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows of itself.

    Shapes: `fields` are values by lower-case name, repeated ones joined. `address` is our
    own end of its connection.
    """

    fields: Mapping[bytes, bytes]
    scheme: str
    address: str | None


LOCAL = Caller("local", Role.OPERATOR)


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach an address; a name but `localhost` is not one."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Every request that is let in comes from a known caller whose role is enough."""

    def __init__(self, tokens: Sequence[str], hosts: Iterable[str]) -> None:
        """Shapes: a token is `role:name:sha256`; a host is a name or an address, no port."""
        self._tokens = tuple(_token(text) for text in tokens)
        self._hosts = frozenset(_canonical(host) for host in (*_ALWAYS_KNOWN, *hosts))

    @property
    def is_open(self) -> bool:
        """Whether there are no tokens."""
        return not self._tokens

    def admit(self, need: Role, shown: Shown) -> Caller:
        """Return who asks. Raises: Unauthenticated, Forbidden, Refused 415."""
        caller = self._caller(need, shown.fields.get(b"authorization"))
        if caller.role < need:
            raise Forbidden(f"{caller.name} is a {_named(caller.role)}: this needs an operator")
        if need is Role.OPERATOR or self.is_open:
            authority = self._check_host(shown)
            _check_origin(shown, authority)
        if need is Role.OPERATOR:
            _check_content_type(shown.fields.get(b"content-type"))
        return caller

    def admit_anybody(self, shown: Shown) -> None:
        """Return, unless a stranger's page asks what no token guards. Raises: Forbidden.

        Where there are tokens no name is asked for: a scraper goes by addresses.
        """
        if self.is_open:
            _check_origin(shown, self._check_host(shown))

    def _caller(self, need: Role, field: bytes | None) -> Caller:
        if self.is_open:
            return LOCAL
        secret = _secret(field, allows_basic=need is Role.VIEWER)
        if secret is None:
            raise Unauthenticated("header authorization: expected Bearer and a token")
        shown = hashlib.sha256(secret).digest()
        # All are compared, so that the time taken says nothing about which came near.
        found = [who for digest, who in self._tokens if hmac.compare_digest(digest, shown)]
        if not found:
            raise Unauthenticated("header authorization: this token is not known")
        return found[0]

    def _check_host(self, shown: Shown) -> bytes:
        """Return the Host field. Raises: Forbidden."""
        host = shown.fields.get(b"host", b"")
        name = _parts(host)[0] if is_authority(host) else None
        own = None if shown.address is None else _canonical(shown.address)
        if name is None or (name not in self._hosts and name != own):
            raise Forbidden(
                f"header host: {quoted(host)} is not known as this gateway's (admin_hosts)"
            )
        return host


def _token(text: str) -> tuple[bytes, Caller]:
    role, name, digest = text.split(":")
    return bytes.fromhex(digest), Caller(name, Role[role.upper()])


def _named(role: Role) -> str:
    return role.name.lower()


def _secret(field: bytes | None, *, allows_basic: bool) -> bytes | None:
    """Return the token that an Authorization field holds, if it holds one."""
    scheme, _, rest = (field or b"").partition(b" ")
    rest = rest.strip()
    match scheme.lower():
        case b"bearer" if rest:
            return rest
        case b"basic" if allows_basic:
            try:
                return base64.b64decode(rest, validate=True).partition(b":")[2] or None
            except ValueError:
                return None
        case _:
            return None


def _check_origin(shown: Shown, authority: bytes) -> None:
    """Refuse what a page of another origin sent. Raises: Forbidden."""
    origin = shown.fields.get(b"origin")
    if origin is None:
        return
    scheme, _, rest = origin.partition(b"://")
    default = _DEFAULT_PORTS.get(shown.scheme)
    is_same = (
        scheme == shown.scheme.encode()
        and is_authority(rest)
        and _parts(rest, default) == _parts(authority, default)
    )
    if not is_same:
        raise Forbidden(f"header origin: {quoted(origin)} is another origin than this gateway's")


def _check_content_type(field: bytes | None) -> None:
    """Refuse a change that says it is no JSON. Raises: Refused 415."""
    if (field or b"").partition(b";")[0].strip().lower() != b"application/json":
        got = "none" if field is None else quoted(field)
        raise Refused(
            415,
            f"header content-type: expected application/json, got {got}",
            code="unsupported_media_type",
        )


def _parts(authority: bytes, default: int | None = None) -> tuple[str | None, int | None]:
    """Return (name, port) of host[:port]; no name where there is none to be had."""
    try:
        found = urlsplit("//" + authority.decode("ascii"))
        return _canonical(found.hostname or ""), found.port or default
    except ValueError:
        return None, None


def _canonical(host: str) -> str:
    """Return one spelling of a name or an address."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")
