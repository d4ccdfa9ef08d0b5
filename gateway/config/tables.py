"""Tables: every key of `gateway.toml`, its type, its bounds and its default.

Job    the one list of settings; an empty file is this with its defaults.
Life   a frozen tree.
Never  lenient: an unknown key or a value of another type is a fault.

Units are in the names. `max_` is inclusive.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")


def _path(value: object) -> object:
    if value == "":
        raise ValueError("must name a path")  # Path("") would silently be "."
    return Path(value) if isinstance(value, str) else value


def _host(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        # What looks like a number and is no address ("10.0.0.256") is no name either.
        numeric = value.rstrip(".").rpartition(".")[2].isdigit()
        if numeric or len(value) > 253 or not _HOST_NAME.fullmatch(value):
            raise ValueError("must be an IP address or a host name") from None
    return value


AnyPath = Annotated[Path, BeforeValidator(_path)]
Count = Annotated[int, Field(ge=1)]
Host = Annotated[str, AfterValidator(_host)]
Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any free one
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
# `repr=False` marks a secret: it is shown neither in faults nor in logs.
Secrets = Annotated[tuple[Text, ...], Field(strict=False, repr=False)]


class Table(BaseModel):
    """One table of a TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StateConfig(Table):
    """Where the gateway keeps what must survive it."""

    dir: AnyPath = Path(".gateway")


class RepositoryConfig(Table):
    """Who may load and unload models."""

    control: Literal["none", "explicit"] = "none"


class TlsConfig(Table):
    """TLS on the data port: off without a certificate."""

    certfile: AnyPath | None = None
    keyfile: AnyPath | None = None
    keyfile_password: Annotated[str | None, Field(repr=False)] = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.certfile is None and self.keyfile is not None:
            raise ValueError("keyfile is set, and certfile is missing")
        if self.certfile is not None and self.keyfile is None:
            raise ValueError("certfile is set, and keyfile is missing")
        if self.keyfile is None and self.keyfile_password is not None:
            raise ValueError("keyfile_password is set, and keyfile is missing")
        return self


class LimitsConfig(Table):
    """What one client may ask of us: beyond it, a refusal."""

    max_body_bytes: Count = 64 * 1024 * 1024
    max_target_bytes: Count = 8192
    max_head_bytes: Count = 65536
    max_fields: Count = 100  # header fields of one request
    max_tensors: Count = 64
    max_rank: Count = 16
    max_elements: Count = 16_777_216  # of one tensor
    max_json_depth: Count = 100
    max_pipeline_depth: Count = 16
    max_connections: Count = 10_000
    max_queue_rows: Count = 65536  # waiting for one version
    header_timeout_s: Positive = 10.0
    body_timeout_s: Positive = 30.0  # for the whole body
    write_timeout_s: Positive = 30.0
    keep_alive_s: Positive = 75.0
    # Larger JSON bodies are read by simdjson, smaller ones by orjson.
    simd_from_bytes: Annotated[int, Field(ge=0)] = 32_768


class BatchingConfig(Table):
    """How batches are cut where a model does not say otherwise."""

    max_wait_ms: NotNegative = 0.0
    inline_budget_ms: Positive = 1.0  # longest batch on the event loop
    inline_row_us: NotNegative = 150.0  # `auto` runs inline below this cost of one row
    thread_budget_ms: Positive = 100.0  # longest batch given to a thread
    priority_levels: Count = 4
    default_priority: Count = 2  # 1 is the highest

    @model_validator(mode="after")
    def _has_its_default_level(self) -> Self:
        if self.default_priority > self.priority_levels:
            raise ValueError(
                f"default_priority must be at most priority_levels ({self.priority_levels}), "
                f"got {self.default_priority}"
            )
        return self


class CacheConfig(Table):
    """Answering repeats without running the model."""

    enabled: bool = False
    max_bytes: Count = 256 * 1024 * 1024
    scope: Literal["global", "key"] = "global"
    fleet_key: Annotated[str | None, Field(min_length=1, repr=False)] = None


class RedisConfig(Table):
    """The store that a fleet shares: none without a URL."""

    # A URL may hold a password.
    url: Annotated[str | None, Field(pattern=r"^(rediss?|unix)://.+", repr=False)] = None


class AuthConfig(Table):
    """Who may call: anybody, without keys."""

    keys: Secrets = ()
    admin_tokens: Secrets = ()


class FeedbackConfig(Table):
    """Who may send true labels."""

    keys: Secrets = ()


class RoutesConfig(Table):
    """What a version that appears later receives."""

    new_versions: Literal["hold", "serve"] = "hold"


class PayloadLogConfig(Table):
    """Sampled requests and answers, as JSON lines."""

    enabled: bool = False
    path: AnyPath = Path(".gateway/payloads.jsonl")
    sample_ratio: Ratio = 0.01


class Config(Table):
    """The whole of `gateway.toml`."""

    models: AnyPath = Path("models")
    host: Host = "127.0.0.1"
    port: Port = 8080
    # Nothing listens there until the management port exists.
    admin_host: Host = "127.0.0.1"
    admin_port: Port = 8081
    replicas: Literal["auto"] | Count = "auto"
    with_sidecar: bool = False
    server_name: Text = "gateway"
    platform: Text = "onnxruntime_onnx"
    default_deadline_s: Positive = 10.0
    drain_timeout_s: NotNegative = 30.0
    pre_drain_s: NotNegative = 0.0
    connection_max_age_s: Positive = 300.0  # give or take 10 %

    state: StateConfig = StateConfig()
    repository: RepositoryConfig = RepositoryConfig()
    tls: TlsConfig = TlsConfig()
    limits: LimitsConfig = LimitsConfig()
    batching: BatchingConfig = BatchingConfig()
    cache: CacheConfig = CacheConfig()
    redis: RedisConfig = RedisConfig()
    auth: AuthConfig = AuthConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    routes: RoutesConfig = RoutesConfig()
    payload_log: PayloadLogConfig = PayloadLogConfig()
