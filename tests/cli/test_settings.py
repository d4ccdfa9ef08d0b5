"""Settings: the configuration of a command, its certificates tried before they are needed."""

from pathlib import Path

import pytest

from gateway.cli.settings import settings
from gateway.config import ConfigError
from tests.journeys.test_tls import CERTIFICATE, KEY
from tests.supervise.management.test_listening import SECOND


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def faults(**tables: dict[str, Path]) -> list[tuple[str, str]]:
    text = "".join(
        f"[{table}]\n" + "".join(f'{name} = "{path}"\n' for name, path in keys.items())
        for table, keys in tables.items()
    )
    Path("gateway.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        settings(None, {})
    return list(refused.value.faults)


def test_without_a_file_the_defaults_hold() -> None:
    assert settings(None, {"port": 1}).port == 1


def test_a_certificate_and_its_key_are_good() -> None:
    Path("a.toml").write_text(f'[tls]\ncertfile = "{CERTIFICATE}"\nkeyfile = "{KEY}"\n')
    assert settings(Path("a.toml"), {}).tls.certfile == CERTIFICATE


def test_files_that_are_not_there_are_named_on_both_ports() -> None:
    gone = Path("gone.pem")
    assert faults(
        tls={"certfile": gone, "keyfile": KEY}, admin_tls={"certfile": CERTIFICATE, "keyfile": gone}
    ) == [
        ("$.tls.certfile", "gone.pem: No such file or directory"),
        ("$.admin_tls.keyfile", "gone.pem: No such file or directory"),
    ]


def test_signers_of_clients_that_cannot_be_read_are_named() -> None:
    Path("odd.pem").write_text("nothing of the kind")
    tables = {
        table: {"certfile": CERTIFICATE, "keyfile": KEY, "client_ca": Path(file)}
        for table, file in (("tls", "gone.pem"), ("admin_tls", "odd.pem"))
    }
    assert faults(**tables) == [
        ("$.tls.client_ca", "gone.pem: No such file or directory"),
        ("$.admin_tls.client_ca", "odd.pem: NO_CERTIFICATE_OR_CRL_FOUND"),
    ]


@pytest.mark.parametrize(("certificate", "key"), [(CERTIFICATE, SECOND), (KEY, CERTIFICATE)])
def test_a_certificate_and_another_key_are_one_fault(certificate: Path, key: Path) -> None:
    ((path, what),) = faults(admin_tls={"certfile": certificate, "keyfile": key})
    assert path == "$.admin_tls"
    assert what.startswith(f"{certificate} and {key} cannot be used together: ")
