"""The tables: defaults that serve, bounds that hold, rules over several keys."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.config.faults import ConfigError, faults_of, keys
from gateway.config.load import load
from gateway.config.tables import Config

DIGEST = "0123456789abcdefABCDEF" + "0" * 42
WHOLE: dict[str, Any] = {
    "models": "/srv/modèles",
    "admin_host": "0.0.0.0",
    "admin_hosts": ["gateway.example.com", "10.0.0.1"],
    "replicas": 4,
    "repository": {"control": "explicit", "startup": ["digits", "a b"]},
    "tls": {"certfile": "c.pem", "keyfile": "k.pem", "keyfile_password": "hush"},
    "admin_tls": {"certfile": "d.pem", "keyfile": "l.pem"},
    "redis": {"url": "redis://:hush@host"},
    "cache": {"fleet_key": "hush"},
    "auth": {"keys": [f"operate:me:{DIGEST}"], "admin_tokens": [f"operator:me:{DIGEST}"]},
}


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


def faults(raw: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        parse(raw)
    return dict(faults_of(caught.value, Config))


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


@pytest.mark.parametrize("config", [Config(), parse(WHOLE)])
def test_a_configuration_reaches_another_process_as_json(config: Config) -> None:
    """Secrets and paths too: a supervisor sends it to its replicas."""
    text = config.model_dump_json()
    assert Config.model_validate_json(text) == config
    assert Config.model_validate(json.loads(text)) == config


@given(
    st.sampled_from(("models", "state", "server_name", "keys")),
    st.text(min_size=1, max_size=20),
)
def test_any_text_that_is_taken_survives_json(key: str, text: str) -> None:
    raw: dict[str, object] = {key: text}
    if key == "state":
        raw = {"state": {"dir": text}}
    if key == "keys":
        raw = {"feedback": {"keys": [text]}}
    config = parse(raw)
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_every_key_is_described_in_the_schema() -> None:
    schema = Config.model_json_schema()
    tables = {"Config": schema, **schema["$defs"]}
    described = {
        f"{name}.{key}": said.get("description") or "$ref" in said
        for name, table in tables.items()
        for key, said in table["properties"].items()
    }
    assert [key for key, is_said in described.items() if not is_said] == []
    assert len(described) > len(list(keys(Config)))
    assert all(table["description"] for table in tables.values())


def test_the_schema_holds_the_bounds_and_the_defaults() -> None:
    schema = Config.model_json_schema()
    assert schema["properties"]["port"] == {
        "default": 8080,
        "description": "Data port; 0 takes any free one.",
        "maximum": 65535,
        "minimum": 0,
        "title": "Port",
        "type": "integer",
    }
    assert schema["additionalProperties"] is False


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
        ("redis.url", "redis://:pa55/word@127.0.0.1:6379/0"),
        ("redis.url", "redis://[::1"),
        ("redis.url", "redis://host:0"),
        ("redis.url", "rediss://host:65536"),
        ("auth.keys", "key"),
        ("auth.keys", [""]),
        ("auth.keys", ["operate:me:abc"]),
        ("auth.keys", [f"view:me:{'f' * 64}"]),
        ("auth.keys", [f"predict+feedback:me:{'f' * 64}"]),
        ("auth.keys", [f"operate:a b:{'f' * 64}"]),
        ("auth.keys", [f"operate:a:{'f' * 64}", f"operate:b:{'f' * 64}"]),
        ("auth.keys", [f"operate:a:{'f' * 64}", f"predict:b:{'F' * 64}"]),
        ("auth.keys", [f"operate:a:{'f' * 64}", f"operate:a:{'F' * 64}"]),
        ("auth.keys", [1]),
        ("auth.quotas", "me:1:1"),
        ("auth.quotas", [f"x{number}:1:1" for number in range(1001)]),
        ("payload_log.sample_ratio", 1.01),
        ("models", "a\udcff"),
        ("state.dir", b"x"),
        ("replicas", 1025),
        ("heartbeat_timeout_s", 0.1),
        ("heartbeat_timeout_s", float("inf")),
        ("admin_hosts", "host"),
        ("admin_hosts", ["host:8081"]),
        ("repository.control", "poll"),
        ("repository.proof_timeout_s", 0),
        ("repository.proof_max_bytes", 0),
        ("repository", {"control": "explicit", "startup": "digits"}),
        ("repository", {"control": "explicit", "startup": ["../digits"]}),
        ("auth.admin_tokens", ["viewer:me"]),
        ("auth.admin_tokens", [f"admin:me:{DIGEST}"]),
        ("auth.admin_tokens", [f"viewer:m e:{DIGEST}"]),
        ("auth.admin_tokens", [f"viewer::{DIGEST}"]),
        ("auth.admin_tokens", [f"viewer:me:{DIGEST}0"]),
        ("auth.admin_tokens", [f"viewer:me:{DIGEST}\n"]),
        ("admin_tls.certfile", "cert.pem"),
        ("tls.certfile", "cert.pem"),
        ("tls.keyfile", "key.pem"),
        ("tls.keyfile_password", "secret"),
        ("tls.min_version", "1.1"),
        ("tls.min_version", 1.3),
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
        ("admin_host", "::1"),
        ("admin_host", "127.0.0.2"),
        ("admin_host", "LocalHost"),
        ("admin_hosts", ["gateway.example.com"]),
        ("replicas", 1),
        ("replicas", 64),
        ("default_deadline_s", 1),
        ("drain_timeout_s", 0),
        ("limits.simd_from_bytes", 0),
        ("batching.priority_levels", 2),
        ("redis.url", "rediss://user:word@host:6379/0"),
        ("redis.url", "unix:///run/redis.sock"),
        ("redis.url", "redis://:pa55%2Fword@[::1]:6379/0"),
        ("redis.url", "redis://host"),
        ("auth.keys", [f"operate:a.b-c_9:{DIGEST}", f"operate:me:{'f' * 64}"]),
        ("auth.keys", [f"predict:me:{DIGEST}", f"feedback:me:{DIGEST}", f"predict:me:{'f' * 64}"]),
        ("auth.admin_tokens", [f"viewer:a.b-c_9:{DIGEST}", f"operator:me:{'f' * 64}"]),
        ("repository", {"control": "explicit", "startup": ["digits"]}),
        ("heartbeat_timeout_s", 0.5),
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
        ({"client_ca": "a"}, "client_ca is set, and certfile is missing"),
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
        {"auth": {"keys": [f"operate:hush:{DIGEST}"], "admin_tokens": []}},
        {"feedback": {"keys": ["hush"]}},
    ],
)
def test_a_secret_is_not_shown_where_a_configuration_is(raw: dict[str, object]) -> None:
    assert "hush" not in repr(parse(raw))


@pytest.mark.parametrize(
    "name",
    [
        *("GATEWAY_CACHE__FLEET_KEY", "GATEWAY_REDIS__URL", "GATEWAY_AUTH__KEYS"),
        "GATEWAY_AUTH__ADMIN_TOKENS",
    ],
)
def test_a_secret_is_not_shown_in_a_fault(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {name: '["hush",3]'}, {})
    assert "hush" not in str(caught.value)


KEYS = [f"predict:me:{DIGEST}", f"operate:ops:{'f' * 64}", f"feedback:who:{'e' * 64}"]


@pytest.mark.parametrize("quota", ["me:1:1", "ops:0.000001:999999999", "me:999999999.5:20"])
def test_a_quota_is_for_who_may_ask(quota: str) -> None:
    assert parse({"auth": {"keys": KEYS, "quotas": [quota]}}).auth.quotas == (quota,)


@pytest.mark.parametrize(
    "quota",
    [
        *("me", "me:1", "me:0:1", "me:0.0:1", "me:1:0", "me:-1:1", "me:1:1.5", "me:1e3:1"),
        *(":1:1", "m e:1:1", "me:1:1:1", "me:inf:1", "me:1:1\n", "me:.5:1", "me:5.:1", ""),
    ],
)
def test_what_is_no_quota_is_named_by_its_place(quota: str) -> None:
    found = faults({"auth": {"keys": KEYS, "quotas": ["me:1:1", quota]}})
    assert found["$.auth.quotas[1]"].startswith("must be name:rate_per_s:burst, ")


@pytest.mark.parametrize(
    ("keys", "quotas", "path", "what"),
    [
        (KEYS, ["me:1:1", "me:2:1"], "$.auth.quotas", "two quotas are for the same name"),
        (
            KEYS,
            ["me:1:1", "who:1:1", "it:1:1"],
            "$.auth",
            "quotas are for who, it: no key for predict or operate is so called",
        ),
        (
            KEYS[1:],
            ["ops:1:1"],
            "$.auth",
            "quotas are set, and without a key for predict all may ask unnamed",
        ),
    ],
)
def test_quotas_that_would_bound_nobody_are_refused(
    keys: list[str], quotas: list[str], path: str, what: str
) -> None:
    found = faults({"auth": {"keys": keys, "quotas": quotas}})
    assert found.keys() == {path}
    assert found[path].startswith(what)


def test_the_hash_of_a_token_is_not_shown() -> None:
    assert DIGEST not in repr(parse(WHOLE))
    raw = {"auth": {"admin_tokens": [f"viewer:a:{DIGEST}", f"operator:b:{DIGEST.upper()}"]}}
    assert faults(raw) == {"$.auth.admin_tokens": "two tokens are the same"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "admin.example.com"])
def test_without_tokens_the_management_port_stays_at_home(host: str) -> None:
    what = "without auth.admin_tokens the management port must stay on a loopback address"
    assert faults({"admin_host": host}) == {"$.admin_host": f"{what}, got '{host}'"}
    parse({"admin_host": host, "auth": {"admin_tokens": [f"viewer:me:{DIGEST}"]}})


def test_a_rule_over_two_keys_names_where_the_value_came_from() -> None:
    with pytest.raises(ConfigError, match=r"got '::' \(from --admin-host\)"):
        load(None, {}, {"admin_host": "::"})


@pytest.mark.parametrize(
    "raw",
    [
        {"port": 9, "admin_port": 9},
        {"port": 8081},
        {"admin_port": 8080, "host": "0.0.0.0"},
        {"admin_port": 8080, "host": "::"},
    ],
)
def test_two_ports_are_not_one(raw: dict[str, Any]) -> None:
    assert list(faults(raw)) == ["$.admin_port"]


@pytest.mark.parametrize("raw", [{"port": 0, "admin_port": 0}, {"port": 8081, "host": "127.0.0.2"}])
def test_two_addresses_are_two_ports(raw: dict[str, Any]) -> None:
    parse(raw)


def test_models_to_start_with_are_chosen_under_explicit_control_alone() -> None:
    what = "startup is set, and control is 'none', which loads every model"
    assert faults({"repository": {"startup": ["digits"]}}) == {"$.repository": what}


@pytest.mark.parametrize(
    "route", ["/predict", "/v1/endpoints/7/deployedModels/8:predict", "/a%20b", "/a.b_c~d"]
)
def test_a_route_is_a_path(route: str) -> None:
    config = parse({"dialects": {"default_model": "m", "predict_route": route}})
    assert config.dialects.predict_route == route


@pytest.mark.parametrize(
    "route", ["", "/", "predict", "/a?b", "/a#b", "/a//b", "/a/", "/%zz", "/a b", "/é"]
)
def test_what_is_no_path_is_no_route(route: str) -> None:
    raw = {"dialects": {"default_model": "m", "health_route": route}}
    assert list(faults(raw)) == ["$.dialects.health_route"]


@pytest.mark.parametrize("key", ["predict_route", "health_route"])
def test_a_route_needs_a_model_that_answers(key: str) -> None:
    assert list(faults({"dialects": {key: "/x"}})) == ["$.dialects"]


def test_a_url_of_redis_that_is_refused_is_not_repeated() -> None:
    (told,) = faults({"redis": {"url": "redis://:pa55/word@127.0.0.1:6379/0"}}).items()
    assert told[0] == "$.redis.url"
    assert "percent-encoded" in told[1]
    assert "pa55" not in told[1]


def test_a_breaker_stays_open_for_no_longer_than_it_may() -> None:
    assert faults({"breaker": {"open_s": 61.0}}) == {
        "$.breaker": "open_s must be at most max_open_s (60.0), got 61.0"
    }
