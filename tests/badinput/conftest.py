from collections.abc import Iterator

import pytest

from tests.badinput.rows import MAX_BODY_BYTES, MAX_ELEMENTS
from tests.server import Server, serving
from tests.zoo import write_zoo


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for every bad request there is: it must outlive them all."""
    folder = tmp_path_factory.mktemp("badinput")
    limits = {"max_body_bytes": MAX_BODY_BYTES, "max_elements": MAX_ELEMENTS}
    settings: dict[str, object] = {f"limits__{name}": value for name, value in limits.items()}
    settings["dialects__default_model"] = "echo"
    with serving(write_zoo(folder / "models"), folder, **settings) as running:
        yield running
