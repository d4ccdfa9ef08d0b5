"""Pages: whole in themselves, and deaf to what a name says."""

import asyncio
import json
import re
import shlex
from collections.abc import Sequence
from html.parser import HTMLParser

from gateway.core.documents import Document
from gateway.core.proposals import read_proposal
from gateway.supervise.management.documents import document_schema
from gateway.supervise.management.endpoints import Asked
from gateway.supervise.management.page import status_page
from gateway.supervise.management.routes import Answers, Settings
from gateway.supervise.management.views import models_shown, replicas_shown
from gateway.types import Signature
from gateway.wire.paths import Routes
from tests.supervise.management.offices import DIGITS, SIGNATURE, FakeOffice, Replica, Version

PLAIN = Settings()
EVIL = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Sees which elements a page has, what text, and that all are closed."""

    EMPTY = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.targets: list[str] = []

    def begin(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)
        self.targets += [value or "" for name, value in attrs if name in ("href", "src")]

    def end(self, tag: str) -> None:
        assert self.open.pop() == tag

    def hear(self, data: str) -> None:
        self.texts.append(data)

    # the parser's own names for them
    handle_starttag, handle_endtag, handle_data = begin, end, hear


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def page(
    versions: Sequence[Version] = DIGITS, unready: str | None = None, name: str = "gateway"
) -> Reader:
    models, replicas = models_shown(versions), replicas_shown((Replica(),))
    return read(status_page(name, unready, models, replicas))


def test_the_status_page_shows_versions_states_reasons_and_replicas() -> None:
    texts = page().texts
    for expected in ("digits", "1", "2", "UNAVAILABLE", "not loaded", "READY", "4711", "ready"):
        assert expected in texts, expected


def test_the_status_page_says_why_nothing_is_served() -> None:
    assert "the gateway is draining" in page(unready="the gateway is draining").texts


def test_an_empty_gateway_has_a_page_too() -> None:
    assert "None" in page(()).texts


def test_names_and_reasons_are_text_and_never_elements() -> None:
    version = Version(EVIL, EVIL, EVIL, EVIL + '"', True, EVIL, EVIL)
    plain, evil = page(), page((version,), EVIL, EVIL)
    assert set(evil.elements) == set(plain.elements)
    assert "script" not in evil.elements
    assert EVIL in evil.texts


def docs(versions: tuple[Version, ...] = DIGITS, settings: Settings = PLAIN) -> Reader:
    answers = Answers(FakeOffice(versions), settings)
    reply = asyncio.run(answers.docs(Asked(None, {}, {}, b"")))
    return read(reply.body.decode())


def test_pages_ask_nobody_else_for_anything() -> None:
    for reader in (page(), docs()):
        assert {"script", "img", "link", "iframe"} & set(reader.elements) == set()
        assert [target for target in reader.targets if not re.match(r"/[a-z]|/$", target)] == []
        assert not any("url(" in text or "@import" in text for text in reader.texts)


def test_the_docs_tell_of_every_endpoint() -> None:
    texts = docs().texts
    for row in Answers(FakeOffice(), PLAIN).endpoints:
        assert f"{row.method} {row.path}" in texts
        assert any(text.startswith(row.about) for text in texts), row.about


def test_the_docs_show_a_change_as_it_is_typed() -> None:
    (put,) = [text for text in docs().texts if "-X PUT" in text]
    words = shlex.split(put)
    assert words[:3] == ["curl", "-X", "PUT"]
    assert 'if-match: "1"' in words
    proposal = json.loads(words[-1])
    signature = Signature((), (), 0)
    found = read_proposal(proposal, "digits", {"1": signature, "2": signature})
    assert isinstance(found, Document)


def test_the_docs_have_the_schema_of_a_routing_document() -> None:
    texts = docs().texts
    shapes = [text for text in texts if text.startswith("{\n")]
    assert document_schema() in map(json.loads, shapes)


def test_the_docs_tell_of_the_data_port_with_an_example_for_each_model() -> None:
    port = Settings(data_url="https://gateway:8443", routes=Routes.told("digits", "/ask", None))
    texts = docs(settings=port).texts
    for path in ("POST /v2/models/{model}/infer", "GET /v2/models", "POST /ask"):
        assert path in texts
    (command,) = (one for one in texts if one.startswith("curl") and "models/digits/infer" in one)
    words = shlex.split(command)
    assert words[:2] == ["curl", "https://gateway:8443/v2/models/digits/infer"]
    (tensor,) = json.loads(words[-1])["inputs"]
    assert (tensor["name"], tensor["datatype"]) == ("x", "FP32")


def test_a_name_is_text_in_the_docs_too() -> None:
    version = Version(EVIL, "1", is_default=True, signature=SIGNATURE)
    reader = docs((version,), Settings(name=EVIL, data_url=EVIL))
    assert "script" not in reader.elements
    assert any(EVIL in text for text in reader.texts)
