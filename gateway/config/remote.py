"""Remote: the schema of the table `remote` of a `model.toml`: a version that runs elsewhere.

Job    read where it runs, and what it takes and gives, which no model file says.
Life   called once for each such version that is discovered.
Never  takes a secret: headers name variables of the environment, and no others than those that
       are meant for it.
"""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gateway.config.kinds import Count, Positive, Table, Text
from gateway.core.datatypes import DATATYPES
from gateway.repository.settings import RemoteSettings
from gateway.types import TensorSpec

_HEADER = r"^[A-Za-z0-9-]+$"
_VARIABLE = r"^REMOTE_[A-Z0-9_]+$"
_OURS = frozenset(("content-length", "content-type", "host", "connection", "transfer-encoding"))


def _endpoint(value: str) -> str:
    """Return where a path is put behind."""
    try:
        parts = urlsplit(value)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    else:
        is_whole = is_whole and not ("@" in parts.netloc or parts.query or parts.fragment)
    if not is_whole or not re.fullmatch(r"[!-~]+", value):
        raise ValueError(
            "must be http://host:port or https://host:port, perhaps with a path, and without a "
            "user, a query or a fragment"
        )
    return value.rstrip("/")


def _some(those: tuple[Any, ...]) -> tuple[Any, ...]:
    # no `min_length`: it would be a fault beside each of an element
    if not those:
        raise ValueError("must name at least one")
    return those


def _distinct(endpoints: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(endpoints)) < len(endpoints):
        raise ValueError("two endpoints are the same")
    return endpoints


def _header(value: str) -> str:
    if value.lower() in _OURS:
        raise ValueError(f"{value} is the gateway's own to say")
    return value.lower()


def _datatype(value: str) -> str:
    if value not in DATATYPES:
        raise ValueError(f"must be one of {', '.join(DATATYPES)}")
    return value


def _axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    if any(axis == 0 or axis < -1 for axis in shape):
        raise ValueError("an axis is -1 or at least 1")
    return shape


Endpoint = Annotated[str, AfterValidator(_endpoint)]
Header = Annotated[str, Field(pattern=_HEADER), AfterValidator(_header)]


class TensorTable(Table):
    """One input or output, as V2's metadata show it: with the batch axis, where there is one."""

    name: Text
    datatype: Annotated[str, AfterValidator(_datatype)]
    shape: Annotated[tuple[int, ...], Field(strict=False), AfterValidator(_axes)]

    def spec(self) -> TensorSpec:
        """Return the same, as a signature has it."""
        return TensorSpec(self.name, self.datatype, self.shape)


Tensors = Annotated[tuple[TensorTable, ...], Field(strict=False), AfterValidator(_some)]


class RemoteTable(Table):
    """Where the version runs instead of here."""

    endpoints: Annotated[
        tuple[Endpoint, ...],
        Field(strict=False),
        AfterValidator(_some),
        AfterValidator(_distinct),
    ]
    model: Text | None = None
    version: str | None = None
    connections: Annotated[int, Field(ge=1, le=1024)] = 4
    timeout_s: Positive = 10.0
    connect_timeout_s: Positive = 1.0
    max_answer_bytes: Count = 64 * 1024 * 1024
    headers_env: Annotated[
        dict[Header, Annotated[str, Field(pattern=_VARIABLE)]], Field(default_factory=dict)
    ]
    ca_file: Text | None = None
    inputs: Tensors
    outputs: Tensors

    def check_rows(self, max_batch_size: int) -> None:
        """Return if the tensors have a batch axis where there is one. Raises: ValueError."""
        for noun, tensors in (("inputs", self.inputs), ("outputs", self.outputs)):
            if len({one.name for one in tensors}) < len(tensors):
                raise ValueError(f"remote.{noun}: two have the same name")
            for one in tensors:
                if max_batch_size and one.shape[:1] != (-1,):
                    raise ValueError(
                        f"remote.{noun}: with a max_batch_size the first axis of '{one.name}' is "
                        f"-1, got {list(one.shape)}"
                    )

    def settings(self) -> dict[str, Any]:
        """Return what a version's settings have of this table, by their names."""
        own = {key: value for key, value in self if key not in ("inputs", "outputs")}
        return {
            "remote": RemoteSettings(**own),
            "declared_inputs": tuple(one.spec() for one in self.inputs),
            "declared_outputs": tuple(one.spec() for one in self.outputs),
        }
