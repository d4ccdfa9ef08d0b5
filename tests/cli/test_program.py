"""The command line: flags, exit codes, and never a traceback."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import gateway
from gateway.cli.endings import attempt, explain
from gateway.config import ConfigError
from gateway.errors import NotReady
from gateway.repository.discover import RepositoryError

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0  # for a whole process, on a busy machine


OPEN = (
    "$.admin_host: without auth.admin_tokens the management port must stay on a loopback address"
    ", got '0.0.0.0'"
)


def command(arguments: Sequence[str], *options: str) -> list[str]:
    return [sys.executable, *options, "-m", "gateway", *arguments]


def environment(**variables: str) -> dict[str, str]:
    """Return what a process of ours inherits: nothing that would change its settings."""
    inherited = {name: text for name, text in os.environ.items() if name in {"PATH", "HOME"}}
    return {**inherited, "PYTHONPATH": str(ROOT), **variables}


def run(
    folder: Path, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program in `folder`, to its end."""
    return subprocess.run(
        command(arguments),
        cwd=folder,
        env=env or environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def refused(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> list[str]:
    """Return the lines of a run that must be refused, each of them the program's own."""
    result = run(folder, *arguments, env=env)
    assert result.returncode == 1
    # what is in order, or where to look at what is not, may have been said before
    assert re.sub("managed on .*\n|ok .*\n", "", result.stdout) == ""
    lines = result.stderr.splitlines()
    own = [line.removeprefix("gateway: ") for line in lines if line.startswith("gateway: ")]
    # a version that cannot be served is logged at once, whatever becomes of the others
    assert [line for line in lines if line.removeprefix("gateway: ") not in own] == [
        line for line in lines if re.search(" is refused: | cannot be loaded: ", line)
    ]
    return own


def write_model(root: Path) -> Path:
    """Write a model that gives back what it is given."""
    folder = root / "echo" / "1"
    folder.mkdir(parents=True)
    given, answer = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [given], [answer])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "model.onnx")
    return root


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Serve in a process until the block is left, whatever happens in it."""
    with subprocess.Popen(
        command(["serve", "--port", "0", "--admin-port", "0", *arguments]),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_says_its_version(tmp_path: Path) -> None:
    result = run(tmp_path, "--version")
    assert (result.returncode, result.stdout) == (0, f"gateway {gateway.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["serve", "--help"], ["check", "--help"], ["models", "load", "--help"]],
)
def test_help_is_no_failure(tmp_path: Path, arguments: list[str]) -> None:
    result = run(tmp_path, *arguments)
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: gateway")


def test_help_names_every_flag(tmp_path: Path) -> None:
    text = run(tmp_path, "serve", "--help").stdout
    flags = ["config", "models", "host", "port", "admin-host", "admin-port", "replicas"]
    assert [flag for flag in [*flags, "with-sidecar"] if f"  --{flag} " not in text] == []


def test_help_loads_nothing_that_only_serving_needs(tmp_path: Path) -> None:
    script = (
        "import sys, json, gateway.cli;"
        "heavy = ('rich', 'pydantic', 'numpy', 'httpx', 'starlette', 'onnxruntime');"
        "print(json.dumps([m for m in heavy if m in sys.modules]))"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, check=True
    ).stdout
    assert json.loads(output) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bogus"],
        ["--bogus"],
        ["serve", "extra"],
        ["serve", "--bogus"],
        ["serve", "--port"],
        ["serve", "--port", "many"],
        ["serve", "--admin-port", "1.5"],
        ["serve", "--replicas", "many"],
        ["serve", "--with-sidecar=yes"],
        ["check", "extra"],
        ["models", "bogus"],
        ["models", "load"],
        ["models", "load", "a", "1", "extra"],
        ["models", "--gateway", "nowhere"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    result = run(tmp_path, *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith(("Usage: gateway", "Error: "))
    assert "Traceback" not in result.stderr


def test_wrong_usage_of_a_flag_names_it(tmp_path: Path) -> None:
    expected = "Invalid value for '--replicas': must be 'auto' or a whole number, got 'many'"
    assert expected in run(tmp_path, "serve", "--replicas", "many").stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port", "70000"], "$.port: must be less than or equal to 65535, got 70000"),
        (["--admin-port", "-1"], "$.admin_port: must be greater than or equal to 0, got -1"),
        (["--host", "a b"], "$.host: must be an IP address or a host name, got 'a b'"),
        (["--admin-host", "?"], "$.admin_host: must be an IP address or a host name, got '?'"),
        (["--admin-host", "0.0.0.0"], OPEN),
        (["--with-sidecar"], "$.with_sidecar: not built yet: there is no sidecar"),
    ],
)
def test_a_value_that_cannot_be_served_is_exit_code_1_and_a_line_that_names_its_flag(
    tmp_path: Path, arguments: list[str], expected: str
) -> None:
    assert refused(tmp_path, "serve", *arguments) == [f"{expected} (from {arguments[0]})"]


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("prot = 1\n[cache]\nenabled = true\n")
    env = environment(GATEWAY_LIMITS__MAX_RANK="0", GATEWAY_HOTS="x")
    paths = [line.split(":")[0] for line in refused(tmp_path, "serve", "--port", "-1", env=env)]
    expected = ["GATEWAY_HOTS", "$.port", "$.limits.max_rank", "$.prot", "$.cache.enabled"]
    assert paths == expected


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    lines = refused(tmp_path, "serve", "--config", "gateway.toml")
    assert lines == ["gateway.toml: cannot be read: No such file or directory"]


def test_a_file_that_is_not_named_need_not_be_there(tmp_path: Path) -> None:
    """Without it the defaults hold, and the first fault is that they name no models."""
    assert refused(tmp_path, "serve", "--port", "0", "--admin-port", "0") == [
        "models: no such folder"
    ]


def test_the_file_in_the_folder_is_read_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("one = 1")
    (tmp_path / "other.toml").write_text("two = 2")
    assert refused(tmp_path, "serve") == ["$.one: unknown key"]
    assert refused(tmp_path, "serve", "--config", "other.toml") == ["$.two: unknown key"]


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text('models = "file"\nport = 0\nadmin_port = 0')
    env = environment(GATEWAY_MODELS="environment")
    assert refused(tmp_path, "serve") == ["file: no such folder"]
    assert refused(tmp_path, "serve", env=env) == ["environment: no such folder"]
    lines = refused(tmp_path, "serve", "--models", "flag", env=env)
    assert lines == ["flag: no such folder"]


def test_faults_of_the_models_are_lines_too(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    (tmp_path / "models/echo/1/model.toml").write_text("[batching]\nmax_batch_size = -1\nx = 1\n")
    file = "models/echo/1/model.toml"
    faults = [
        f"{file}: $.batching.max_batch_size: must be greater than or equal to 0, got -1",
        f"{file}: $.batching.x: unknown key",
    ]
    lines = refused(tmp_path, "serve", "--port", "0", "--admin-port", "0")
    assert lines == [f"echo version 1: {'; '.join(faults)}"]
    assert refused(tmp_path, "check") == faults


def test_a_file_that_is_no_model_is_told_with_its_path(tmp_path: Path) -> None:
    model = write_model(tmp_path / "models") / "echo/1/model.onnx"
    model.write_bytes(b"not a graph")
    lines = refused(tmp_path, "serve", "--port", "0", "--admin-port", "0")
    assert "models/echo/1/model.onnx" in lines[0]


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lines = refused(tmp_path, "serve", "--port", str(port), "--admin-port", "0")
    expected = f"cannot listen on 127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}"
    assert lines == [expected]


def test_a_state_that_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    (tmp_path / "state").write_text("")
    env = environment(GATEWAY_STATE__DIR="state")
    (line,) = refused(tmp_path, "serve", "--port", "0", "--admin-port", "0", env=env)
    assert line == f"state: {os.strerror(errno.EEXIST)}"


def test_a_certificate_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    (tmp_path / "key.pem").write_text("")
    env = environment(GATEWAY_TLS__CERTFILE="nowhere.pem", GATEWAY_TLS__KEYFILE="key.pem")
    lines = refused(tmp_path, "serve", "--port", "0", "--admin-port", "0", env=env)
    assert lines == ["$.tls.certfile: nowhere.pem: No such file or directory"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_told_to_stop_is_exit_code_0(tmp_path: Path, number: signal.Signals) -> None:
    models = write_model(tmp_path / "models")
    with serving(tmp_path, "--models", str(models)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("managed on http://127.0.0.1:")
        assert process.stdout.readline().startswith("serving echo (1) on http://127.0.0.1:")
        process.send_signal(number)
        _, errors = process.communicate(timeout=WAIT_S)
    assert (process.returncode, errors) == (0, "")


def raising(error: BaseException) -> Sequence[str]:
    def act() -> None:
        raise error

    return attempt(act)


def test_what_goes_well_says_nothing() -> None:
    assert attempt(lambda: None) == ()


def test_stopping_by_hand_goes_well() -> None:
    assert raising(KeyboardInterrupt()) == ()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigError([("$.a", "is wrong"), ("$.b", "too")]), ["$.a: is wrong", "$.b: too"]),
        (RepositoryError([("models", "no such folder")]), ["models: no such folder"]),
        (NotReady("no model is loaded"), ["no model is loaded"]),
        (OSError("disk on fire"), ["disk on fire"]),
    ],
)
def test_an_error_with_a_name_is_its_own_words(error: Exception, expected: list[str]) -> None:
    assert list(raising(error)) == expected


def test_an_error_without_words_is_its_name() -> None:
    assert list(raising(TimeoutError())) == ["TimeoutError"]


UNFORESEEN = """
from gateway.cli.endings import attempt
def act():
    raise KeyError("a\\nb")
