"""Faults: each with its path, what was expected and what came."""

import pytest
from pydantic import ValidationError

from gateway.config.faults import ConfigError, faults_of, keys, unknown
from gateway.config.tables import Config, LimitsConfig


def faults(raw: object) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(raw)
    found = faults_of(caught.value, Config)
    assert len(found) == len(dict(found)), "one fault for each path"
    return dict(found)


def test_every_fault_is_told_at_once_with_its_path() -> None:
    raw = {
        "port": "x",
        "limits": {"max_rank": 0, "max_ranks": 1},
        "feedback": {"keys": ["a", ""]},
        "tls": {"certfile": "a"},
        "state": 3,
    }
    expected = {
        "$.port",
        "$.limits.max_rank",
        "$.limits.max_ranks",
        "$.feedback.keys[1]",
        "$.tls",
        "$.state",
    }
    assert faults(raw).keys() == expected


@pytest.mark.parametrize(
    ("raw", "path", "what"),
    [
        ({"port": "x"}, "$.port", "must be a valid integer, got 'x'"),
        ({"port": 70000}, "$.port", "must be less than or equal to 65535, got 70000"),
        ({"models": ""}, "$.models", "must name a path, got ''"),
        ({"host": "a b"}, "$.host", "must be an IP address or a host name, got 'a b'"),
        ({"cache": {"scope": "x"}}, "$.cache.scope", "must be 'global' or 'key', got 'x'"),
        ({"limits": [1]}, "$.limits", "must be a table"),
        ({"auth": {"keys": "x"}}, "$.auth.keys", "must be a list"),
        ({"port": "x" * 99}, "$.port", f"must be a valid integer, got '{'x' * 59}…"),
        ({"tls": {"keyfile": "k"}}, "$.tls", "keyfile is set, and certfile is missing"),
    ],
)
def test_a_fault_says_what_was_expected_and_what_came(
    raw: dict[str, object], path: str, what: str
) -> None:
    assert faults(raw) == {path: what}


def test_a_choice_between_types_is_one_fault() -> None:
    expected = "must be 'auto', got 'many'; or must be a valid integer, got 'many'"
    assert faults({"replicas": "many"}) == {"$.replicas": expected}


@pytest.mark.parametrize(
    ("raw", "path", "near"),
    [
        ({"prot": 1}, "$.prot", "port"),
        ({"limits": {"max_body": 1}}, "$.limits.max_body", "limits.max_body_bytes"),
        ({"limits": {"max_wait_ms": 1}}, "$.limits.max_wait_ms", "batching.max_wait_ms"),
        ({"max_rank": 1}, "$.max_rank", "limits.max_rank"),
        ({"limit": {}}, "$.limit", "limits"),
        ({"server": {"port": 1}}, "$.server", "server_name"),
    ],
)
def test_an_unknown_key_is_told_its_nearest_neighbour(
    raw: dict[str, object], path: str, near: str
) -> None:
    assert faults(raw) == {path: f"unknown key; did you mean {near}?"}


@pytest.mark.parametrize("raw", [{"qqqqqq": 1}, {"batching": {"x": 1}}])
def test_a_key_like_no_other_has_no_neighbour(raw: dict[str, object]) -> None:
    assert set(faults(raw).values()) == {"unknown key"}


def test_a_name_from_another_table_is_nearer_than_a_similar_one() -> None:
    assert unknown("key", "a.size", ["a.sizes", "b.size"]) == "unknown key; did you mean b.size?"


def test_keys_are_dotted_paths_and_tables_are_none() -> None:
    paths = [path for path, _ in keys(Config)]
    assert {"port", "limits.max_rank"} < set(paths)
    assert "limits" not in paths
    assert len(paths) == len(set(paths))
    assert [f"limits.{path}" for path, _ in keys(LimitsConfig)] == [
        path for path in paths if path.startswith("limits.")
    ]


def test_an_error_is_its_faults_one_a_line() -> None:
    error = ConfigError([("$.a", "is wrong"), ("$.b", "too")])
    assert error.faults == (("$.a", "is wrong"), ("$.b", "too"))
    assert str(error) == "$.a: is wrong\n$.b: too"
