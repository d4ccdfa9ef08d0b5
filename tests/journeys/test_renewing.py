"""SIGHUP: settings and certificates are read again, and no caller notices the change."""

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import kill_replica, wait_for_words
from tests.faults.traffic import traffic
from tests.journeys.plus import renew
from tests.journeys.test_tls import CERTIFICATE, KEY
from tests.server import Answer, Server, get, infer, request, serving, tensor
from tests.supervise.management.test_listening import SECOND
from tests.zoo import write_few

pytestmark = pytest.mark.slow

ASK = infer("echo", tensor("x", "FP32", [1, 4], [1, 2, 3, 4]))
LARGE = request("/v2/models/echo/infer", ASK.partition(b"\r\n\r\n")[2] + b" " * 500)
CALLERS = 4
CONNECTIONS = 16  # so many that hardly ever a replica is left out
REFUSED = "not renewed, all stays as it was: "


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The configuration of `server`, which may be changed while it runs."""
    file = tmp_path / "gateway.toml"
    file.write_text('server_name = "old"\n')
    return file


@pytest.fixture
def server(tmp_path: Path, file: Path) -> Iterator[Server]:
    with serving(write_few(tmp_path / "models"), tmp_path, replicas=2) as running:
        yield running


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    """The certificate and key of `tls_server`, in one file."""
    file = tmp_path / "tls.pem"
    file.write_text(CERTIFICATE.read_text() + KEY.read_text())
    return file


@pytest.fixture
def tls_server(tmp_path: Path, tls: Path) -> Iterator[Server]:
    models = write_few(tmp_path / "models")
    with serving(models, tmp_path, replicas=2, tls__certfile=tls, tls__keyfile=tls) as running:
        yield running


def pids(server: Server) -> set[int]:
    return {one["pid"] for one in server.replicas()}


def answers(server: Server, request: bytes) -> list[Answer]:
    """What new connections hear, from both replicas."""
    with server.connections(CONNECTIONS) as wires:
        for wire in wires:
            wire.send(request)
        return [wire.answer() for wire in wires]


def names(server: Server) -> set[str]:
    return {answer.json["name"] for answer in answers(server, get("/v2"))}


def statuses(server: Server, request: bytes) -> set[int]:
    return {answer.status for answer in answers(server, request)}


def trusting(*certificates: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for one in certificates:
        context.load_verify_locations(one)
    return context


def is_trusted(server: Server, certificate: Path) -> set[bool]:
    """Whether new connections to both replicas are shown this certificate."""

    trust = trusting(certificate)

    def connects() -> bool:
        try:
            with server.connect_tls(trust) as wire:
                assert wire.ask(ASK).status == 200
        except ssl.SSLCertVerificationError:
            return False
        return True

    return {connects() for _ in range(CONNECTIONS)}


def test_a_changed_setting_is_obeyed_by_every_replica_once_all_are_replaced(
    server: Server, file: Path
) -> None:
    with traffic(server.port, ASK, CALLERS) as tally:
        assert names(server) == {"old"}
        assert statuses(server, LARGE) == {200}
        before = pids(server)
        file.write_text('server_name = "new"\n[limits]\nmax_body_bytes = 500\n')
        renew(server)
        server.wait_for_replicas(2, without=before)
        assert names(server) == {"new"}
        assert statuses(server, LARGE) == {413}
        tally.wait_for_more(10 * CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200}
    assert len(tally.bodies) == 1


def test_a_changed_certificate_is_shown_to_new_connections_and_no_call_fails(
    tls_server: Server, tls: Path
) -> None:
    trust = trusting(CERTIFICATE, SECOND)
    with (
        traffic(tls_server.port, ASK, CALLERS, trust) as tally,
        tls_server.connect_tls(trust) as old,
    ):
        assert is_trusted(tls_server, CERTIFICATE) == {True}
        assert old.ask(ASK).status == 200
        before = pids(tls_server)
        shutil.copy(SECOND, tls)
        assert is_trusted(tls_server, CERTIFICATE) == {True}  # nobody was told of it
        renew(tls_server)
        tls_server.wait_for_replicas(2, without=before)
        assert is_trusted(tls_server, SECOND) == {True}
        assert is_trusted(tls_server, CERTIFICATE) == {False}
        answer = old.ask(ASK)  # what was connected before is served, and asked to leave
        assert (answer.status, answer.closes) == (200, True)
        tally.wait_for_more(10 * CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200}
    assert len(tally.bodies) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('server_name = "new"\nserver_nmae = 1\n', "$.server_nmae: "),
        ('server_name = "new"\n[limits]\nmax_body_bytes = "much"\n', "$.limits.max_body_bytes: "),
        ("server_name = \n", "gateway.toml: "),
        (f'server_name = "new"\n[tls]\ncertfile = "{CERTIFICATE}"\nkeyfile = "x.pem"\n', "$.tls"),
    ],
    ids=["unknown", "wrong", "no TOML", "no key"],
)
def test_faulty_settings_are_refused_by_name_and_all_stays_as_it_was(
    server: Server, file: Path, content: str, words: str
) -> None:
    with traffic(server.port, ASK, CALLERS) as tally:
        before = pids(server)
        file.write_text(content)
        renew(server)
        wait_for_words(server, REFUSED + words)
        assert names(server) == {"old"}
        tally.wait_for_more(CALLERS)
        assert pids(server) == before
    assert tally.failures == []
    assert set(tally.answers) == {200}
    kill_replica(server, 0)
    assert names(server) == {"old"}  # who comes later obeys what was accepted
    file.write_text('server_name = "newer"\n')
    before = pids(server)
    renew(server)  # and is heard
    server.wait_for_replicas(2, without=before)
    assert names(server) == {"newer"}


def test_a_faulty_certificate_is_refused_by_name_and_the_old_one_is_shown(
    tls_server: Server, tls: Path
) -> None:
    with traffic(tls_server.port, ASK, CALLERS, trusting(CERTIFICATE)) as tally:
        before = pids(tls_server)
        tls.write_text("nothing of the kind")
        renew(tls_server)
        wait_for_words(tls_server, f"{REFUSED}$.tls: {tls}")
        assert is_trusted(tls_server, CERTIFICATE) == {True}
        tally.wait_for_more(CALLERS)
        assert pids(tls_server) == before
    assert tally.failures == []
    assert set(tally.answers) == {200}


def test_a_setting_that_needs_a_restart_is_named(server: Server, file: Path) -> None:
    file.write_text('server_name = "new"\n[routes]\nnew_versions = "serve"\n')
    renew(server)
    wait_for_words(server, "routes has changed: that needs a restart")
