from collections.abc import Iterator

import pytest

from tests.supervise.documents.redisserver import RedisServer, redis_server


@pytest.fixture(scope="module")
def shared_redis() -> Iterator[RedisServer]:
    """A Redis for tests that harm nobody: each takes a prefix of its own."""
    with redis_server() as server:
        yield server
