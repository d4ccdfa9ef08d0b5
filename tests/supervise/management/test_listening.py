"""Listening: the management port on real sockets, with its limits and its certificate.

`second.pem` holds a certificate and its key, for tests alone.
"""

import asyncio
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.config import Config
from gateway.supervise.management.listening import (
    Listening,
    Unguarded,
    known_hosts,
    open_management,
)
from gateway.supervise.management.reception import MAX_BODY_BYTES
from tests.journeys.test_tls import CERTIFICATE, KEY
from tests.supervise.management.offices import ROUTES, FakeOffice
from tests.supervise.management.requests import PROPOSED
from tests.wire.harness import WAIT_S, Answer, answers, peer, request
from tests.wire.splitting import told

SECOND = Path(__file__).with_name("second.pem")
JSON = "content-type: application/json"
LOAD = "/admin/v1/models/digits/versions/1/load"
Loops = Callable[[], asyncio.AbstractEventLoop]


def bound(host: str = "127.0.0.1") -> socket.socket:
    return socket.create_server((host, 0))


@asynccontextmanager
async def opened(
    office: FakeOffice, grace_s: float = WAIT_S, **settings: Any
) -> AsyncIterator[tuple[Listening, tuple[str, int]]]:
    """Open the port on a free port of loopback; give it and its address."""
    config = Config.model_validate(settings)
    with bound() as listener:
        address = listener.getsockname()
        async with open_management(office, config, [listener], grace_s) as port:
            yield port, address


async def say(address: tuple[str, int], raw: bytes) -> list[Answer]:
    """Send bytes on a connection of their own; return all that comes until it ends."""
    async with peer(address) as (reader, writer):
        writer.write(raw)
        return answers(await reader.read(), raw.split(b" ")[0].decode() or "GET")


def local(method: str, path: str, body: bytes = b"", *fields: str) -> bytes:
    """A request to a name that is known, and the connection's last."""
    asked = request(method, path, body, "connection: close", *fields)
    return asked.replace(b"host: h\r\n", b"host: localhost\r\n")


def run(scene: Callable[[], Awaitable[None]], loops: Loops = asyncio.new_event_loop) -> None:
    async def watched() -> None:
        async with asyncio.timeout(2 * WAIT_S):
            await scene()

    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(watched())


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_answers_on_its_socket_until_the_block_is_left(loops: Loops) -> None:
    async def scene() -> None:
        async with opened(FakeOffice()) as (_, address):
            (answer,) = await say(address, local("GET", "/admin/v1/models"))
            assert [one["name"] for one in answer.json["models"]] == ["digits"]
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(*address)

    run(scene, loops)


def test_an_inference_is_as_unknown_here_as_any_other_path() -> None:
    async def scene() -> None:
        async with opened(FakeOffice()) as (_, address):
            body = json.dumps({"inputs": []}).encode()
            for path in ("/v2/models/digits/infer", "/v2/models/digits/versions/1/infer"):
                (answer,) = await say(address, local("POST", path, body))
                assert (answer.status, answer.code) == (404, "not_found")

    run(scene)


def test_a_host_that_nobody_gave_us_is_refused_unless_it_is_configured() -> None:
    async def scene() -> None:
        asked = request("GET", "/admin/v1/models", b"", "connection: close")
        async with opened(FakeOffice()) as (_, address):
            assert [one.status for one in await say(address, asked)] == [403]
        async with opened(FakeOffice(), admin_hosts=["h"]) as (_, address):
            assert [one.status for one in await say(address, asked)] == [200]

    run(scene)


def test_names_of_a_wildcard_are_those_of_the_machine() -> None:
    token = f"viewer:v:{'0' * 64}"
    settings = {"admin_hosts": ["gateway.example.org"], "auth": {"admin_tokens": [token]}}
    anywhere = Config.model_validate({"admin_host": "0.0.0.0"} | settings)
    assert known_hosts(anywhere) == (socket.gethostname(), "gateway.example.org")
    somewhere = Config.model_validate({"admin_host": "10.0.0.1"} | settings)
    assert known_hosts(somewhere) == ("10.0.0.1", "gateway.example.org")


def test_without_tokens_it_listens_on_loopback_alone() -> None:
    async def scene() -> None:
        with bound("0.0.0.0") as everywhere:
            with pytest.raises(Unguarded, match=r"auth\.admin_tokens"):
                async with open_management(FakeOffice(), Config(), [everywhere]):
                    pass
            tokens = {"auth": {"admin_tokens": [kept("viewer", "secret")]}}
            async with open_management(
                FakeOffice(), Config.model_validate(tokens), [everywhere]
            ) as port:
                with pytest.raises(Unguarded):
                    port.reload(Config())
                address = ("127.0.0.1", everywhere.getsockname()[1])
                (answer,) = await say(address, local("GET", "/admin/v1/models"))
                assert answer.status == 401  # the tokens that were there still hold

    run(scene)


def kept(role: str, token: str) -> str:
    return f"{role}:somebody:{hashlib.sha256(token.encode()).hexdigest()}"


