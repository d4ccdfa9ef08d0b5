import socket
import sys
from pathlib import Path

import pytest

from bench.launch import START_S, Rung, StartFailed, ask, free_port, pinned, serving
from bench.requests import ANSWER, INFER, Target, write_bodies
from bench.rungs import bare, gateway, ladder
from bench.stand import two_processors
from gateway.config import load


@pytest.fixture
def digits(tmp_path: Path) -> Target:
    write_bodies(tmp_path / "bodies", 2)
    return Target(INFER, tmp_path / "bodies")


def first_processor() -> int:
    return two_processors()[0]


@pytest.mark.slow
def test_a_server_lives_as_long_as_its_block(digits: Target, tmp_path: Path) -> None:
    with serving(bare(tmp_path), digits, first_processor(), tmp_path) as server:
        assert ask(server.port, digits) == (200, ANSWER)
        assert 0 < server.start_s < START_S
        assert (server.home / "log").exists()
    with pytest.raises(ConnectionRefusedError):
        ask(server.port, digits)


@pytest.mark.slow
def test_a_server_that_ends_at_once_is_told_with_its_log(digits: Target, tmp_path: Path) -> None:
    words = [sys.executable, "-c", "raise SystemExit('no such model')"]
    broken = Rung("broken", lambda _port, _home: words)
    with (
        pytest.raises(StartFailed, match="no such model"),
        serving(broken, digits, first_processor(), tmp_path),
    ):
        raise AssertionError("a server that is dead must not be measured")


def test_a_free_port_can_be_bound() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))


def test_a_pinned_command_is_the_same_command() -> None:
    assert pinned(["nginx", "-v"], 1)[-2:] == ["nginx", "-v"]
    assert pinned(["nginx", "-v"], None) == ["nginx", "-v"]


def test_the_gateway_is_started_as_a_user_starts_it(tmp_path: Path) -> None:
    words = list(gateway(Path("models")).command(40_001, tmp_path))
    assert words[1:4] == ["-m", "gateway", "serve"]
    assert words[words.index("--port") + 1] == "40001"
    assert words[words.index("--replicas") + 1] == "1"
    assert Path(words[words.index("--config") + 1]).exists()


def test_a_gateway_may_have_settings_and_replicas_of_its_own(tmp_path: Path) -> None:
    rung = gateway(Path("models"), 2, '[repository]\ncontrol = "explicit"')
    words = list(rung.command(40_001, tmp_path))
    assert words[words.index("--replicas") + 1] == "2"
    config = load(Path(words[words.index("--config") + 1]), {}, {})
    assert config.repository.control == "explicit"
    assert config.state.dir == tmp_path / "state"


def test_the_ladder_goes_from_the_kernel_to_the_whole_gateway() -> None:
    names = [rung.name for rung in ladder(Path("models"))]
    assert (names[0], names[-1]) == ("nginx static 200", "gateway")
    assert len(names) == len(set(names)) == 9
