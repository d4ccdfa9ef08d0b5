"""Pages: whole in themselves, and deaf to what a name says."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser

from gateway.supervise.management.page import docs_page, status_page
from gateway.supervise.management.routes import Answers, Settings
from gateway.supervise.management.views import models_shown, replicas_shown
from tests.supervise.management.offices import DIGITS, FakeOffice, Replica, Version

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


def test_pages_ask_nobody_else_for_anything() -> None:
    answers = Answers(FakeOffice(), Settings())
    for reader in (page(), read(docs_page("gateway", answers.document))):
        assert {"script", "img", "link", "iframe"} & set(reader.elements) == set()
        assert [target for target in reader.targets if not re.match(r"/[a-z]|/$", target)] == []
        assert not any("url(" in text or "@import" in text for text in reader.texts)


def test_the_docs_tell_of_every_endpoint() -> None:
    answers = Answers(FakeOffice(), Settings())
    texts = read(docs_page("gateway", answers.document)).texts
    for row in answers.endpoints:
        assert f"{row.method} {row.path}" in texts
        assert any(text.startswith(row.about) for text in texts), row.about
