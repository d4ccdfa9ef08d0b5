from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import TensorProto

from tests.server import Server, serving
from tests.zoo import write_echo, write_few, write_guest, write_labelled, write_pair, write_zoo


def write_new(root: Path) -> Path:
    """Write what all servers here have beside the zoo."""
    write_echo(root, "text", TensorProto.STRING, ["rows", 1])
    write_guest(root)
    return write_labelled(root)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all clients."""
    folder = tmp_path_factory.mktemp("conformance")
    with serving(write_new(write_zoo(folder / "models")), folder) as running:
        yield running


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few models, for servers that must be up at once."""
    root = write_few(tmp_path_factory.mktemp("few"))
    write_pair(root)
    return write_new(root)


@pytest.fixture(scope="session")
def twins(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of two replicas."""
    with serving(models, tmp_path_factory.mktemp("twins"), replicas=2) as running:
        yield running


@pytest.fixture(scope="session")
def narrow(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that takes a body of 1 MiB at most, and where one row may wait."""
    limits = {"limits__max_body_bytes": 1 << 20, "limits__max_queue_rows": 1}
    with serving(models, tmp_path_factory.mktemp("narrow"), **limits) as running:
        yield running


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `explicit`."""
    return tmp_path_factory.mktemp("stock")


@pytest.fixture(scope="session")
def explicit(stock: Path) -> Iterator[Server]:
    """A server whose callers load and unload `echo`, with nothing loaded at its start."""
    write_echo(stock / "models", "echo")
    with serving(stock / "models", stock, repository__control="explicit") as running:
        yield running


@pytest.fixture(params=["server", "twins"], ids=["one replica", "two replicas"])
def any_server(request: pytest.FixtureRequest) -> Server:
    """Either of them, for what must hold however many replicas answer."""
    found: Server = request.getfixturevalue(request.param)
    return found
