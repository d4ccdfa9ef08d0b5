"""Two hosts with one Redis: both hear of a change, and neither needs Redis to answer."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import zoo
from tests.operating import change, wait_until
from tests.server import Server, infer, serving, tensor
from tests.supervise.documents.redisserver import RedisServer, redis_server

ROUTES = "/admin/v1/models/echo/routes"
ONE = infer("echo", tensor("x", "FP32", [1, 4], [1, 2, 3, 4]))


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


def host(stack: ExitStack, models: Path, folder: Path, redis: RedisServer) -> Server:
    """A gateway with a state of its own."""
    folder.mkdir(exist_ok=True)
    settings = {"replicas": 1, "redis__url": redis.url}
    return stack.enter_context(serving(models, folder, **settings))


def route(server: Server) -> tuple[int, dict[str, str]]:
    """The revision in force, and the headers it came with."""
    with server.admin() as admin:
        answer = admin.get(ROUTES)
    return answer.json()["revision"], dict(answer.headers)


def put(server: Server, reason: str, revision: int, versions: str = "12") -> Any:
    """Give all calls to the last of these versions."""
    names = ("stable", "canary")[: len(versions)]
    variants = [
        {"name": name, "version": version, "weight": 100 * (version == versions[-1])}
        for name, version in zip(names, versions, strict=True)
    ]
    body = {"variants": variants, "reason": reason}
    with server.admin() as admin:
        return admin.put(ROUTES, json=body, headers={"if-match": f'"{revision}"'})


def answered_by(server: Server) -> str:
    return server.ask(ONE).headers["x-gateway-version"]


@pytest.mark.slow
def test_a_fleet_shares_its_documents_and_goes_on_without_its_redis(
    tmp_path: Path, redis: RedisServer
) -> None:
    models = tmp_path / "models"
    zoo.write_echo(models, "echo")
    zoo.write_echo(models, "echo", version="2")
    with ExitStack() as stack:
        here = host(stack, models, tmp_path / "here", redis)
        there = host(stack, models, tmp_path / "there", redis)
        assert (route(here)[0], route(there)[0]) == (1, 1)  # one saw it first, the other follows

        assert put(here, "all to 1, by name", 1).status_code == 200
        wait_until(lambda: route(there)[0] == 2, lambda: route(there))
        assert (answered_by(here), answered_by(there)) == ("2", "2")
        assert put(there, "too late", 1).status_code == 412

        redis.kill()
        wait_until(lambda: "x-gateway-stale" in route(there)[1], lambda: route(there))
        refused = put(there, "nobody hears", 2)
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
        assert (answered_by(here), answered_by(there)) == ("2", "2")

        assert there.stop() == 0
        again = host(stack, models, tmp_path / "there", redis)
        assert route(again)[0] == 2
        assert answered_by(again) == "2"

        redis.start()
        wait_until(lambda: "x-gateway-stale" not in route(again)[1], lambda: route(again))
        assert put(again, "heard again", 2).status_code == 200
        wait_until(lambda: route(here)[0] == 3, lambda: route(here))


@pytest.mark.slow
def test_a_host_that_lacks_a_version_serves_the_revision_before_until_it_has_it(
    tmp_path: Path, redis: RedisServer
) -> None:
    for name, version in (("here", "1"), ("here", "2"), ("there", "1")):
        zoo.write_echo(tmp_path / f"models-{name}", "echo", version=version)
    # One sees the model first who has one version, or the other could not follow.
    with ExitStack() as stack:
        there = host(stack, tmp_path / "models-there", tmp_path / "there", redis)
        here = host(stack, tmp_path / "models-here", tmp_path / "here", redis)
        assert put(here, "all to 2", 1).status_code == 200

        def is_behind(server: Server) -> bool:
            revision, headers = route(server)
            return revision == 1 and "revision 2 stays out" in headers.get("x-gateway-stale", "")

        wait_until(lambda: is_behind(there), lambda: route(there))
        refused = put(there, "nobody hears", 1, "1")
        assert (refused.status_code, refused.json()["current"]) == (412, 2)
        assert "this host is behind" in refused.json()["error"]
        assert there.stop() == 0
        again = host(stack, tmp_path / "models-there", tmp_path / "there", redis)
        assert is_behind(again)
        assert (answered_by(here), answered_by(again)) == ("2", "1")

        zoo.write_echo(tmp_path / "models-there", "echo", version="2")
        assert change(again, "load", "echo", "2").status_code == 200
        wait_until(lambda: route(again)[0] == 2, lambda: route(again))
        assert answered_by(again) == "2"


@pytest.mark.slow
def test_a_host_that_knows_no_document_and_cannot_ask_is_not_ready_until_it_can(
    tmp_path: Path, redis: RedisServer
) -> None:
    models = tmp_path / "models"
    zoo.write_echo(models, "echo")
    redis.kill()
    with ExitStack() as stack:
        server = host(stack, models, tmp_path / "here", redis)
        for client in (server.admin(), server.client()):
            with client:
                assert client.get("/readyz").status_code == 503
        refused = server.ask(ONE)
        assert (refused.status, refused.json["code"]) == (503, "not_ready")
        redis.start()
        with server.admin() as admin:
            wait_until(
                lambda: admin.get("/readyz").status_code == 200, lambda: admin.get("/readyz")
            )
        assert answered_by(server) == "1"
