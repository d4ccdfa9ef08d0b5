"""Load: file, then environment, then flags; the later one wins.

Job    merge the three, validate the whole, name every fault and where it came from.
Life   once, when the program starts.
Never  serves half a configuration.

A key is set by the environment as GATEWAY_SECTION__KEY, at the top level GATEWAY_KEY.
The text is read by the type of its key: as it stands for texts and paths, else as
JSON (`8080`, `true`, `["a","b"]`), so that the tables stay strict.
"""

import json
import re
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gateway.config.faults import ConfigError, Fault, faults_of, keys, unknown
from gateway.config.tables import Config
from gateway.config.unbuilt import refusals

_PREFIX = "GATEWAY_"
# What Vertex AI tells every container; our own variables go before.
_THEIRS = {
    "AIP_PREDICT_ROUTE": "GATEWAY_DIALECTS__PREDICT_ROUTE",
    "AIP_HEALTH_ROUTE": "GATEWAY_DIALECTS__HEALTH_ROUTE",
}
_NOT_SETTINGS = {"GATEWAY_ADMIN_TOKEN", "GATEWAY_ADMIN_CERT"}  # what the command line shows
# What Kubernetes tells every container of Services named `gateway` or `gateway-…`.
_LINK = re.compile(
    r"GATEWAY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_LINKED_PORT = re.compile(r"(tcp|udp|sctp)://")


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """Return the configuration, or every fault in it.

    `flags` are top-level keys. Without a `file` there are only defaults to override.

    Raises: ConfigError.
    """
    faults: list[Fault] = []
    raw = _read(file, faults) if file is not None else {}
    sources: dict[str, str] = {}  # by path: where the value came from, unless the file
    _put_environment(raw, environ, sources, faults)
    for name, value in flags.items():
        raw[name] = value
        sources[f"$.{name}"] = "--" + name.replace("_", "-")
    config: Config | None = None
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        faults += faults_of(error, Config)
    faults += refusals(raw, {path for path, _ in faults})
    if config is None or faults:
        raise ConfigError([(path, _with_source(path, what, sources)) for path, what in faults])
    return config


def _read(file: Path, faults: list[Fault]) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        faults.append((str(file), f"cannot be read: {error.strerror}"))
    except (ValueError, RecursionError) as error:  # no UTF-8, or no TOML
        faults.append((str(file), str(error)))
    return {}


def _put_environment(
    raw: dict[str, object],
    environ: Mapping[str, str],
    sources: dict[str, str],
    faults: list[Fault],
) -> None:
    known = {_PREFIX + path.upper().replace(".", "__"): (path, key) for path, key in keys(Config)}
    named = {name: name for name in environ if name.startswith(_PREFIX)}
    named |= {name: ours for name, ours in _THEIRS.items() if name in environ}
    for name, ours in sorted(named.items()):  # theirs come first, so that ours replace them
        if ours in _NOT_SETTINGS or _is_link(name, environ[name]):
            continue
        if ours not in known:
            faults.append((name, unknown("variable", name, list(known))))
            continue
        path, key = known[ours]
        sources[f"$.{path}"] = name
        *sections, last = path.split(".")
        table = raw
        for section in sections:
            inner = table.setdefault(section, {})
            if not isinstance(inner, dict):
                break  # a fault of the file, which validation names
            table = inner
        else:
            table[last] = _value(environ[name], key)


def _is_link(name: str, text: str) -> bool:
    """Say whether a variable tells where a Service is: nobody set it, so it is none of ours."""
    if name.endswith("_PORT") and _LINKED_PORT.match(text):
        return True
    return _LINK.fullmatch(name) is not None


def _value(text: str, key: FieldInfo) -> object:
    """Read `text` by the type of its key; what cannot be read stays a text, and a fault."""
    if _is_text(key.annotation):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _is_text(kind: object) -> bool:
    if get_origin(kind) is Annotated:
        return _is_text(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return all(_is_text(one) for one in get_args(kind) if one is not types.NoneType)
    return kind in (str, Path) or get_origin(kind) is Literal


def _with_source(path: str, what: str, sources: Mapping[str, str]) -> str:
    source = next((sources[p] for p in (path, path.partition("[")[0]) if p in sources), None)
    return f"{what} (from {source})" if source else what
