"""The models commands, against a real management port before an office that is none."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.program import app
from tests.cli.managing import managing
from tests.cli.test_program import run as run_program
from tests.journeys.test_tls import CERTIFICATE, KEY, SECOND
from tests.supervise.management.offices import NO_PROOF, FakeOffice, Version
from tests.supervise.management.test_guard import TOKENS
from tests.wire.harness import WAIT_S

LISTED = [
    "MODEL   VERSION  DEFAULT  STATE        EXECUTOR  ROWS  DIGEST        REASON",
    "digits  1                 UNAVAILABLE                                not loaded",
    "digits  2        yes      READY        inline    64    abababababab",
]
GUARDED = {"auth": {"admin_tokens": list(TOKENS)}}


def command(*arguments: str, **environment: str | None) -> Result:
    """Run `gateway models` in this process."""
    unset: dict[str, str | None] = {"GATEWAY_ADMIN_TOKEN": None, "GATEWAY_ADMIN_CERT": None}
    return CliRunner().invoke(app, ["models", *arguments], env=unset | environment)


def done(*arguments: str, **environment: str | None) -> list[str]:
    result = command(*arguments, **environment)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()


def refused(*arguments: str, **environment: str | None) -> str:
    """Return the one line of a run that must fail."""
    result = command(*arguments, **environment)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("gateway: ")
    return line.removeprefix("gateway: ")


def test_models_are_listed_as_a_table() -> None:
    with managing(FakeOffice()) as url:
        assert done("list", "--gateway", url) == LISTED
        assert done("--gateway", url) == LISTED
        assert done("--gateway", url + "/", "list") == LISTED


def test_models_are_listed_as_json() -> None:
    with managing(FakeOffice()) as url:
        for arguments in (["--json", "list"], ["list", "--json"], ["--json"]):
            (model,) = json.loads("\n".join(done("--gateway", url, *arguments)))["models"]
            assert (model["name"], model["default"]) == ("digits", "2")


def test_a_load_shows_what_the_model_became() -> None:
    office = FakeOffice()
    with managing(office) as url:
        lines = done("load", "digits", "1", "--gateway", url)
    assert [line.split()[:3] for line in lines[1:]] == [
        ["digits", "1", "READY"],
        ["digits", "2", "yes"],
    ]
    assert office.obeyed == [("load", "digits", "1")]


def test_an_unload_shows_what_the_model_became() -> None:
    office = FakeOffice()
    with managing(office) as url:
        answer = json.loads("\n".join(done("unload", "digits", "2", "--gateway", url, "--json")))
    assert [one["state"] for one in answer["versions"]] == ["UNAVAILABLE", "UNAVAILABLE"]
    assert office.obeyed == [("unload", "digits", "2")]


@pytest.mark.parametrize("what", ["load", "unload"])
def test_without_a_version_the_gateway_chooses(what: str) -> None:
    office = FakeOffice()
    with managing(office) as url:
        done(what, "digits", "--gateway", url)
    assert office.obeyed == [(what, "digits", None)]


def test_a_reason_reaches_the_gateways_log(caplog: pytest.LogCaptureFixture) -> None:
    with managing(FakeOffice()) as url:
        done("load", "digits", "1", "--reason", "better", "--gateway", url)
    assert caplog.messages == ["local asks to load 'digits' version '1': 'better'"]


def test_any_name_reaches_the_gateway_as_it_is() -> None:
    name = "a b%2F?#é"
    office = FakeOffice((Version(name),))
    with managing(office) as url:
        done("load", name, "1", "--gateway", url)
    assert office.obeyed == [("load", name, "1")]


def test_a_refusal_is_the_gateways_own_sentence() -> None:
    with managing(FakeOffice(refusal=NO_PROOF)) as url:
        assert refused("load", "digits", "1", "--gateway", url) == str(NO_PROOF)
    with managing(FakeOffice()) as url:
        expected = "Request for unknown model: 'digits' version 9 is not found"
        assert refused("load", "digits", "9", "--gateway", url) == expected


# tokens


def test_a_token_comes_from_a_file_or_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("v-secret\n")
    with managing(FakeOffice(), **GUARDED) as url:
        assert done("--gateway", url, "--token-file", str(file)) == LISTED
        assert done("list", "--gateway", url, "--token-file", str(file)) == LISTED
        assert done("--gateway", url, GATEWAY_ADMIN_TOKEN="v-secret") == LISTED
        file.write_text("a-secret")  # the file that is named wins
        options = ("--gateway", url, "--token-file", str(file))
        done("load", "digits", "1", *options, GATEWAY_ADMIN_TOKEN="v-secret")


def test_without_a_token_one_is_told_how_to_give_it() -> None:
    with managing(FakeOffice(), **GUARDED) as url:
        line = refused("--gateway", url)
        assert line.endswith("(give --token-file, or set GATEWAY_ADMIN_TOKEN)")
        line = refused("--gateway", url, GATEWAY_ADMIN_TOKEN="wrong")
        assert "this token is not known" in line


def test_a_viewer_changes_nothing() -> None:
    office = FakeOffice()
    with managing(office, **GUARDED) as url:
        line = refused("load", "digits", "1", "--gateway", url, GATEWAY_ADMIN_TOKEN="v-secret")
    assert (line, office.begun) == ("grafana is a viewer: this needs an operator", 0)


@pytest.mark.parametrize("text", ["", "two words", "two\nlines", "größer", "\x00"])
def test_what_is_no_token_is_sent_to_nobody(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    assert refused("--gateway", "http://127.0.0.1:1", "--token-file", str(file)).startswith(
        f"{file}: "
    )


def test_a_token_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert refused("--token-file", str(file)) == f"{file}: No such file or directory"


# who answers


def test_nobody_there_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    assert refused("--gateway", url) == f"{url} cannot be asked: Connection refused"


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """Give one connection this answer, whatever it asks."""

    def answer_once() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT_S)
        thread = threading.Thread(target=answer_once)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(WAIT_S)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 502 Bad\r\ncontent-length: 2\r\n\r\nno", "{} answered 502, and not as"),
        (b"HTTP/1.1 302 Go\r\nlocation: http://x/\r\ncontent-length: 0\r\n\r\n", "{} answered 302"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "{} answered, and not as a gateway"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", "{} answered, and not as a gateway"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes", "{} answered 200, and not as"),
        (b"nonsense\r\n\r\n", "{} cannot be asked: "),
    ],
)
def test_who_is_no_gateway_is_found_out(answer: bytes, expected: str) -> None:
    with saying(answer) as url:
        assert refused("--gateway", url).startswith(expected.format(url))


def test_a_gateway_under_tls_is_asked_when_its_certificate_is_trusted() -> None:
    tls = {"certfile": str(CERTIFICATE), "keyfile": str(KEY)}
    with managing(FakeOffice(), admin_tls=tls) as url:
        assert done("--gateway", url, "--ca-file", str(CERTIFICATE)) == LISTED
        assert "certificate verify failed" in refused("--gateway", url)


def test_a_gateway_that_hears_only_certificates_is_shown_one(tmp_path: Path) -> None:
    tls = {"certfile": str(CERTIFICATE), "keyfile": str(KEY), "client_ca": str(SECOND)}
    empty = tmp_path / "empty.pem"
    empty.touch()
    with managing(FakeOffice(), admin_tls=tls) as url:
        where = ("--gateway", url, "--ca-file", str(CERTIFICATE))
        assert done(*where, GATEWAY_ADMIN_CERT=str(SECOND)) == LISTED
        assert "cannot be asked" in refused(*where)
        for file, why in (
            (empty, "holds no certificate with its key"),
            (tmp_path / "no", "No such"),
        ):
            said = refused(*where, GATEWAY_ADMIN_CERT=str(file))
            assert said.startswith(f"GATEWAY_ADMIN_CERT: {file}: {why}")


def test_a_proxy_of_the_environment_hears_no_token() -> None:
    with managing(FakeOffice()) as url:
        assert done("--gateway", url, HTTP_PROXY="http://127.0.0.1:1") == LISTED


def test_the_program_itself_says_the_same(tmp_path: Path) -> None:
    with managing(FakeOffice()) as url:
        result = run_program(tmp_path, "models", "--gateway", url)
    assert (result.returncode, result.stdout.splitlines(), result.stderr) == (0, LISTED, "")
