"""The tables: defaults that serve, bounds that hold, rules over several keys."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.config.faults import ConfigError, keys
from gateway.config.load import load
from gateway.config.tables import Config


def parse(raw: dict[str, object]) -> Config:
    return Config.model_validate(raw)


def faulty(path: str, value: object) -> bool:
    """Say whether `value` is refused at `path`."""
    raw: object = value
    for name in reversed(path.split(".")):
        raw = {name: raw}
    try:
        Config.model_validate(raw)
    except ValidationError:
        return True
    return False


def test_an_empty_file_serves_the_models_beside_it() -> None:
    config = parse({})
    assert (config.models, config.host, config.port) == (Path("models"), "127.0.0.1", 8080)


def test_every_key_has_a_default_that_is_valid_when_it_is_written_out() -> None:
    assert parse(Config().model_dump()) == Config()


@pytest.mark.parametrize(
    "path",
    [
        *("admin_host", "admin_port", "auth.admin_tokens", "auth.keys", "cache.enabled"),
        *("cache.fleet_key", "cache.max_bytes", "cache.scope", "connection_max_age_s"),
        *("default_deadline_s", "drain_timeout_s", "feedback.keys", "host", "models"),
        *("payload_log.enabled", "port", "pre_drain_s", "redis.url", "replicas"),
        *("repository.control", "routes.new_versions", "state.dir"),
    ],
)
def test_every_key_that_was_promised_is_known(path: str) -> None:
    assert path in {known for known, _ in keys(Config)}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("default_deadline_s", 10.0),
        ("connection_max_age_s", 300.0),
        ("replicas", "auto"),
        ("state.dir", Path(".gateway")),
        ("repository.control", "none"),
        ("cache.enabled", False),
        ("cache.scope", "global"),
        ("redis.url", None),
        ("routes.new_versions", "hold"),
        ("limits.max_body_bytes", 67_108_864),
        ("limits.max_pipeline_depth", 16),
        ("limits.max_json_depth", 100),
        ("limits.keep_alive_s", 75.0),
        ("batching.inline_budget_ms", 1.0),
        ("batching.inline_row_us", 150.0),
        ("batching.max_wait_ms", 0.0),
    ],
)
def test_a_default_that_others_count_on_stays(path: str, value: object) -> None:
    found: object = Config()
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_a_configuration_does_not_change() -> None:
    config = parse({})
    with pytest.raises(ValidationError):
        config.port = 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("port", "8080"),
        ("port", True),
        ("port", 8080.0),
        ("port", -1),
        ("port", 65536),
        ("models", ""),
        ("models", 3),
        ("host", ""),
        ("host", "10.0.0.256"),
        ("host", "a b"),
        ("host", "-a"),
        ("host", "a..b"),
        ("host", "http://a"),
        ("host", "a." * 127 + "aa"),
        ("admin_host", "::g"),
        ("admin_port", 70000),
        ("replicas", 0),
        ("replicas", "many"),
        ("replicas", True),
        ("server_name", ""),
        ("with_sidecar", 1),
        ("default_deadline_s", 0),
        ("default_deadline_s", float("inf")),
        ("drain_timeout_s", -1),
        ("pre_drain_s", float("nan")),
        ("limits.max_rank", 0),
        ("limits.max_body_bytes", 1.5),
        ("limits.keep_alive_s", 0),
        ("limits.simd_from_bytes", -1),
        ("batching.max_wait_ms", -0.1),
        ("batching.default_priority", 0),
        ("batching.default_priority", 5),
        ("cache.enabled", 0),
        ("cache.scope", "Global"),
        ("redis.url", "http://host"),
        ("redis.url", "redis://"),
        ("auth.keys", "key"),
        ("auth.keys", [""]),
        ("auth.keys", [1]),
        ("payload_log.sample_ratio", 1.01),
        ("tls.certfile", "cert.pem"),
        ("tls.keyfile", "key.pem"),
        ("tls.keyfile_password", "secret"),
        ("unknown", 1),
        ("limits.unknown", 1),
    ],
)
def test_a_value_out_of_bounds_or_of_another_type_is_refused(path: str, value: object) -> None:
    assert faulty(path, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("port", 0),
        ("port", 65535),
        ("models", "/srv/models"),
        ("host", "::"),
        ("host", "fe80::1%eth0"),
        ("host", "0.0.0.0"),
        ("host", "localhost"),
        ("host", "my-host_1.example.com."),
        ("admin_host", "10.1.2.3"),
        ("replicas", 1),
        ("replicas", 64),
        ("default_deadline_s", 1),
        ("drain_timeout_s", 0),
        ("limits.simd_from_bytes", 0),
        ("batching.priority_levels", 2),
        ("redis.url", "rediss://user:word@host:6379/0"),
        ("redis.url", "unix:///run/redis.sock"),
        ("auth.keys", ["a", "b"]),
        ("payload_log.sample_ratio", 1),
        ("tls", {"certfile": "c", "keyfile": "k", "keyfile_password": "p"}),
    ],
)
def test_a_value_within_bounds_is_taken(path: str, value: object) -> None:
    assert not faulty(path, value)


def test_a_default_priority_beyond_the_levels_is_said_with_both() -> None:
    with pytest.raises(ValidationError, match=r"at most priority_levels \(1\), got 2"):
        parse({"batching": {"priority_levels": 1}})


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"certfile": "c"}, "certfile is set, and keyfile is missing"),
        ({"keyfile": "k"}, "keyfile is set, and certfile is missing"),
        ({"keyfile_password": "p"}, "keyfile_password is set, and keyfile is missing"),
    ],
)
def test_half_of_tls_is_refused_by_what_is_missing(table: dict[str, str], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        parse({"tls": table})


@pytest.mark.parametrize(
    "raw",
    [
        {"tls": {"certfile": "c", "keyfile": "k", "keyfile_password": "hush"}},
        {"cache": {"fleet_key": "hush"}},
        {"redis": {"url": "redis://:hush@host"}},
        {"auth": {"keys": ["hush"], "admin_tokens": ["hush"]}},
        {"feedback": {"keys": ["hush"]}},
    ],
)
def test_a_secret_is_not_shown_where_a_configuration_is(raw: dict[str, object]) -> None:
    assert "hush" not in repr(parse(raw))


@pytest.mark.parametrize(
    "name", ["GATEWAY_CACHE__FLEET_KEY", "GATEWAY_REDIS__URL", "GATEWAY_AUTH__KEYS"]
)
def test_a_secret_is_not_shown_in_a_fault(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {name: '["hush",3]'}, {})
    assert "hush" not in str(caught.value)
