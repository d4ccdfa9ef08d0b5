"""Kinds: the types of values that a configuration is made of.

Job    read a value strictly, and say what was expected where it is none of its kind.
Never  accepts one type for another, or an unknown key.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gateway.core.versions import is_model_name
from gateway.observe.layout import MOST_QUOTAS

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_ROUTE = re.compile(r"(?:/(?:[!$&-.0-;=@-~]|%[0-9A-Fa-f]{2})+)+")
_TOKEN = re.compile(r"(viewer|operator):[A-Za-z0-9._-]{1,64}:[0-9a-fA-F]{64}")
_KEY = re.compile(r"(predict|feedback|operate):[A-Za-z0-9._-]{1,64}:[0-9a-fA-F]{64}")
_EXPECTED_KEY = (
    "must be role:name:sha256, role predict, feedback or operate, name of letters, digits and "
    ". _ -, sha256 of 64 hex digits"
)
_QUOTA = re.compile(r"[A-Za-z0-9._-]{1,64}:(?=[0.]*[1-9])[0-9]{1,9}(\.[0-9]{1,6})?:[1-9][0-9]{0,8}")
_EXPECTED_QUOTA = (
    "must be name:rate_per_s:burst, the name of a key's holder, a number above 0 and a whole "
    "number from 1"
)
_EXPECTED_URL = (
    "must be redis://user:password@host:port/database, its port a number, and every / ? # @ : "
    "of the password percent-encoded"
)
_EXPECTED = (
    "must be role:name:sha256, role viewer or operator, name of letters, digits and . _ -, "
    "sha256 of 64 hex digits"
)


def _path(value: object) -> object:
    if not isinstance(value, str | Path):
        raise ValueError("must be a path")  # noqa: TRY004 - pydantic hears no TypeError
    if value == "":
        raise ValueError("must name a path")  # Path("") would silently be "."
    try:
        str(value).encode()  # replicas are told of it in JSON
    except UnicodeEncodeError:
        raise ValueError("must be a path in UTF-8") from None
    return value


def _host(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        # What looks like a number and is no address ("10.0.0.256") is no name either.
        numeric = value.rstrip(".").rpartition(".")[2].isdigit()
        if numeric or len(value) > 253 or not _HOST_NAME.fullmatch(value):
            raise ValueError("must be an IP address or a host name") from None
    return value


def _model_name(value: str) -> str:
    if not is_model_name(value):
        raise ValueError("must be a model's name")
    return value


def _route(value: str) -> str:
    if not _ROUTE.fullmatch(value):
        raise ValueError("must be a path that begins with / and has no query")
    return value


def _token(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError(_EXPECTED)
    return value


def _key(value: str) -> str:
    if not _KEY.fullmatch(value):
        raise ValueError(_EXPECTED_KEY)
    return value


def _quota(value: str) -> str:
    if not _QUOTA.fullmatch(value):
        raise ValueError(_EXPECTED_QUOTA)
    return value


def _redis_url(value: str) -> str:
    """Refuse what its client would only choke on at the start, in words that may hold a secret."""
    try:
        is_whole = value.startswith("unix:") or urlsplit(value).port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError(_EXPECTED_URL)
    return value


def _distinct(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse two names for one token: which of them asked, nobody could say."""
    if len({token.rpartition(":")[2].lower() for token in tokens}) < len(tokens):
        raise ValueError("two tokens are the same")
    return tokens


def _held_once(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse two names for one key; a key with two roles is told twice, under one name."""
    told = [key.rpartition(":") for key in keys]
    names = {(digest.lower(), who.partition(":")[2]) for who, _, digest in told}
    if len({digest for digest, _ in names}) < len(names):
        raise ValueError("two names have the same key")
    if len({(digest.lower(), who) for who, _, digest in told}) < len(keys):
        raise ValueError("a key has the same role twice")
    return keys


def _one_each(quotas: tuple[str, ...]) -> tuple[str, ...]:
    if len({quota.partition(":")[0] for quota in quotas}) < len(quotas):
        raise ValueError("two quotas are for the same name")
    return quotas


AnyPath = Annotated[Path, Field(strict=False), BeforeValidator(_path)]  # a text is one, too
Count = Annotated[int, Field(ge=1)]
Host = Annotated[str, AfterValidator(_host)]
Port = Annotated[int, Field(ge=0, le=65535)]
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
Route = Annotated[str, AfterValidator(_route)]
# Lists are lists in TOML, and tuples here.
Hosts = Annotated[tuple[Host, ...], Field(strict=False)]
Names = Annotated[tuple[Annotated[str, AfterValidator(_model_name)], ...], Field(strict=False)]
# `repr=False` marks a secret: it is shown neither in faults nor in logs.
Secrets = Annotated[tuple[Text, ...], Field(strict=False, repr=False)]
RedisUrl = Annotated[str, Field(pattern=r"^(rediss?|unix)://.+"), AfterValidator(_redis_url)]
Keys = Annotated[
    tuple[Annotated[str, AfterValidator(_key)], ...],
    Field(strict=False, repr=False),
    AfterValidator(_held_once),
]
Quotas = Annotated[
    tuple[Annotated[str, AfterValidator(_quota)], ...],
    Field(strict=False, max_length=MOST_QUOTAS),
    AfterValidator(_one_each),
]
Tokens = Annotated[
    tuple[Annotated[str, AfterValidator(_token)], ...],
    Field(strict=False, repr=False),
    AfterValidator(_distinct),
]


class Table(BaseModel):
    """One table of a TOML file; the text below a key is its description in the schema."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )
