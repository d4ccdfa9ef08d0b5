from collections.abc import Iterator

import pytest

from tests.server import Server, serving
from tests.zoo import write_zoo


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all clients."""
    folder = tmp_path_factory.mktemp("conformance")
    with serving(write_zoo(folder / "models"), folder) as running:
        yield running
