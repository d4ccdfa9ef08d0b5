"""Access: the tables of who may come in, and what is shown at the door.

Job    the settings of certificates, keys, tokens and quotas.
Life   parts of the tree of tables.py.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.kinds import AnyPath, Keys, Quotas, Table, Tokens


class TlsConfig(Table):
    """TLS on one port: off without a certificate."""

    certfile: AnyPath | None = None
    """PEM file of the certificate and its chain."""
    keyfile: AnyPath | None = None
    """PEM file of the certificate's private key."""
    keyfile_password: Annotated[str | None, Field(repr=False)] = None
    """What the private key is encrypted with, if it is."""
    client_ca: AnyPath | None = None
    """PEM file of those who sign clients' certificates: with it, who shows none is not heard."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS that is spoken."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.certfile is None and self.keyfile is not None:
            raise ValueError("keyfile is set, and certfile is missing")
        if self.certfile is not None and self.keyfile is None:
            raise ValueError("certfile is set, and keyfile is missing")
        if self.keyfile is None and self.keyfile_password is not None:
            raise ValueError("keyfile_password is set, and keyfile is missing")
        if self.certfile is None and self.client_ca is not None:
            raise ValueError("client_ca is set, and certfile is missing")
        return self


class AuthConfig(Table):
    """Who may call: anybody may ask for predictions, unless a key is for them."""

    keys: Keys = ()
    """API keys of the data port, each role:name:sha256; with one for predict all need one."""
    quotas: Quotas = ()
    """How much the holder of a key may ask for, each name:rate_per_s:burst, in the whole fleet."""
    admin_tokens: Tokens = ()
    """Tokens of the management port, each role:name:sha256; viewers read, operators change."""

    @model_validator(mode="after")
    def _knows_whom_it_bounds(self) -> Self:
        told = [key.split(":") for key in self.keys]
        names = {name for role, name, _ in told if role != "feedback"}
        unknown = [name for one in self.quotas if (name := one.partition(":")[0]) not in names]
        if unknown:
            shown = ", ".join(unknown)
            raise ValueError(f"quotas are for {shown}: no key for predict or operate is so called")
        if self.quotas and all(role != "predict" for role, _, _ in told):
            raise ValueError("quotas are set, and without a key for predict all may ask unnamed")
        return self