def test_a_reload_takes_the_new_tokens() -> None:
    async def scene() -> None:
        old, new = ({"admin_tokens": [kept("viewer", word)]} for word in ("old", "new"))
        asked = {
            word: local("GET", "/admin/v1/models", b"", f"authorization: Bearer {word}")
            for word in ("old", "new")
        }
        async with opened(FakeOffice(), auth=old) as (port, address):
            assert [(await say(address, asked[word]))[0].status for word in asked] == [200, 401]
            port.reload(Config.model_validate({"auth": new}))
            assert [(await say(address, asked[word]))[0].status for word in asked] == [401, 200]

    run(scene)


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("name", "name")]
)
def test_the_docs_say_how_both_ports_are_reached_from_here(host: str, shown: str) -> None:
    async def scene() -> None:
        async with opened(FakeOffice(), host=host, port=8090) as (_, address):
            (answer,) = await say(address, local("GET", "/docs"))
            text = answer.body.decode()
            assert f"curl http://{shown}:8090/v2/models/digits/infer " in text
            assert f"curl http://127.0.0.1:{address[1]}/admin/v1/models<" in text

    run(scene)


def test_the_docs_say_which_of_the_data_port_s_endpoints_need_a_key() -> None:
    async def scene() -> None:
        keys = {"keys": [told("predict", b"ticket")]}
        async with opened(FakeOffice(), auth=keys) as (_, address):
            (answer,) = await say(address, local("GET", "/docs"))
            text = answer.body.decode()
            assert "A prediction. Needs a key with the role predict or operate." in text

    run(scene)


def test_a_reload_takes_the_new_name_routes_and_keys() -> None:
    async def scene() -> None:
        pages = [local("GET", path) for path in ("/", "/data-port.json")]
        new = {
            "server_name": "renamed",
            "dialects": {"health_route": "/healthy", "default_model": "digits"},
            "auth": {"keys": [told("operate", b"lever")]},
        }
        async with opened(FakeOffice(), server_name="before") as (port, address):
            before = b"".join([(await say(address, page))[0].body for page in pages])
            port.reload(Config.model_validate(new))
            after = b"".join([(await say(address, page))[0].body for page in pages])
        words = (b"before", b"renamed", b"/healthy", b"x-api-key")
        assert [word in before for word in words] == [True, False, False, False]
        assert [word in after for word in words] == [False, True, True, True]

    run(scene)


# limits


def test_a_body_over_a_mebibyte_is_refused_before_it_is_sent() -> None:
    async def scene() -> None:
        office = FakeOffice()
        async with opened(office) as (_, address):
            head = local("POST", LOAD, b"", JSON, f"content-length: {MAX_BODY_BYTES + 1}")
            (answer,) = await say(address, head)
            assert (answer.status, answer.code) == (413, "too_large")
            assert office.begun == 0

    run(scene)


def test_documents_are_changed_over_the_socket_and_an_old_tag_changes_nothing() -> None:
    async def scene() -> None:
        async with opened(FakeOffice()) as (_, address):
            path, put = ROUTES.decode(), json.dumps(PROPOSED).encode()
            why = json.dumps({"reason": "anew"}).encode()
            asked = [("PUT", put, 2), ("PUT", put, 2), ("DELETE", why, 3), ("DELETE", why, 3)]
            found = []
            for method, body, revision in asked:
                tag = f'if-match: "{revision}"'
                (answer,) = await say(address, local(method, path, body, JSON, tag))
                found.append((answer.status, answer.headers["etag"]))
            assert found == [(200, '"3"'), (412, '"3"'), (200, '"4"'), (412, '"4"')]

    run(scene)


def test_a_connection_too_many_is_told_so_and_the_others_are_served() -> None:
    async def scene() -> None:
        async with opened(FakeOffice(), grace_s=0.0) as (_, address):
            first = [await asyncio.open_connection(*address) for _ in range(128)]
            (answer,) = await say(address, b"")
            assert (answer.status, answer.code) == (429, "overloaded")
            reader, writer = first[0]
            writer.write(local("GET", "/livez"))
            (alive,) = answers(await reader.read(), "GET")
            assert alive.json == {"live": True}
            for _, one in first:
                one.close()

    run(scene)


def test_a_client_that_leaves_does_not_undo_what_it_asked_for() -> None:
    async def scene() -> None:
        office = FakeOffice(gate=asyncio.Event())
        async with opened(office) as (_, address):
            async with peer(address) as (_, writer):
                writer.write(local("POST", LOAD, b"{}", JSON))
                await office.has_begun.wait()
            assert office.gate is not None
            office.gate.set()
            await office.has_obeyed.wait()

    run(scene)


# the end


def test_idle_connections_do_not_hold_up_the_end() -> None:
    async def scene() -> None:
        async with opened(FakeOffice()) as (_, address):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(request("GET", "/livez"))
            assert b"200 OK" in await reader.readline()
        writer.close()

    run(scene)


def test_what_is_under_way_at_the_end_is_answered_within_the_grace() -> None:
    async def scene() -> None:
        office = FakeOffice(gate=asyncio.Event())
        async with opened(office) as (_, address):
            asked = asyncio.create_task(say(address, local("POST", LOAD, b"{}", JSON)))
            await office.has_begun.wait()
            assert office.gate is not None
            asyncio.get_running_loop().call_soon(office.gate.set)
        assert [one.status for one in await asked] == [200]

    run(scene)


