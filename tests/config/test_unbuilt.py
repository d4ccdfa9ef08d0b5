"""What is promised and not built yet is refused with its reason; off is always off."""

from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, load
from gateway.config.faults import keys
from gateway.config.unbuilt import UNBUILT

# A line of a configuration file for each row of the table, and its opposite.
REFUSED = {
    "with_sidecar": ("with_sidecar = true", "with_sidecar = false"),
    "cache.enabled": ("cache.enabled = true", "cache.enabled = false"),
    "cache.scope": ('cache.scope = "key"', 'cache.scope = "global"'),
    "cache.fleet_key": ('cache.fleet_key = "k"', "cache.max_bytes = 1"),
    "feedback.keys": ('feedback.keys = ["k"]', "feedback.keys = []"),
    "payload_log.enabled": ("payload_log.enabled = true", "payload_log.enabled = false"),
}


def load_text(folder: Path, text: str) -> Config:
    file = folder / "gateway.toml"
    file.write_text(text)
    return load(file, {}, {})


def test_every_row_is_tried_below() -> None:
    assert {path for path, _, _ in UNBUILT} == set(REFUSED)


def test_every_row_is_about_a_key() -> None:
    assert set(REFUSED) <= {path for path, _ in keys(Config)}


@pytest.mark.parametrize("path", REFUSED)
def test_a_value_without_effect_is_refused_with_its_reason(tmp_path: Path, path: str) -> None:
    reason = next(reason for row, _, reason in UNBUILT if row == path)
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, REFUSED[path][0])
    assert caught.value.faults == ((f"$.{path}", f"not built yet: {reason}"),)


@pytest.mark.parametrize("path", REFUSED)
def test_off_is_always_taken(tmp_path: Path, path: str) -> None:
    load_text(tmp_path, REFUSED[path][1])


def test_all_refusals_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, "\n".join(refused for refused, _ in REFUSED.values()))
    assert {path for path, _ in caught.value.faults} == {f"$.{path}" for path in REFUSED}


def test_a_value_that_is_not_even_valid_has_one_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, 'replicas = 0\ncache.enabled = "yes"')
    assert [path for path, _ in caught.value.faults] == ["$.replicas", "$.cache.enabled"]


def test_a_table_that_is_none_has_one_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, "cache = 3")
    assert caught.value.faults == (("$.cache", "must be a table"),)


def test_a_refusal_names_where_the_value_came_from() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"GATEWAY_CACHE__ENABLED": "true"}, {"with_sidecar": True})
    ends = [what.rpartition(" (from ")[2] for _, what in caught.value.faults]
    assert ends == ["--with-sidecar)", "GATEWAY_CACHE__ENABLED)"]


@pytest.mark.parametrize(
    "text",
    [
        "replicas = 2",
        "pre_drain_s = 0.5",
        'repository.control = "explicit"',
        f'auth.admin_tokens = ["viewer:me:{"0" * 64}"]',
        f'auth.keys = ["operate:me:{"0" * 64}"]',
        'redis.url = "redis://localhost"',
        'routes.new_versions = "serve"',
        "exposure_log.enabled = true",
    ],
)
def test_what_is_built_is_refused_no_more(tmp_path: Path, text: str) -> None:
    load_text(tmp_path, text)
