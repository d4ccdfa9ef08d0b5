"""The check command: all faults at once, and what is in order."""

import json
from pathlib import Path
from typing import Self

import pytest

from gateway.cli.check import Faulty, check, print_schema
from gateway.config import Config, ConfigError
from gateway.core.costs import Cost, Placement
from gateway.repository.proof import Found, Proof
from gateway.supervise.prover import Unproven
from gateway.types import Signature
from tests.cli.test_program import refused, run, write_model


class Prover:
    """Proves whatever is not listed as bad."""

    def __init__(self, **bad: str) -> None:
        self.bad = bad
        self.seen: list[tuple[str, str]] = []
        self.is_open = False

    def __call__(self, config: Config) -> Self:
        return self

    async def __aenter__(self) -> Self:
        self.is_open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_open = False

    async def prove(self, found: Found) -> Proof:
        assert self.is_open
        self.seen.append((found.model, found.version))
        if found.model in self.bad:
            raise Unproven(self.bad[found.model])
        signature = Signature((), (), 1)
        return Proof(found, "ab" * 32, signature, Cost(1e-6, 4e-6), Placement(True, 64))


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(*places: str) -> None:
    """Write files that only look like models: nobody opens them here."""
    for place in places:
        folder = Path("models", place)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"not opened")


def test_what_is_in_order_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    write("a/1", "a/10", "b/1")
    prover = Prover()
    check(None, {}, prover)
    assert prover.seen == [("a", "1"), ("a", "10"), ("b", "1")]
    assert capsys.readouterr().out.splitlines()[:2] == [
        "ok  configuration",
        "ok  a 1  inline, 64 rows at most, 5 us for one, abababababab",
    ]


def test_every_fault_of_every_model_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    write("a/1", "b/1", "c/1")
    Path("models/b/1/model.toml").write_text("x = 1\n")
    prover = Prover(a="opset 99\nis not known", c="segfault")
    with pytest.raises(Faulty) as faulty:
        check(None, {}, prover)
    assert str(faulty.value).splitlines() == [
        "models/b/1/model.toml: $.x: unknown key",
        "models/a/1: opset 99 is not known",
        "models/c/1: segfault",
    ]
    assert capsys.readouterr().out == "ok  configuration\n"


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_without_a_model_is_a_fault(is_there: bool) -> None:
    if is_there:
        Path("elsewhere").mkdir()
    with pytest.raises(Faulty, match=r"elsewhere: (no such folder|holds no model)"):
        check(None, {"models": Path("elsewhere")}, Prover())


def test_faults_of_the_configuration_come_first() -> None:
    Path("gateway.toml").write_text("prot = 1\nport = -1\n")
    with pytest.raises(ConfigError) as refusal:
        check(None, {}, Prover())
    assert len(refusal.value.faults) == 2


def test_the_schema_is_that_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    print_schema()
    schema = json.loads(capsys.readouterr().out)
    assert {"models", "port", "tls", "auth"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_the_schema_needs_no_configuration_that_is_in_order(tmp_path: Path) -> None:
    Path("gateway.toml").write_text("prot = 1\n")
    result = run(tmp_path, "check", "--schema")
    assert (result.returncode, result.stderr) == (0, "")
    assert "properties" in json.loads(result.stdout)


def test_a_whole_run_proves_real_versions_in_another_process(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    result = run(tmp_path, "check")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1].startswith("ok  echo 1  inline, ")
    write("broken/1")
    (line,) = refused(tmp_path, "check")
    assert line.startswith("models/broken/1: ")


def test_what_a_configuration_says_in_vain_is_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("a/1", "a/2")
    text = "version_policy { all { } } instance_group { kind: KIND_GPU }"
    Path("models/a/config.pbtxt").write_text(text)
    check(None, {}, Prover())
    assert capsys.readouterr().out.splitlines()[:2] == [
        "ok  configuration",
        "note  a: $.instance_group[0].kind: KIND_GPU runs on the CPU here",
    ]


def test_what_no_policy_chooses_is_not_tried_and_its_faults_are_none() -> None:
    write("a/1", "a/2")
    Path("models/a/config.pbtxt").touch()
    Path("models/a/1/model.toml").write_text("nonsense = 1\n")
    prover = Prover()
    check(None, {}, prover)
    assert prover.seen == [("a", "2")]
