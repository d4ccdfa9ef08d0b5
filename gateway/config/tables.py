"""Tables: every key of `gateway.toml`, its type, its bounds and its default.

Job    the one list of settings; an empty file is this with its defaults.
Life   a frozen tree; as JSON it reaches every replica, secrets and all.
Never  lenient: an unknown key or a value of another type is a fault.

Units are in the names. `max_` is inclusive.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from gateway.config.access import AuthConfig, TlsConfig
from gateway.config.breakers import BreakerConfig
from gateway.config.kinds import (
    AnyPath,
    Count,
    Host,
    Hosts,
    Names,
    NotNegative,
    Port,
    Positive,
    RedisUrl,
    Route,
    Table,
    Text,
)
from gateway.config.records import ExposureLogConfig, FeedbackConfig, PayloadLogConfig

_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - to compare with, not to listen on


class StateConfig(Table):
    """Where the gateway keeps what must survive it."""

    dir: AnyPath = Path(".gateway")
    """Folder of routing documents, journal and audit."""


class RepositoryConfig(Table):
    """Who may load and unload models."""

    control: Literal["none", "explicit"] = "none"
    """none: every model is loaded at start; explicit: callers load and unload them."""
    startup: Names = ()
    """Models that are loaded at start under explicit control."""
    proof_timeout_s: Positive = 60.0
    """What the trial of one version in a disposable child may take."""
    proof_max_bytes: Count = 4 * 1024**3
    """Memory that the trial of one version may take."""

    @model_validator(mode="after")
    def _chooses_once(self) -> Self:
        if self.startup and self.control == "none":
            raise ValueError("startup is set, and control is 'none', which loads every model")
        return self


class LimitsConfig(Table):
    """What one client may ask of us: beyond it, a refusal."""

    max_body_bytes: Count = 64 * 1024 * 1024
    """The body of one request."""
    max_target_bytes: Count = 8192
    """The target of one request."""
    max_head_bytes: Count = 65536
    """The head of one request."""
    max_fields: Count = 100
    """Header fields of one request."""
    max_tensors: Count = 64
    """Inputs of one request, and outputs."""
    max_rank: Count = 16
    """Dimensions of one tensor."""
    max_elements: Count = 16_777_216
    """Elements of one tensor."""
    max_json_depth: Count = 100
    """Arrays and objects inside each other."""
    max_pipeline_depth: Count = 16
    """Requests of one connection that wait for their answers."""
    max_connections: Count = 10_000
    """Connections of one replica that are open."""
    max_connections_per_address: Count | None = None
    """Those of them that come from one address, or one /64 of IPv6; none: no bound."""
    max_unfinished_bytes: Count = 1024 * 1024 * 1024
    """Requests in one replica that have come in part."""
    max_queue_rows: Count = 65536
    """Rows in one replica that wait for one version."""
    max_queue_bytes: Count = 256 * 1024 * 1024
    """Bodies in one replica that wait for one version."""
    header_timeout_s: Positive = 10.0
    """From the first byte of a head to its last."""
    body_timeout_s: Positive = 30.0
    """From the first byte of a body to its last."""
    write_timeout_s: Positive = 30.0
    """How long a client may leave its answers unread."""
    keep_alive_s: Positive = 75.0
    """How long a connection may be idle."""
    simd_from_bytes: Annotated[int, Field(ge=0)] = 32_768
    """JSON bodies from this size on are read by simdjson, smaller ones by orjson."""


class BatchingConfig(Table):
    """How batches are cut where a model does not say otherwise."""

    max_wait_ms: NotNegative = 0.0
    """How long a call may wait for company."""
    inline_budget_ms: Positive = 1.0
    """The longest batch on the event loop."""
    inline_row_us: NotNegative = 150.0
    """A version runs on the event loop when one row costs less than this."""
    thread_budget_ms: Positive = 100.0
    """The longest batch given to a thread."""
    standing_ratio: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.2
    """A queue that stands for longer than this share of callers' deadlines is overload."""
    standing_max_ms: Positive = 1000.0
    """A queue that stands for longer than this is overload, however patient callers are."""
    priority_levels: Count = 4
    """Priorities are 1, the highest, to this."""
    default_priority: Count = 2
    """The priority of a request that names none."""

    @model_validator(mode="after")
    def _has_its_default_level(self) -> Self:
        if self.default_priority > self.priority_levels:
            raise ValueError(
                f"default_priority must be at most priority_levels ({self.priority_levels}), "
                f"got {self.default_priority}"
            )
        return self


