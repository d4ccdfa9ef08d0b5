from collections.abc import Iterator

import pytest

from tests.server import Server, serving
from tests.zoo import write_shelf, write_zoo


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all who mean it ill; it has little patience with them."""
    folder = tmp_path_factory.mktemp("faults")
    models = write_zoo(folder / "models")
    write_shelf(models, "waiting_shelf", "max_wait_ms = 50")
    write_shelf(models, "threaded_shelf", '[execution]\nexecutor = "thread"')
    limits = {
        "limits__header_timeout_s": 1,
        "limits__body_timeout_s": 1,
        "limits__write_timeout_s": 1,
        "default_deadline_s": 60,
        "breaker__mode": "metrics_only",  # some send more poison than a breaker would bear
    }
    with serving(models, folder, **limits) as running:
        yield running