print(*attempt(act), sep="|")
"""


@pytest.mark.parametrize(
    ("options", "status", "output"),
    [([], 0, "KeyError: 'a\\nb'\n"), (["-X", "dev"], 1, "")],
    ids=["a user", "a developer"],
)
def test_an_unforeseen_error_is_one_line_to_a_user_and_whole_to_a_developer(
    options: list[str], status: int, output: str
) -> None:
    result = subprocess.run(
        [sys.executable, *options, "-c", UNFORESEEN],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (status, output)
    assert ("Traceback" in result.stderr) == bool(status)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EADDRINUSE, "cannot listen on h:1: in use"), "cannot listen on h:1: in use"),
        (OSError(errno.ENOENT, "no such file", "a/b"), "a/b: no such file"),
        (OSError(errno.EACCES, "denied", "a/b"), "a/b: denied"),
        (OSError(errno.EMFILE, "too many files"), "too many files"),
        (OSError("in words"), "in words"),
        (OSError(), "OSError"),
    ],
)
def test_an_error_of_the_system_names_its_file(error: OSError, expected: str) -> None:
    assert explain(error) == expected


def test_tasks_that_failed_together_are_told_together() -> None:
    faults = ConfigError([("$.a", "is wrong"), ("$.b", "too")])
    group = ExceptionGroup("tasks", [faults, ExceptionGroup("more", [OSError("disk on fire")])])
    assert list(raising(group)) == ["$.a: is wrong", "$.b: too", "disk on fire"]
