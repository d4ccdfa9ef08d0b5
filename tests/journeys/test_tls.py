"""The data port with a certificate. The one beside this file is for tests alone."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import wait_for_words
from tests.journeys.plus import renew
from tests.journeys.test_stopping import drain
from tests.server import WATCHDOG_S, Server, Wire, get, infer, serving, tensor
from tests.zoo import write_few, write_zoo

CERTIFICATE = Path(__file__).with_name("certificate.pem")
KEY = Path(__file__).with_name("key.pem")
SECOND = Path(__file__).parents[1] / "supervise" / "management" / "second.pem"
X = tensor("x", "FP32", [1, 4], [1, 2, 3, 4])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tls")
    tls = {"tls__certfile": CERTIFICATE, "tls__keyfile": KEY}
    with serving(write_zoo(folder / "models"), folder, **tls) as running:
        yield running


@pytest.fixture
def trust() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATE)


def test_the_server_says_that_it_speaks_tls(server: Server) -> None:
    assert server.scheme == "https"


def test_httpx_infers_over_tls(server: Server, trust: ssl.SSLContext) -> None:
    with server.client(verify=trust) as client:
        for _ in range(3):
            answer = client.post("/v2/models/echo/infer", json={"inputs": [X]})
            assert answer.json()["outputs"][0]["data"] == [1.0, 2.0, 3.0, 4.0]


def test_a_pipeline_over_tls_is_answered_in_order(server: Server, trust: ssl.SSLContext) -> None:
    with server.connect_tls(trust) as wire:
        wire.send(b"".join([infer("echo", X), get("/v2/health/live"), infer("echo", X)]))
        assert wire.answer().outputs == {"y": [1.0, 2.0, 3.0, 4.0]}
        assert wire.answer().json == {"live": True}
        assert wire.answer().outputs == {"y": [1.0, 2.0, 3.0, 4.0]}


def test_a_large_tensor_goes_in_and_out_over_tls(server: Server, trust: ssl.SSLContext) -> None:
    values = [float(number) for number in range(200_000)]
    with server.connect_tls(trust) as wire:
        wire.send(infer("free", tensor("x", "FP32", [2, 100_000], values)))
        assert wire.answer().outputs == {"y": values}


def test_a_refusal_over_tls_is_read_and_closed(server: Server, trust: ssl.SSLContext) -> None:
    with server.connect_tls(trust) as wire:
        wire.send(b"nonsense\r\n\r\n")
        answer = wire.answer()
        assert (answer.status, answer.closes) == (400, True)
        assert wire.is_ended()


def test_a_handshake_that_outlasts_the_beginning_of_the_end_is_told_of_it(
    tmp_path: Path, trust: ssl.SSLContext
) -> None:
    tls = {"tls__certfile": CERTIFICATE, "tls__keyfile": KEY}
    with serving(write_few(tmp_path / "models"), tmp_path, **tls) as server:
        with server.connect() as plain:
            with server.connect_tls(trust) as after:  # so the first one was accepted too
                after.ask(get("/v2/health/live"))
            with server.connect_tls(trust) as keeper:  # the server may not end meanwhile
                keeper.send(get("/v2/health/live")[:-1])
                with server.connect_tls(trust) as later:
                    later.ask(get("/v2/health/live"))
                drain(server)
                wire = Wire(trust.wrap_socket(plain.socket, server_hostname="127.0.0.1"))
                with wire:
                    answer = wire.ask(get("/v2/health/ready"))
                    assert (answer.status, answer.json["code"]) == (503, "draining")
                    assert answer.closes
                    assert wire.is_ended()
        assert server.process.wait(WATCHDOG_S) == 0


def test_a_client_that_speaks_plain_http_harms_nobody(
    server: Server, trust: ssl.SSLContext
) -> None:
    with server.connect() as wire:
        wire.send(get("/v2/health/live"))
        wire.socket.recv(1000)  # an alert, or the end
    with server.connect_tls(trust) as wire:
        assert json.loads(wire.ask(get("/v2/health/live")).body) == {"live": True}


# clients that must show a certificate


def presenting(
    *files: Path, newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
) -> ssl.SSLContext:
    """A client that trusts the server, and shows a certificate of its own."""
    context = ssl.create_default_context(cafile=CERTIFICATE)
    context.maximum_version = newest
    if files:
        context.load_cert_chain(files[0], files[-1])
    return context


def is_heard(server: Server, context: ssl.SSLContext) -> bool:
    """Whether a client is answered; under TLS 1.3 it hears only later that it is not."""
    try:
        with server.connect_tls(context) as wire:
            wire.send(get("/livez"))
            return wire.socket.recv(1) != b""
    except (ssl.SSLError, ConnectionError):
        return False


@pytest.fixture
def signers(tmp_path: Path) -> Path:
    """Who signs clients' certificates, in a file that may be changed."""
    file = tmp_path / "signers.pem"
    file.write_text(SECOND.read_text())
    return file


@pytest.fixture
def closed(tmp_path: Path, signers: Path) -> Iterator[Server]:
    tls = {"tls__certfile": CERTIFICATE, "tls__keyfile": KEY, "tls__client_ca": signers}
    with serving(write_few(tmp_path / "models"), tmp_path, **tls) as running:
        yield running


OLDER = ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("newest", [OLDER, ssl.TLSVersion.MAXIMUM_SUPPORTED])
def test_only_who_shows_a_certificate_that_is_signed_is_heard(
    closed: Server, newest: ssl.TLSVersion
) -> None:
    assert is_heard(closed, presenting(SECOND, newest=newest))
    assert not is_heard(closed, presenting(newest=newest))
    assert not is_heard(closed, presenting(CERTIFICATE, KEY, newest=newest))
    with closed.client(verify=presenting(SECOND)) as client:
        answer = client.post("/v2/models/echo/infer", json={"inputs": [X]})
        assert answer.json()["outputs"][0]["data"] == [1.0, 2.0, 3.0, 4.0]
    assert closed.complaints() == ""


def test_a_signal_brings_other_signers_and_the_old_ones_count_no_more(
    closed: Server, signers: Path
) -> None:
    signers.write_text(CERTIFICATE.read_text())
    assert is_heard(closed, presenting(SECOND))  # nobody was told of it
    before = {one["pid"] for one in closed.replicas()}
    renew(closed)
    closed.wait_for_replicas(1, without=before)
    assert not is_heard(closed, presenting(SECOND))
    assert is_heard(closed, presenting(CERTIFICATE, KEY))


def test_signers_that_cannot_be_read_are_refused_by_name_and_all_stays(
    closed: Server, signers: Path
) -> None:
    signers.write_text("nothing of the kind")
    renew(closed)
    wait_for_words(closed, f"not renewed, all stays as it was: $.tls.client_ca: {signers}")
    assert is_heard(closed, presenting(SECOND))
    assert not is_heard(closed, presenting())


def test_an_older_version_may_be_refused(tmp_path: Path) -> None:
    tls = {"tls__certfile": CERTIFICATE, "tls__keyfile": KEY, "tls__min_version": "1.3"}
    with serving(write_few(tmp_path / "models"), tmp_path, **tls) as server:
        assert is_heard(server, presenting())
        assert not is_heard(server, presenting(newest=OLDER))


def test_who_only_connects_keeps_nobody_out(server: Server, trust: ssl.SSLContext) -> None:
    """More than have handshakes at once: the oldest are gone, and whoever means it is let in."""
    with server.connections(600) as silent:
        with server.connect_tls(trust) as wire:
            assert wire.ask(get("/livez")).status == 200
        assert [wire.socket.recv(1) for wire in silent[:80]] == [b""] * 80
