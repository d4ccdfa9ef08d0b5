"""The client before real servers that behave badly: each ends in a reply or in Unanswered."""

import asyncio
import errno
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.execute.client import Client
from gateway.execute.upstream import Reply, Terms, Unanswered
from tests.elsewhere import (
    Asked,
    Behaviour,
    Elsewhere,
    answer,
    cut_off,
    dripping,
    hanging,
    resetting,
    saying,
    until,
)

T = TypeVar("T")
CERTIFICATE = Path(__file__).parents[1] / "journeys" / "certificate.pem"
TERMS = Terms(connections=2, connect_timeout_s=5.0, max_answer_bytes=1000)
PATH = "/v2/models/twice/versions/1/infer"


@pytest.fixture
def server() -> Iterator[Elsewhere]:
    with Elsewhere(saying(answer(200, b"fine", X_Name="value"))) as running:
        yield running


def asked(scene: Callable[[Client], Awaitable[T]], terms: Terms = TERMS) -> T:
    async def whole() -> T:
        async with Client(terms) as client:
            return await scene(client)

    return asyncio.run(whole())


def post(server: Elsewhere, *blobs: bytes, **headers: str) -> Reply:
    return asked(lambda client: client.ask("POST", server.url + PATH, headers, blobs or (b"x",)))


def trouble(server: Elsewhere, behave: Behaviour) -> Unanswered:
    server.behave = behave
    with pytest.raises(Unanswered) as caught:
        post(server)
    assert not caught.value.by_a_call
    return caught.value


def test_an_answer_comes_whole(server: Elsewhere) -> None:
    reply = post(server)
    assert (reply.status, reply.body, reply.headers["x-name"]) == (200, b"fine", "value")


@pytest.mark.parametrize("sizes", [(0,), (3, 5), (70_000,), (10, 3_000_000, 10)])
def test_a_body_goes_as_it_is_with_its_length(server: Elsewhere, sizes: tuple[int, ...]) -> None:
    blobs = [bytes([at]) * size for at, size in enumerate(sizes)]
    post(server, *blobs)
    (request,) = server.inferences
    assert request.body == b"".join(blobs)
    assert "transfer-encoding" not in request.headers


def test_nothing_is_said_that_nobody_told_it_to_say(server: Elsewhere) -> None:
    post(server, content_type="application/octet-stream")
    (request,) = server.inferences
    assert request.headers.keys() == {"host", "content_type", "content-length"}


def test_connections_are_kept_and_no_more_than_so_many(server: Elsewhere) -> None:
    open_now: set[object] = set()
    most = 0

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        open_now.add(writer)
        most = max(most, len(open_now))
        await asyncio.sleep(0)
        writer.write(answer(200))

    server.behave = behave

    async def scene(client: Client) -> None:
        url = server.url + PATH
        await asyncio.gather(*(client.ask("POST", url, {}, (b"x",)) for _ in range(20)))

    asked(scene)
    assert len(server.asked) == 20
    assert most == 2


def test_a_redirect_is_an_answer_and_a_cookie_is_forgotten(server: Elsewhere) -> None:
    server.behave = saying(answer(307, location=f"{server.url}/elsewhere", set_cookie="a=b"))

    async def scene(client: Client) -> list[int]:
        replies = [await client.ask("POST", server.url + PATH, {}, (b"x",)) for _ in range(2)]
        return [reply.status for reply in replies]

    assert asked(scene) == [307, 307]
    assert all("cookie" not in request.headers for request in server.asked)


def test_what_is_compressed_stays_so(server: Elsewhere) -> None:
    server.behave = saying(answer(200, b"\x1f\x8bbomb", content_encoding="gzip"))
    assert post(server).body == b"\x1f\x8bbomb"


def test_where_nobody_listens_nothing_was_heard(server: Elsewhere) -> None:
    server.die()
    with pytest.raises(Unanswered) as caught:
        post(server)
    assert caught.value.is_unheard
    why = os.strerror(errno.ECONNREFUSED)
    assert str(caught.value) == f"no connection to the remote server ({why})", "and not where it is"


def test_a_name_that_nobody_has_is_no_connection() -> None:
    with pytest.raises(Unanswered, match="no connection") as caught:
        asked(lambda client: client.ask("GET", "http://nobody.invalid/", {}))
    assert "invalid" not in str(caught.value)


def test_a_reset_before_an_answer_was_not_heard(server: Elsewhere) -> None:
    assert trouble(server, resetting).is_unheard


def test_an_answer_cut_off_was_heard(server: Elsewhere) -> None:
    assert not trouble(server, cut_off).is_unheard


@pytest.mark.parametrize(
    "said", [b"garbage\r\n\r\n", b"\0" * 99 + b"\r\n\r\n", b"HTTP/1.1 x\r\n\r\n"]
)
def test_garbage_is_no_answer(server: Elsewhere, said: bytes) -> None:
    assert not trouble(server, saying(said)).is_unheard


def test_a_head_without_an_end_is_no_answer(server: Elsewhere) -> None:
    assert not trouble(server, saying(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000)).is_unheard


def test_an_answer_that_says_it_is_too_large_is_not_read(server: Elsewhere) -> None:
    error = trouble(server, saying(b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n"))
    assert "larger than 1000 bytes" in str(error)


def test_an_answer_that_never_ends_is_left(server: Elsewhere) -> None:
    async def endless(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"64\r\n" + b"x" * 100 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)

    assert "larger than 1000 bytes" in str(trouble(server, endless))


def test_the_largest_answer_is_read(server: Elsewhere) -> None:
    server.behave = saying(answer(200, b"y" * 1000))
    assert len(post(server).body) == 1000


@pytest.mark.parametrize("behave", [hanging, dripping])
def test_who_stops_waiting_closes_the_connection(server: Elsewhere, behave: Behaviour) -> None:
    server.behave = behave

    async def scene(client: Client) -> None:
        task = asyncio.ensure_future(client.ask("POST", server.url + PATH, {}, (b"x",)))
        await until(lambda: bool(server.inferences))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: server.gone > 0)

    asked(scene)
    assert server.gone == 1


def test_after_trouble_the_next_request_is_answered(server: Elsewhere) -> None:
    async def scene(client: Client) -> list[object]:
        ends: list[object] = []
        for behave in (resetting, cut_off, saying(b"garbage\r\n\r\n"), saying(answer(200))):
            server.behave = behave
            try:
                ends.append((await client.ask("POST", server.url + PATH, {}, (b"x",))).status)
            except Unanswered:
                ends.append(None)
        return ends

    assert asked(scene) == [None, None, None, 200]
    assert len(server.inferences) == 4


@pytest.fixture
def certified() -> Iterator[Elsewhere]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE, CERTIFICATE.with_name("key.pem"))
    with Elsewhere(saying(answer(200, b"fine")), tls) as running:
        yield running


def test_a_certificate_of_authorities_that_were_named_is_believed(certified: Elsewhere) -> None:
    terms = Terms(2, 5.0, ca_file=CERTIFICATE)
    assert asked(lambda client: client.ask("POST", certified.url + PATH, {}), terms).body == b"fine"


def test_any_other_certificate_is_no_connection(certified: Elsewhere) -> None:
    with pytest.raises(Unanswered) as caught:
        asked(lambda client: client.ask("POST", certified.url + PATH, {}))
    assert str(caught.value) == "no connection to the remote server (certificate verify failed)"
    assert certified.asked == []


def test_authorities_that_cannot_be_read_are_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Client(Terms(ca_file=tmp_path / "ca.pem"))
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises((OSError, ssl.SSLError)):
        Client(Terms(ca_file=tmp_path / "empty.pem"))
