from collections.abc import Iterator

import pytest

from tests.server import ROOT, Server, serving


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demo models, served as a newcomer first sees them."""
    with serving(ROOT / "models", tmp_path_factory.mktemp("demo")) as running:
        yield running
