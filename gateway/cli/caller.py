"""Caller: the management port, as commands ask it.

Job    send one request, and return what its answer says, or say why there is none.
Life   one per command; a connection each time.
Never  follows a redirect or a proxy of the environment: a token goes to whom it is for.
"""

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

TOKEN_VARIABLE = "GATEWAY_ADMIN_TOKEN"  # noqa: S105 - its name
_CERT_VARIABLE = "GATEWAY_ADMIN_CERT"  # a file with a certificate and its key
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_READ_WITHIN_S = 15.0
_CHANGE_WITHIN_S = 930.0  # somewhat longer than the gateway gives itself


class Unanswered(Exception):
    """There is no gateway to be heard at this address."""


class Declined(Exception):
    """The gateway said no, in these words."""


class Caller:
    """Whoever holds this token, at this gateway."""

    def __init__(self, url: str, token: str | None, ca_file: Path | None) -> None:
        self._url = url.rstrip("/")
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._ca_file = ca_file

    def get(self, *segments: str) -> Any:
        """Return what is at a path. Raises: Unanswered, Declined."""
        return self._ask("GET", segments, None, _READ_WITHIN_S)

    def post(self, *segments: str, body: Mapping[str, object]) -> Any:
        """Change something; return what it became. Raises: Unanswered, Declined."""
        return self._ask("POST", segments, body, _CHANGE_WITHIN_S)

    def put(self, *segments: str, body: Mapping[str, object], if_match: str) -> Any:
        """Replace what is at a path, if it is still the one that `if_match` names.

        Returns what it became. Raises: Unanswered, Declined.
        """
        return self._ask("PUT", segments, body, _CHANGE_WITHIN_S, {"if-match": if_match})

    def _ask(
        self,
        method: str,
        segments: tuple[str, ...],
        body: Mapping[str, object] | None,
        within_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        url = "/".join([self._url, "admin/v1", *(quote(one, safe="") for one in segments)])
        try:
            with self._client(within_s) as client:
                answer = client.request(method, url, json=body, headers=headers)
        except httpx.TimeoutException:
            raise Unanswered(f"{self._url} did not answer within {within_s:g} s") from None
        except httpx.HTTPError as error:
            why = _ERRNO.sub("", str(error)) or type(error).__name__
            raise Unanswered(f"{self._url} cannot be asked: {why}") from None
        try:
            said = answer.json()
        except ValueError:
            said = None
        if answer.is_success and said is not None:
            return said
        raise Declined(_refusal(self._url, answer.status_code, said))

    def _client(self, within_s: float) -> httpx.Client:
        verify: bool | ssl.SSLContext = True
        if self._url.startswith("https:"):
            verify = _context(self._ca_file, os.environ.get(_CERT_VARIABLE))
        timeout = httpx.Timeout(within_s, connect=5.0)
        return httpx.Client(headers=self._headers, timeout=timeout, verify=verify, trust_env=False)


def _context(ca_file: Path | None, certificate: str | None) -> ssl.SSLContext:
    """Return whom to trust, and what to show of oneself. Raises: Declined."""
    context = ssl.create_default_context(cafile=ca_file)
    if certificate:
        try:
            context.load_cert_chain(certificate, password=lambda: "")  # asked for nowhere
        except OSError as error:  # TLS errors are such
            is_read = isinstance(error, ssl.SSLError)
            what = "holds no certificate with its key" if is_read else error.strerror
            raise Declined(f"{_CERT_VARIABLE}: {certificate}: {what}") from None
    return context


def token_of(file: Path | None) -> str | None:
    """Return the token in `file`, else in the environment, if any is there.

    Raises: OSError; Declined, where it is none.
    """
    text = os.environ.get(TOKEN_VARIABLE) if file is None else file.read_text(errors="replace")
    token = None if text is None else text.strip()
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        where = TOKEN_VARIABLE if file is None else str(file)
        raise Declined(f"{where}: a token is one line of visible ASCII characters")
    if file is not None and not token:
        raise Declined(f"{file}: holds no token")
    return token or None


def _refusal(url: str, status: int, said: object) -> str:
    if not isinstance(said, dict) or not isinstance(said.get("error"), str):
        return f"{url} answered {status}, and not as a gateway does"
    if status == 401:
        return f"{said['error']} (give --token-file, or set {TOKEN_VARIABLE})"
    words: str = said["error"]
    faults = said.get("faults")
    if isinstance(faults, list):
        return "\n".join(f"{one['path']}: {one['fault']}" for one in faults)
    return words