def test_what_takes_longer_than_the_grace_is_given_up() -> None:
    async def scene() -> None:
        office = FakeOffice(gate=asyncio.Event())
        async with opened(office, grace_s=0.0) as (_, address):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(local("POST", LOAD, b"{}", JSON))
            await office.has_begun.wait()
        assert (office.cancelled, office.obeyed) == (1, [])
        assert await reader.read() == b""
        writer.close()

    run(scene)


# TLS


def trusting(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    return context


async def is_trusted(address: tuple[str, int], certificate: Path) -> bool:
    """Ask over TLS; say whether the certificate was the one that is trusted."""
    try:
        reader, writer = await asyncio.open_connection(*address, ssl=trusting(certificate))
    except ssl.SSLCertVerificationError:
        return False
    writer.write(local("GET", "/livez"))
    (answer,) = answers(await reader.read(), "GET")
    writer.close()
    return answer.status == 200


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_certificate_is_read_again_without_closing_the_port(loops: Loops, tmp_path: Path) -> None:
    async def scene() -> None:
        pem = tmp_path / "both.pem"
        pem.write_bytes(KEY.read_bytes() + CERTIFICATE.read_bytes())
        tls = {"certfile": str(pem), "keyfile": str(pem)}
        async with opened(FakeOffice(), admin_tls=tls) as (port, address):
            config = Config.model_validate({"admin_tls": tls})
            assert await is_trusted(address, CERTIFICATE)
            shutil.copy(SECOND, pem)
            assert await is_trusted(address, CERTIFICATE)
            port.reload(config)
            assert not await is_trusted(address, CERTIFICATE)
            assert await is_trusted(address, SECOND)
            pem.write_text("nothing of the kind")
            with pytest.raises(ssl.SSLError):
                port.reload(config)
            pem.unlink()
            with pytest.raises(OSError, match="No such file"):
                port.reload(config)
            assert await is_trusted(address, SECOND)

    run(scene, loops)


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_who_only_connects_keeps_neither_descriptors_nor_others_out(loops: Loops) -> None:
    async def scene() -> None:
        tls = {"certfile": str(CERTIFICATE), "keyfile": str(KEY)}
        async with opened(FakeOffice(), grace_s=0.0, admin_tls=tls) as (_, address):
            silent = [await asyncio.open_connection(*address) for _ in range(200)]
            assert await is_trusted(address, CERTIFICATE)
            for reader, _ in silent[:136]:  # others may stay for a while: 64
                with suppress(ConnectionError):
                    assert await reader.read() == b""
            for _, writer in silent:
                writer.close()

    run(scene, loops)


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_who_signs_clients_is_read_again_and_the_old_ones_count_no_more(
    loops: Loops, tmp_path: Path
) -> None:
    async def is_heard(address: tuple[str, int], *files: Path) -> bool:
        context = trusting(CERTIFICATE)
        if files:
            context.load_cert_chain(files[0], files[-1])
        with suppress(ssl.SSLError, ConnectionError):
            reader, writer = await asyncio.open_connection(*address, ssl=context)
            writer.write(local("GET", "/livez"))
            answer = await reader.read(1)
            writer.close()
            return answer != b""
        return False

    async def scene() -> None:
        signers = tmp_path / "signers.pem"
        shutil.copy(SECOND, signers)
        tls = {"certfile": str(CERTIFICATE), "keyfile": str(KEY), "client_ca": str(signers)}
        async with opened(FakeOffice(), admin_tls=tls) as (port, address):
            assert await is_heard(address, SECOND)
            assert not await is_heard(address)
            shutil.copy(CERTIFICATE, signers)
            port.reload(Config.model_validate({"admin_tls": tls}))
            assert not await is_heard(address, SECOND)
            assert await is_heard(address, CERTIFICATE, KEY)
            tls["min_version"] = "1.3"
            port.reload(Config.model_validate({"admin_tls": tls}))
            assert await is_heard(address, CERTIFICATE, KEY)

    run(scene, loops)


def test_under_tls_an_origin_is_compared_with_https() -> None:
    async def scene() -> None:
        tls = {"certfile": str(CERTIFICATE), "keyfile": str(KEY)}
        async with opened(FakeOffice(), admin_tls=tls) as (_, address):
            got = []
            for scheme in ("http", "https"):
                reader, writer = await asyncio.open_connection(*address, ssl=trusting(CERTIFICATE))
                writer.write(local("POST", LOAD, b"{}", JSON, f"origin: {scheme}://localhost"))
                got += [one.status for one in answers(await reader.read())]
                writer.close()
            assert got == [403, 200]

    run(scene)


def test_it_needs_no_onnx_runtime() -> None:
    script = (
        "import sys, gateway.supervise.management.listening;"
        "print([name for name in sys.modules if name.split('.')[0] in ('onnxruntime', 'uvicorn')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=WAIT_S
    )
    assert done.stdout == "[]\n"