class DialectsConfig(Table):
    """What is understood beside V2."""

    default_model: Text | None = None
    """Who answers /invocations, /ping and Vertex AI's routes: none, there are none."""
    v1: Literal["kserve", "tfserving"] = "kserve"
    """How a column of V1 is answered: as predictions, or as outputs."""
    predict_route: Route | None = None
    """Where Vertex AI asks for predictions; AIP_PREDICT_ROUTE is read too."""
    health_route: Route | None = None
    """Where Vertex AI asks for health; AIP_HEALTH_ROUTE is read too."""

    @model_validator(mode="after")
    def _has_somebody_to_answer(self) -> Self:
        for key in ("predict_route", "health_route"):
            if getattr(self, key) is not None and self.default_model is None:
                raise ValueError(f"{key} is set, and default_model is missing")
        return self


class CacheConfig(Table):
    """Answering repeats without running the model."""

    enabled: bool = False
    """Whether repeats are answered from memory."""
    max_bytes: Count = 256 * 1024 * 1024
    """Memory that one replica keeps answers in."""
    scope: Literal["global", "key"] = "global"
    """Who shares answers: everybody, or those with one API key."""
    fleet_key: Annotated[str | None, Field(min_length=1, repr=False)] = None
    """The secret under which a fleet shares answers in Redis."""


class RedisConfig(Table):
    """The store of routing documents that a fleet shares: without a URL each host has its own."""

    url: Annotated[RedisUrl | None, Field(repr=False)] = None
    """Where it is; it may hold a password."""


class RoutesConfig(Table):
    """What a version that appears later receives."""

    new_versions: Literal["hold", "serve"] = "hold"
    """hold: nothing, until a routing document says so; serve: all of its model's calls."""


class Config(Table):
    """The whole of `gateway.toml`."""

    models: AnyPath = Path("models")
    """Folder of models."""
    host: Host = "127.0.0.1"
    """Address of the data port."""
    port: Port = 8080
    """Data port; 0 takes any free one."""
    admin_host: Host = "127.0.0.1"
    """Address of the management port: loopback, unless there are tokens."""
    admin_port: Port = 8081
    """Management port; 0 takes any free one."""
    admin_hosts: Hosts = ()
    """Further host names under which the management port may be asked."""
    replicas: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """Processes that serve; auto: one for each whole CPU that this process may use."""
    with_sidecar: bool = False
    """Whether the sidecar is started too."""
    server_name: Text = "gateway"
    """What the server calls itself."""
    platform: Text = "onnxruntime_onnx"
    """What models call their platform."""
    default_deadline_s: Positive = 10.0
    """What a request may take that asks for nothing shorter."""
    drain_timeout_s: NotNegative = 30.0
    """How long after a signal to end what was accepted may still be answered."""
    pre_drain_s: NotNegative = 0.0
    """How long readiness fails, while everything is served, before the drain."""
    heartbeat_timeout_s: Annotated[float, Field(ge=0.5, allow_inf_nan=False)] = 2.0
    """A replica silent for so long is killed and replaced."""
    connection_max_age_s: Positive = 300.0
    """How long a connection is kept, give or take 10 %."""

    state: StateConfig = StateConfig()
    repository: RepositoryConfig = RepositoryConfig()
    tls: TlsConfig = TlsConfig()
    admin_tls: TlsConfig = TlsConfig()
    limits: LimitsConfig = LimitsConfig()
    batching: BatchingConfig = BatchingConfig()
    breaker: BreakerConfig = BreakerConfig()
    dialects: DialectsConfig = DialectsConfig()
    cache: CacheConfig = CacheConfig()
    redis: RedisConfig = RedisConfig()
    auth: AuthConfig = AuthConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    routes: RoutesConfig = RoutesConfig()
    exposure_log: ExposureLogConfig = ExposureLogConfig()
    payload_log: PayloadLogConfig = PayloadLogConfig()

    @model_validator(mode="after")
    def _keeps_its_ports_apart(self) -> Self:
        hosts = (self.host, self.admin_host)
        # Both ports share their addresses with other sockets of ours: the kernel would not mind.
        is_one = hosts[0] == hosts[1] or any(host in _ANYWHERE for host in hosts)
        if self.port == self.admin_port != 0 and is_one:
            raise _fault("admin_port", self.admin_port, "must not be the data port's")
        if not self.auth.admin_tokens and not _is_loopback(self.admin_host):
            what = "without auth.admin_tokens the management port must stay on a loopback address"
            raise _fault("admin_host", self.admin_host, what)
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _fault(key: str, value: object, what: str) -> ValidationError:
    """Return the fault of one key that other keys make one."""
    kind = PydanticCustomError("contradiction", what)
    details = InitErrorDetails(type=kind, loc=(key,), input=value)
    return ValidationError.from_exception_data("Config", [details])
