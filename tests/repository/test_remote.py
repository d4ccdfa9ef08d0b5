"""From a declared version to what asks the servers that run it; real servers, good and bad."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config import parse_model
from gateway.execute.session import LoadFailed
from gateway.repository.digest import digest
from gateway.repository.discover import discover
from gateway.repository.proof import Found, Proof
from gateway.repository.prove import prove
from gateway.repository.remote import model_of, reached
from gateway.types import Signature
from tests.elsewhere import Elsewhere, always, answer, hanging, saying, write_remote
from tests.fakes import TWICE
from tests.repository.versions import CHEAP


@pytest.fixture
def server() -> Iterator[Elsewhere]:
    with Elsewhere() as running:
        yield running


def found(root: Path, *urls: str, **keys: Any) -> Found:
    (one,) = discover(write_remote(root, *urls, **keys), parse_model).found
    return one


def proof(one: Found) -> Proof:
    return prove(one, CHEAP, "p")


def refusal(one: Found) -> str:
    with pytest.raises(LoadFailed) as caught:
        proof(one)
    return str(caught.value)


def test_a_version_without_a_model_is_proved_by_its_server(
    tmp_path: Path, server: Elsewhere
) -> None:
    one = found(tmp_path, server.url)
    proved = proof(one)
    assert proved.digest == digest(one.folder)
    assert proved.signature == Signature(TWICE.signature.inputs, TWICE.signature.outputs, 8)
    assert (proved.executor, proved.placement.is_inline) == ("remote", False)
    assert 1 <= proved.placement.max_rows <= 8
    assert {len(asked.rows) for asked in server.inferences} >= {1, 2, 4, 8}


def test_a_proof_tells_its_steps(tmp_path: Path, server: Elsewhere) -> None:
    steps: list[str] = []
    prove(found(tmp_path, server.url), CHEAP, "p", steps.append)
    assert "opening model.toml" in steps
    assert "warming 8 rows" in steps


def test_a_golden_sample_counts(tmp_path: Path, server: Elsewhere) -> None:
    one = found(tmp_path, server.url)

    def golden(answer: float) -> None:
        sides = {
            side: [{"name": name, "datatype": "FP32", "shape": [1, 1], "data": [value]}]
            for side, name, value in (("inputs", "x", 3.0), ("outputs", "y", answer))
        }
        (one.folder / "golden.json").write_text(json.dumps(sides))

    golden(6.0)
    assert proof(one).trial_shapes == {"x": (1,)}
    golden(7.0)
    assert "golden.json" in refusal(one)


def test_one_endpoint_that_is_ready_is_enough(tmp_path: Path, server: Elsewhere) -> None:
    with Elsewhere() as other:
        other.die()
        one = found(tmp_path, other.url, server.url)
        assert reached(proof(one)).upstream.endpoints == (other.url, server.url)


def test_where_none_is_ready_each_says_why(tmp_path: Path, server: Elsewhere) -> None:
    server.die()
    one = found(tmp_path, server.url)
    assert refusal(one).startswith(f"{one.onnx}: {server.url}: no connection")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("FP32", "FP64"), "input 'x': expected FP64 [-1, -1], the model has FP32 [-1, -1]"),
        (('"y"', '"z"'), "output 'z': the model has 'y'"),
        (("[-1, -1]", "[-1]"), "input 'x': expected FP32 [-1]"),
    ],
)
def test_a_server_with_other_tensors_is_refused_by_name(
    tmp_path: Path, server: Elsewhere, change: tuple[str, str], words: str
) -> None:
    one = found(tmp_path, server.url)
    toml = one.folder / "model.toml"
    toml.write_text(toml.read_text().replace(*change, 1))
    assert f"{server.url}: {words}" in refusal(found_again(tmp_path))


def found_again(root: Path) -> Found:
    (one,) = discover(root, parse_model).found
    return one


def test_one_endpoint_with_other_tensors_spoils_them_all(tmp_path: Path, server: Elsewhere) -> None:
    said = json.dumps({"inputs": [], "outputs": []}).encode()
    with Elsewhere() as other:
        other.behave = always(answer(200, said))
        one = found(tmp_path, server.url, other.url)
        assert f"{other.url}: input 'x': the model has" in refusal(one)


def test_a_trial_run_that_fails_refuses_the_version(tmp_path: Path, server: Elsewhere) -> None:
    server.behave = saying(answer(500, b'{"error": "out of memory"}'))
    one = found(tmp_path, server.url)
    words = f"{server.url}: the remote server answered 500: out of memory"
    assert refusal(one) == f"{one.onnx}: a trial run failed: {words}"


def test_a_server_that_hangs_is_not_waited_for(tmp_path: Path, server: Elsewhere) -> None:
    server.behave = hanging
    assert "no answer within" in refusal(found(tmp_path, server.url, timeout_s=0.2))


def test_loading_asks_for_no_inference(tmp_path: Path, server: Elsewhere) -> None:
    proved = proof(found(tmp_path, server.url))
    before = len(server.inferences)
    model = reached(proved)
    assert model.signature == proved.signature
    assert len(server.inferences) == before
    assert server.asked[-1].path == "/v2/models/twice/versions/1"


def test_files_that_changed_since_are_refused(tmp_path: Path, server: Elsewhere) -> None:
    proved = proof(found(tmp_path, server.url))
    write_remote(tmp_path, server.url, connections=9)
    with pytest.raises(LoadFailed, match="changed since it was proved"):
        reached(proved)


def test_a_server_that_is_gone_keeps_a_version_from_being_loaded(
    tmp_path: Path, server: Elsewhere
) -> None:
    proved = proof(found(tmp_path, server.url))
    server.die()
    with pytest.raises(LoadFailed, match="no connection"):
        reached(proved)


def test_folders_that_are_gone_are_a_reason(tmp_path: Path, server: Elsewhere) -> None:
    proved = proof(found(tmp_path, server.url))
    (proved.found.folder / "manifest.sha256").write_text("nonsense\n")
    with pytest.raises(LoadFailed, match=r"manifest.sha256: line 1"):
        reached(proved)


def test_secrets_come_from_the_environment_and_are_not_shown(
    tmp_path: Path, server: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = write_remote(tmp_path, server.url) / "twice" / "1" / "model.toml"
    told = "headers_env = {Authorization = 'REMOTE_TOKEN', x-key = 'REMOTE_KEY'}\n[[remote.inputs]]"
    toml.write_text(toml.read_text().replace("[[remote.inputs]]", told))
    one = found_again(tmp_path)
    monkeypatch.setenv("REMOTE_TOKEN", "Bearer sesame")
    assert refusal(one) == f"{one.onnx}: the environment has no REMOTE_KEY"
    monkeypatch.setenv("REMOTE_KEY", "open\n")  # as a secret made by echo is
    assert refusal(one) == f"{one.onnx}: REMOTE_KEY holds what no header may, a line's end for one"
    monkeypatch.setenv("REMOTE_KEY", "open")
    proof(one)
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer sesame"}
    assert "sesame" not in repr(model_of(one))


def test_authorities_lie_beside_the_version(tmp_path: Path, server: Elsewhere) -> None:
    one = found(tmp_path, server.url, ca_file="ca.pem")
    assert "authorities cannot be read" in refusal(one)
    assert model_of(one).upstream.terms.ca_file == one.folder / "ca.pem"


def test_names_there_are_those_here_unless_others_are_told(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1"
    ours = model_of(found(tmp_path / "a", url)).upstream
    assert ours.path("/infer") == "/v2/models/twice/versions/1/infer"
    theirs = model_of(found(tmp_path / "b", url, model="a b/c", version="")).upstream
    assert theirs.path("/infer") == "/v2/models/a%20b%2Fc/infer"
