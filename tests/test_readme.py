"""What the README shows a newcomer is what a newcomer gets."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.operating import wait_until
from tests.server import ROOT, WATCHDOG_S, Server, serving

ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost):8080")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(ROOT / "models", tmp_path_factory.mktemp("readme")) as running:
        yield running


def block(document: Path, marker: str) -> str:
    """Return the fenced block that follows a marker."""
    text = document.read_text()
    found = re.search(rf"<!-- {marker} -->\s*```\w*\n(.*?)```", text, re.DOTALL)
    assert found is not None, f"{document.name} has no block after <!-- {marker} -->"
    return found[1]


def without_scores(answer: dict[str, Any]) -> tuple[dict[str, Any], list[float]]:
    """Part an answer into what is exact and what depends on the processor's last digits."""
    floats = [one for one in answer["outputs"] if one["datatype"].startswith("FP")]
    scores = [score for one in floats for score in one["data"]]
    exact = [one if one not in floats else one | {"data": len(one["data"])} for one in
             answer["outputs"]]  # fmt: skip
    return answer | {"outputs": exact}, scores


def asked_and_shown(server: Server, what: str) -> tuple[Any, Any]:
    """Run the README's command; return what came and what the README shows."""
    command, replaced = ADDRESS.subn(
        f"127.0.0.1:{server.port}", block(ROOT / "README.md", f"{what}-request")
    )
    assert replaced == 1
    result = subprocess.run(
        ["sh", "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WATCHDOG_S,
        check=True,
    )
    return json.loads(result.stdout), json.loads(block(ROOT / "README.md", f"{what}-answer"))


def test_the_first_request_gets_the_answer_that_is_shown(server: Server) -> None:
    came, shown = asked_and_shown(server, "first")
    (came, scores), (shown, shown_scores) = without_scores(came), without_scores(shown)
    assert came == shown
    assert scores == pytest.approx(shown_scores, rel=1e-3, abs=1e-6)


def test_the_best_classes_are_those_that_are_shown(server: Server) -> None:
    came, shown = asked_and_shown(server, "classes")
    assert came == shown


def test_a_prediction_of_v1_is_the_one_that_is_shown(server: Server) -> None:
    came, shown = asked_and_shown(server, "v1")
    ((came,), (shown,)) = came["predictions"], shown["predictions"]
    assert came["label"] == shown["label"]
    assert came["scores"] == pytest.approx(shown["scores"], rel=1e-3)


def told(story: str) -> list[tuple[str, str]]:
    """Part a terminal's text into commands and what each of them printed."""
    parts = re.split(r"^\$ (.*)\n", story, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.slow
def test_versions_come_and_go_as_it_is_told(tmp_path: Path) -> None:
    """Each command is run, in a folder like ours, and prints what the README shows."""
    shutil.copytree(ROOT / "models", tmp_path / "models")
    readme = ROOT / "README.md"
    story = block(readme, "versions") + block(readme, "refused-version")
    with serving(Path("models"), tmp_path, replicas=2) as server:
        for command, expected in told(story):
            # the terminal's own line ends; curl prints none
            assert _plain(run(server, tmp_path, command)) == _plain(expected), command


def run(server: Server, folder: Path, command: str) -> str:
    """Run a command of the README in a folder like ours; return all that it prints."""
    addresses = {
        "http://127.0.0.1:8080": f"http://127.0.0.1:{server.port}",
        ".venv/bin/gateway models ": f"{sys.executable} -m gateway models"
        f" --gateway {server.admin_url} ",
    }
    line = command
    for ours, theirs in addresses.items():
        line = line.replace(ours, theirs)
    line = re.sub(
        r"\.venv/bin/gateway routes (\w+)",
        rf"{sys.executable} -m gateway routes \1 --gateway {server.admin_url}",
        line,
    )
    ran = subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WATCHDOG_S,
        check=False,
    )
    return ran.stdout


@pytest.mark.slow
def test_traffic_is_split_and_taken_back_as_it_is_told(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models", tmp_path / "models")
    readme = ROOT / "README.md"
    story = block(readme, "traffic") + block(readme, "refused-document")
    with serving(Path("models"), tmp_path, replicas=2) as server:
        for command, expected in told(story):
            line, rest, _ = command.partition(" && sleep 1")
            assert _timeless(run(server, tmp_path, line)) == _timeless(expected), command
            if rest:  # a test waits for what a reader gives a second
                wait_until(lambda: sum(heard(server)) > 0, lambda: heard(server))


def heard(server: Server) -> list[int]:
    """How many calls the shadow of digits was asked, by what came of them."""
    with server.admin() as admin:
        (shadow,) = admin.get("/admin/v1/models/digits/shadows").json()["shadows"]
    return list(shadow["calls"].values())


def _timeless(text: str) -> list[str]:
    """Lines with all times alike."""
    return [re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+\+00:00", "<time>", line) for line in _plain(text)]


def _plain(text: str) -> list[str]:
    """Lines without trailing blanks, and digests of models built on another machine alike."""
    lines = (re.sub(r"\b[0-9a-f]{12}\b", "<digest>", line).rstrip() for line in text.splitlines())
    return [re.sub(r"\b(inline|thread) +[0-9]+", "<placement>", line) for line in lines]
