import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest

from bench import documents, managed
from bench.documents import PutRefused
from bench.launch import Server

ROUTES = "/admin/v1/models/digits/routes"
KEPT = {"model": "digits", "revision": 4, "sticky": None}


class Management:
    """A connection to who knows one document, and takes another where its revision is named."""

    def __init__(self) -> None:
        self.status, self._said = 0, b""
        self.is_closed = False

    def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> None:
        if path != ROUTES:
            self._answer(404, {"code": "unknown_model"})
        elif method == "GET":
            self._answer(200, KEPT)
        elif headers["if-match"] != '"4"':
            self._answer(412, {"code": "revision_conflict"})
        else:
            assert body is not None
            self._answer(200, json.loads(body) | {"revision": 5})

    def getresponse(self) -> Self:
        return self

    def read(self) -> bytes:
        return self._said

    def close(self) -> None:
        self.is_closed = True

    def _answer(self, status: int, value: object) -> None:
        self.status, self._said = status, json.dumps(value).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A gateway of which only the management port stands."""
    made: list[Management] = []

    def connect(_server: Server) -> Management:
        made.append(Management())
        return made[-1]

    monkeypatch.setattr(managed, "connect", connect)
    yield Server("gateway", 10, 1, tmp_path, 0.5)
    assert all(one.is_closed for one in made)


def test_a_change_keeps_what_it_does_not_name_and_gives_a_reason(server: Server) -> None:
    before = documents.in_force(server, "digits")
    change = documents.put(server, before, sticky={"by": "header:x-user-id", "salt": "s"})
    assert change.document == {
        "model": "digits",
        "revision": 5,
        "sticky": {"by": "header:x-user-id", "salt": "s"},
        "reason": "bench, after revision 4",
    }
    assert change.took_s > 0


def test_a_refusal_is_not_hidden(server: Server) -> None:
    with pytest.raises(PutRefused, match=r"412 .*revision_conflict"):
        documents.put(server, {"model": "digits", "revision": 3})


def test_a_model_without_a_document_is_not_measured(server: Server) -> None:
    with pytest.raises(PutRefused, match="404"):
        documents.in_force(server, "other")


def test_a_split_has_two_variants_and_one_version_alone_has_no_canary() -> None:
    assert documents.variants(["1", "2"], 5.0) == [
        {"name": "stable", "version": "1", "weight": 95.0},
        {"name": "canary", "version": "2", "weight": 5.0},
    ]
    assert documents.variants(["1"], 0) == [{"name": "stable", "version": "1", "weight": 100}]
