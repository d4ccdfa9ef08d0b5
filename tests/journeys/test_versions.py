"""Which version answers: the one asked for, else the highest."""

from collections.abc import Iterator

import pytest

from tests.server import Server, get, infer, request, serving, tensor
from tests.zoo import write_echo

X = tensor("x", "FP32", [1, 4], [1, 2, 3, 4])
BODY = infer("echo", X).partition(b"\r\n\r\n")[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model whose versions are numbers, and one whose versions are words."""
    folder = tmp_path_factory.mktemp("versions")
    for version in ("9", "010", "2"):
        write_echo(folder / "models", "numbers", version=version)
    for version in ("v2", "v10", "v9-rc.1"):
        write_echo(folder / "models", "words", version=version)
    with serving(folder / "models", folder) as running:
        yield running


def version_of(server: Server, target: str) -> str:
    answer = server.ask(request(target, BODY))
    assert answer.json["model_version"] == answer.headers["x-gateway-version"]
    return answer.headers["x-gateway-version"]


def test_ten_is_higher_than_nine(server: Server) -> None:
    assert version_of(server, "/v2/models/numbers/infer") == "10"
    assert version_of(server, "/v2/models/words/infer") == "v10"


@pytest.mark.parametrize(
    ("model", "asked", "answers"),
    [
        ("numbers", "2", "2"),
        ("numbers", "02", "2"),
        ("numbers", "10", "10"),
        ("numbers", "0000010", "10"),
        ("words", "v9-rc.1", "v9-rc.1"),
        ("words", "v%32", "v2"),
    ],
)
def test_a_version_is_asked_for_by_its_name(
    server: Server, model: str, asked: str, answers: str
) -> None:
    assert version_of(server, f"/v2/models/{model}/versions/{asked}/infer") == answers
    assert server.ask(get(f"/v2/models/{model}/versions/{asked}/ready")).status == 200


def test_versions_are_listed_in_ascending_order(server: Server) -> None:
    assert server.ask(get("/v2/models/numbers")).json["versions"] == ["2", "9", "10"]
    assert server.ask(get("/v2/models/numbers/versions/9")).json["versions"] == ["2", "9", "10"]
    assert server.ask(get("/v2/models/words")).json["versions"] == ["v2", "v9-rc.1", "v10"]


@pytest.mark.parametrize("version", ["1", "3", "v2", "V10"])
def test_a_version_that_is_not_there_is_not_replaced_by_another(
    server: Server, version: str
) -> None:
    answer = server.ask(request(f"/v2/models/numbers/versions/{version}/infer", BODY))
    assert (answer.status, answer.json["code"]) == (404, "unknown_version")
