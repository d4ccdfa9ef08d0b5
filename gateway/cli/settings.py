"""Settings: the configuration that a command runs with.

Job    read it, and try what can be tried of it before anything depends on it.
Never  asks on a terminal: a missing password of a key is a fault.
"""

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.config import Config, ConfigError, load
from gateway.config.access import TlsConfig
from gateway.config.faults import Fault

_DEFAULT_FILE = Path("gateway.toml")


def settings(file: Path | None, flags: Mapping[str, object]) -> Config:
    """Return the configuration of `file`, or of gateway.toml if there is one.

    Raises: ConfigError, also where a certificate cannot be used.
    """
    if file is None and _DEFAULT_FILE.exists():
        file = _DEFAULT_FILE
    config = load(file, os.environ, flags)
    faults = [*_certificate_faults("tls", config.tls)]
    faults += _certificate_faults("admin_tls", config.admin_tls)
    if faults:
        raise ConfigError(faults)
    return config


def _certificate_faults(path: str, tls: TlsConfig) -> Iterator[Fault]:
    """Yield what keeps a certificate and its key from being used."""
    if tls.certfile is None or tls.keyfile is None:
        return
    unread = False
    for name, file in (("certfile", tls.certfile), ("keyfile", tls.keyfile)):
        try:
            file.open("rb").close()
        except OSError as error:
            unread = True
            yield f"$.{path}.{name}", f"{file}: {error.strerror}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except OSError as error:  # TLS errors are such
            what = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            yield f"$.{path}.client_ca", f"{tls.client_ca}: {what}"
    if unread:
        return
    try:
        context.load_cert_chain(tls.certfile, tls.keyfile, lambda: tls.keyfile_password or "")
    except (ssl.SSLError, ValueError) as error:
        what = getattr(error, "reason", None) or str(error)
        yield f"$.{path}", f"{tls.certfile} and {tls.keyfile} cannot be used together: {what}"
