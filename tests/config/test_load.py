"""Loading: file, then environment, then flags, and every fault of all three."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Config, ConfigError, load
from gateway.config.faults import keys


def write(folder: Path, text: str) -> Path:
    file = folder / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    return file


def from_environment(**variables: str) -> Config:
    return load(None, {f"GATEWAY_{name}": value for name, value in variables.items()}, {})


def faults(
    file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]
) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(file, environ, flags)
    return dict(caught.value.faults)


def test_nothing_at_all_is_the_defaults() -> None:
    assert load(None, {}, {}) == Config()


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, ""), {}, {}) == Config()


def test_the_file_is_overridden_by_the_environment_and_that_by_flags(tmp_path: Path) -> None:
    file = write(tmp_path, 'port = 1\nadmin_port = 1\nhost = "a"\n')
    config = load(file, {"GATEWAY_PORT": "2", "GATEWAY_ADMIN_PORT": "2"}, {"port": 3})
    assert (config.port, config.admin_port, config.host) == (3, 2, "a")


def test_the_environment_adds_to_a_table_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[limits]\nmax_rank = 3\nmax_fields = 4\n")
    limits = load(file, {"GATEWAY_LIMITS__MAX_FIELDS": "5"}, {}).limits
    assert (limits.max_rank, limits.max_fields) == (3, 5)


def test_a_value_that_is_overridden_is_not_judged(tmp_path: Path) -> None:
    assert load(write(tmp_path, 'port = "x"'), {}, {"port": 1}).port == 1


def test_the_rest_of_the_environment_is_none_of_ours() -> None:
    assert load(None, {"PATH": "x", "gateway_port": "x", "MY_GATEWAY_PORT": "x"}, {}) == Config()


def test_the_token_of_the_command_line_is_no_setting() -> None:
    assert load(None, {"GATEWAY_ADMIN_TOKEN": "hush"}, {}) == Config()


SERVICE = {  # of two ports, as Kubernetes tells it every container of its namespace
    "SERVICE_HOST": "10.0.0.7",
    "SERVICE_PORT": "8080",
    "SERVICE_PORT_HTTP": "8080",
    "SERVICE_PORT_FAST_HTTP": "8443",
    "PORT": "tcp://10.0.0.7:8080",
    "PORT_8080_TCP": "tcp://10.0.0.7:8080",
    "PORT_8080_TCP_PROTO": "tcp",
    "PORT_8080_TCP_PORT": "8080",
    "PORT_8080_TCP_ADDR": "10.0.0.7",
    "PORT_8443_UDP": "udp://10.0.0.7:8443",
}


@pytest.mark.parametrize("service", ["GATEWAY", "GATEWAY_ADMIN", "GATEWAY_CANARY_EU"])
def test_a_service_of_our_name_sets_nothing(service: str) -> None:
    environ = {f"{service}_{name}": text for name, text in SERVICE.items()}
    assert load(None, environ, {}) == Config()
    assert load(None, environ | {"GATEWAY_HOST": "127.0.0.2"}, {}) == Config(host="127.0.0.2")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SERVICE_NAME", "x"),
        ("SERVICES", "10.0.0.7"),
        ("PORT_8080", "8080"),
        ("PORT_HTTP_TCP", "8080"),
        ("PORT", "http://10.0.0.7:8080"),
        ("HOSTS", "tcp://10.0.0.7"),
    ],
)
def test_what_only_looks_like_a_service_is_a_fault(name: str, text: str) -> None:
    assert len(faults(None, {f"GATEWAY_{name}": text}, {})) == 1


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PORT", "9000", 9000),
        ("HOST", "127.0.0.2", "127.0.0.2"),
        ("MODELS", "/srv/models", Path("/srv/models")),
        ("MODELS", "12", Path("12")),
        ("SERVER_NAME", "12", "12"),
        ("SERVER_NAME", '"quoted"', '"quoted"'),
        ("REPLICAS", "1", 1),
        ("REPLICAS", "auto", "auto"),
        ("WITH_SIDECAR", "false", False),
        ("DRAIN_TIMEOUT_S", "7", 7.0),
        ("DEFAULT_DEADLINE_S", "0.5", 0.5),
        ("CACHE__ENABLED", "false", False),
        ("CACHE__SCOPE", "global", "global"),
        ("AUTH__KEYS", "[]", ()),
        ("ADMIN_HOSTS", '["a"]', ("a",)),
        ("REPOSITORY__CONTROL", "explicit", "explicit"),
        ("REPOSITORY__STARTUP", "[]", ()),
    ],
)
def test_a_variable_is_read_by_the_type_of_its_key(name: str, text: str, value: object) -> None:
    found: object = from_environment(**{name: text})
    for part in name.lower().split("__"):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_an_optional_path_is_read_as_it_stands() -> None:
    config = from_environment(TLS__CERTFILE="1", TLS__KEYFILE="null", TLS__KEYFILE_PASSWORD="true")
    tls = config.tls
    assert (tls.certfile, tls.keyfile, tls.keyfile_password) == (Path("1"), Path("null"), "true")


@pytest.mark.parametrize(
    ("name", "text", "path", "what"),
    [
        ("PORT", "many", "$.port", "must be a valid integer, got 'many'"),
        ("PORT", "", "$.port", "must be a valid integer, got ''"),
        ("PORT", "80.5", "$.port", "must be a valid integer, got 80.5"),
        ("PORT", "9" * 5000, "$.port", f"must be a valid integer, got '{'9' * 59}…"),
        ("WITH_SIDECAR", "yes", "$.with_sidecar", "must be a valid boolean, got 'yes'"),
        ("DRAIN_TIMEOUT_S", "NaN", "$.drain_timeout_s", "must be a finite number, got nan"),
        ("AUTH__KEYS", "key", "$.auth.keys", "must be a list"),
        ("AUTH__KEYS", "[" * 100_000, "$.auth.keys", "must be a list"),
        ("MODELS", "", "$.models", "must name a path, got ''"),
    ],
)
def test_a_fault_of_the_environment_names_its_variable(
    name: str, text: str, path: str, what: str
) -> None:
    name = f"GATEWAY_{name}"
    found = faults(None, {name: text}, {})
    assert found == {path: f"{what} (from {name})"}


def test_a_fault_inside_a_list_names_its_variable() -> None:
    what = "must have at least 1 character (from GATEWAY_FEEDBACK__KEYS)"
    found = faults(None, {"GATEWAY_FEEDBACK__KEYS": '["a", ""]'}, {})
    assert found["$.feedback.keys[1]"] == what


def test_a_fault_of_a_flag_names_it() -> None:
    what = "must be greater than or equal to 0, got -1 (from --admin-port)"
    assert faults(None, {}, {"admin_port": -1}) == {"$.admin_port": what}


def test_a_fault_names_the_source_that_won(tmp_path: Path) -> None:
    file = write(tmp_path, "port = 1")
    found = faults(file, {"GATEWAY_PORT": "2"}, {"port": 70000})
    assert found["$.port"].endswith("got 70000 (from --port)")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("GATEWAY_PROT", "GATEWAY_PORT"),
        ("GATEWAY_MAX_RANK", "GATEWAY_LIMITS__MAX_RANK"),
        ("GATEWAY_LIMITS_MAX_RANK", "GATEWAY_LIMITS__MAX_RANK"),
    ],
)
def test_an_unknown_variable_is_told_its_nearest_neighbour(name: str, near: str) -> None:
    assert faults(None, {name: "1"}, {}) == {name: f"unknown variable; did you mean {near}?"}


def test_a_variable_names_a_key_and_never_a_table() -> None:
    assert list(faults(None, {"GATEWAY_LIMITS": "{}"}, {})) == ["GATEWAY_LIMITS"]


def test_a_variable_below_what_is_no_table_leaves_the_fault_to_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "limits = 3")
    assert faults(file, {"GATEWAY_LIMITS__MAX_RANK": "3"}, {}) == {"$.limits": "must be a table"}


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "nowhere.toml"
    assert faults(file, {}, {}) == {str(file): "cannot be read: No such file or directory"}


def test_a_file_that_is_a_folder_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, {}, {}) == {str(tmp_path): "cannot be read: Is a directory"}


@pytest.mark.parametrize("contents", [b"port = ", b"\xff", b"a = " + b"[" * 100_000])
def test_a_file_that_is_no_toml_is_a_fault(tmp_path: Path, contents: bytes) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(contents)
    assert list(faults(file, {}, {})) == [str(file)]


def test_faults_of_every_source_are_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, "prot = 1\n[limits]\nmax_rank = 0\n[cache]\nenabled = true\n")
    environ = {"GATEWAY_HOTS": "x", "GATEWAY_STATE__DIR": ""}
    expected = {"GATEWAY_HOTS", "$.prot", "$.limits.max_rank", "$.cache.enabled"}
    assert faults(file, environ, {"port": -1}).keys() == expected | {"$.state.dir", "$.port"}


def test_faults_of_the_environment_are_told_beside_those_of_a_broken_file(tmp_path: Path) -> None:
    file = write(tmp_path, "=")
    assert faults(file, {"GATEWAY_PORT": "x"}, {}).keys() == {str(file), "$.port"}


@given(st.sampled_from([path for path, _ in keys(Config)]), st.text(max_size=12))
def test_any_text_in_any_variable_is_a_setting_or_a_fault(path: str, text: str) -> None:
    """No text is an error of another kind, or at another place."""
    name = "GATEWAY_" + path.upper().replace(".", "__")
    try:
        load(None, {name: text}, {})
    except ConfigError as error:
        found = [place for place, _ in error.faults]
    else:
        found = [f"$.{path}"]
    # A certificate alone is a fault of its table.
    assert [place for place in found if not f"$.{path}".startswith(place.partition("[")[0])] == []


def test_the_routes_that_vertex_ai_tells_are_read_and_ours_go_before() -> None:
    theirs = {"AIP_PREDICT_ROUTE": "/theirs", "AIP_HEALTH_ROUTE": "/health/7"}
    model = {"GATEWAY_DIALECTS__DEFAULT_MODEL": "m"}
    dialects = load(None, theirs | model, {}).dialects
    assert (dialects.predict_route, dialects.health_route) == ("/theirs", "/health/7")
    ours = {"GATEWAY_DIALECTS__PREDICT_ROUTE": "/ours"}
    assert load(None, theirs | model | ours, {}).dialects.predict_route == "/ours"


def test_a_fault_of_a_route_names_the_variable_that_it_came_from() -> None:
    environ = {"AIP_PREDICT_ROUTE": "none", "GATEWAY_DIALECTS__DEFAULT_MODEL": "m"}
    with pytest.raises(ConfigError, match=r"predict_route.*\(from AIP_PREDICT_ROUTE\)"):
        load(None, environ, {})
