"""The lane and the ASGI app give equal answers: status, headers and body.

Left out is what only a framing parser can say: the lane refuses those requests, and any
other ASGI server does it in its own words. Each request brings a name, so that its answer
has nothing that is made up on the way.
"""

import asyncio
import gzip
import re
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app.rooms import open_replica
from gateway.config import Config
from gateway.core.datatypes import DATATYPES
from gateway.flow import Flow
from gateway.types import Call, Signature, TensorSpec, Version
from gateway.wire.dialects.media import SAGEMAKER, VERTEX
from gateway.wire.heads import HeadCache
from gateway.wire.keys import NO_KEYS, Keys
from gateway.wire.paths import Routes
from gateway.wire.port import Port
from gateway.wire.stock import Stock
from tests.laws import test_layouts_read_as_decode as binary
from tests.laws import test_quick_reads_as_decode as plain
from tests.wire.asgi import ask
from tests.wire.clerk import Clerk
from tests.wire.harness import Answer, Echo, answers, echo, listening, port_of
from tests.wire.splitting import GLASS, GUARDED, LEVER, TICKET

ROUTES = Routes("FP32", predict=("predict",), health=("health",))
MODELS = Path(__file__).parents[2] / "models"
LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n")


class Asked(NamedTuple):
    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    def raw(self) -> bytes:
        """The request as the lane gets it."""
        headers = [*self.headers, (b"content-length", b"%d" % len(self.body))]
        lines = [b"%b: %b\r\n" % pair for pair in headers]
        first = b"%b %b HTTP/1.1\r\nhost: h\r\n" % (self.method.encode(), self.target)
        return first + b"".join(lines) + b"\r\n" + self.body


class Both:
    """One port, asked by a socket and as an app. Mutable state: the open connection."""

    def __init__(self, port: Port, address: tuple[str, int]) -> None:
        self._port = port
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, asked: Asked) -> tuple[Answer, Answer]:
        """Return what the lane answers, and what the app does."""
        named = asked._replace(headers=((b"x-request-id", b"law-1"), *asked.headers))
        by_lane = await self._ask_lane(named)
        by_app = await ask(self._port.app, named.method, named.target, named.body, named.headers)
        return by_lane, by_app

    async def _ask_lane(self, asked: Asked) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(asked.raw())
        raw = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(raw)
        if length is not None and asked.method != "HEAD":
            raw += await reader.readexactly(int(length[1]))
        (answer,) = answers(raw, asked.method)
        assert not answer.closes, f"refused by framing: {raw!r}"
        return answer

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            await self._streams[1].wait_closed()


class Later(Echo):
    """Answers in a later tick, as a model in a thread does."""

    def infer(self, call: Call) -> None:
        asyncio.get_running_loop().call_later(0.0001, echo, call)


def kinds() -> list[Version]:
    """One model for each datatype, of one input and one output, and some others."""
    made = [Version("m", "9", plain.DOUBLE.signature), Version("m", "1", plain.SINGLE.signature)]
    for name in DATATYPES:
        x, y = TensorSpec("x", name, (-1, 2)), TensorSpec("y", name, (-1, 2))
        made.append(Version(name, "1", Signature((x,), (y,), 4)))
    whole = TensorSpec("x", "FP32", (2,))
    made.append(Version("whole", "1", Signature((whole,), (whole,), 0)))
    return made


@asynccontextmanager
async def both(flow: Flow, keys: Keys = NO_KEYS) -> AsyncIterator[Both]:
    stock = Stock(Clerk(), flow, True, 100) if keys.is_any else None
    port = port_of(flow, routes=ROUTES, keys=keys, stock=stock)
    async with listening(port) as address:
        asking = Both(port, address)
        yield asking
        await asking.close()


@asynccontextmanager
async def demo() -> AsyncIterator[Both]:
    async with open_replica(Config(models=MODELS)) as replica:
        heads = HeadCache(replica.policy.heads)
        port = Port(replica.intake, replica.rest, replica.policy, heads, set(), set(), lambda: 1.0)
        async with listening(port) as address:
            asking = Both(port, address)
            yield asking
            await asking.close()


class Stand:
    """Both ways in, before every kind of flow, and the loop on which they stand."""

    def __init__(self, runner: asyncio.Runner, ways: Sequence[Both]) -> None:
        self._runner = runner
        self._at_once, self._later, self._demo, self._guarded = ways

    def answer(self, asked: Asked) -> Answer:
        """Prove that all ways in answer alike; return the answer."""
        found = [*self._ask(self._at_once, asked), *self._ask(self._later, asked)]
        assert found[1:] == found[:-1]
        return found[0]

    def answer_of_demo(self, asked: Asked) -> Answer:
        """The same, by real models."""
        return self._alike(self._demo, asked)

    def answer_with_keys(self, asked: Asked) -> Answer:
        """The same, where predictions, loads and unloads take a key."""
        return self._alike(self._guarded, asked)

    def _alike(self, way: Both, asked: Asked) -> Answer:
        by_lane, by_app = self._ask(way, asked)
        assert by_lane == by_app
        return by_lane

    def _ask(self, way: Both, asked: Asked) -> tuple[Answer, Answer]:
        by_lane, by_app = self._runner.run(way.ask(asked))
        assert list(by_lane.headers) == list(by_app.headers)  # their order too
        return by_lane, by_app


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with asyncio.Runner() as runner:
        guarded = both(Echo(*kinds()), GUARDED)
        scenes = (both(Echo(*kinds())), both(Later(*kinds())), demo(), guarded)
        ways = [runner.run(scene.__aenter__()) for scene in scenes]
        yield Stand(runner, ways)
        for scene in scenes:
            runner.run(scene.__aexit__(None, None, None))


# what a request is made of

SAMPLE = orjson.dumps(
    {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]}]}
)
INFER = b"/v2/models/m/infer"
PATHS = [
    b"/", b"/livez", b"/readyz", b"/health", b"/ready", b"/v2", b"/v2/", b"/v2/models",
    b"/v2/health/live", b"/v2/health/ready", b"/v2/models/m", b"/v2/models/m/ready",
    b"/v2/models/m/versions/1", b"/v2/models/m/versions/01/ready", b"/v2/models/%6D",
    b"/v2/models/n", b"/v2/models/m/versions/2", b"/v2/models/m/versions/a%2Fb", b"/nowhere",
    b"/v2/models//ready", b"/v2/models/m/", b"//", b"/%zz", b"/%ff", b"/%C3%A9", b"/V2", b"*",
    b"/v2/models/stats", b"/v2/models/a%5Cb/infer", b"/v2/models/%00/ready", b"/v2?x=1&y=%zz",
    b"/v2/models/%2E%2E/ready", b"/v2/models/../ready", b"/" + b"x" * 2000,
    b"/v2/models/m/stats", b"/v2/models/m/versions/01/stats", b"/v2/models/m/versions/2/stats",
    b"/v2/models/n/stats", b"/v2/models/m/config", b"/v2/models/m/versions/9/config",
    b"/v2/models/n/config", b"/v2/repository/index", b"/v2/repository/index/", b"/v2/repository",
    b"/v2/repository/models/m/load", b"/v2/repository/models/m/unload",
    b"/v2/repository/models//load", b"/v2/repository/models/../load",
    b"/v2/repository/models/a%2Fb/unload", b"/v2/repository/models/%zz/load",
    b"/v1/models", b"/v1/models/m", b"/v1/models/n", b"/v1/models/m/versions/1",
    b"/v1/models/m/versions/2", b"/v1/models/m:explain", b"/v1/models/m%3Aexplain",
    b"/v1/models/m:predict/", b"/v1/models/:predict", b"/v1", b"/ping", b"/version", b"/health",
    b"/invocations/", b"/ping/",
]  # fmt: skip
INFER_PATHS = [
    INFER, INFER, INFER + b"?a=b", b"/v2/models/m/versions/1/infer", b"/v2/models/n/infer",
    b"/v2/models/m/versions/9/infer", b"/v2/models/m/versions/0/infer", b"/v2/models/%6d/infer",
    b"/v2/models/m/versions//infer", b"/v2/models/m/versions/%zz/infer", b"/v2/models/m/infer/",
    b"/v2/models/stats/infer", b"/v2/models/%E9/infer", b"/v2/models/whole/infer",
    b"/v1/models/m:predict", b"/v1/models/FP32%3Apredict", b"/v1/models/m/versions/9:predict",
    b"/invocations", b"/predict",
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]
HEADERS: list[tuple[bytes, bytes]] = [
    (b"x-request-timeout-ms", b"1000"), (b"X-Request-Timeout-MS", b"99999999"),
    (b"x-request-timeout-ms", b"0"), (b"x-request-timeout-ms", b"soon"),
    (b"x-request-timeout-ms", b"-1"), (b"x-request-timeout-ms", b""),
    (b"x-request-priority", b"1"), (b"x-request-priority", b"99"), (b"x-request-priority", b"-1"),
    (b"x-request-priority", b"1.0"), (b"content-encoding", b"identity"),
    (b"content-encoding", b"gzip"), (b"Content-Encoding", b"IDENTITY, br"),
    (b"content-encoding", b"deflate"), (b"content-type", SAGEMAKER + b";json-header-size=5"),
    (b"content-type", VERTEX + b";json-header-size=x"), (b"content-type", b"text/csv"),
    (b"inference-header-content-length", b"0"), (b"inference-header-content-length", b"10"),
    (b"Inference-Header-Content-Length", b"99999999999"), (b"content-type", b"text/html"),
    (b"inference-header-content-length", b"x"), (b"accept", b"application/xml"),
    (b"accept-encoding", b"gzip"), (b"x-forwarded-for", b"1.2.3.4"),
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
]  # fmt: skip

headers = st.lists(st.sampled_from(HEADERS), max_size=3).map(tuple)
letters = st.text(st.sampled_from("/abmv2%2F.~!$&'()*+,;=:@-_?models"), max_size=20)
targets = st.one_of(
    st.sampled_from([*PATHS, *INFER_PATHS]),
    letters.map(lambda text: b"/" + text.encode()),
    letters.map(lambda text: b"/v2/models/" + text.encode()),
)


def test_every_path_by_every_method(stand: Stand) -> None:
    for target in (*PATHS, *INFER_PATHS):
        for method in METHODS:
            stand.answer(Asked(method, target, (), SAMPLE if method == "POST" else b""))


@pytest.mark.parametrize("header", HEADERS)
def test_an_inference_with_every_header(stand: Stand, header: tuple[bytes, bytes]) -> None:
    stand.answer(Asked("POST", INFER, (header,), SAMPLE))


@given(st.sampled_from(METHODS), targets, headers, st.sampled_from([b"", b"{}", SAMPLE]))
def test_any_method_path_and_headers(
    stand: Stand,
    method: str,
    target: bytes,
    given_headers: tuple[tuple[bytes, bytes], ...],
    body: bytes,
) -> None:
    stand.answer(Asked(method, target, given_headers, body))


@given(plain.bodies, st.sampled_from([b"/v2/models/m/infer", b"/v2/models/m/versions/1/infer"]))
def test_any_body_good_odd_or_bad(stand: Stand, body: bytes, target: bytes) -> None:
    stand.answer(Asked("POST", target, (), body))


def tensor(kind: str, data: object) -> dict[str, object]:
    return {"name": "x", "shape": [1, 2], "datatype": kind, "data": data}


VALUES: list[object] = [
    [0, 1], [True, False], ["a],[b", "é%"], [1.5, -0.0], [2**31, -1], [2**64 - 1, 0], [None, 1],
    [[1, 2]], [1], [1e300, 1], ["1", 2],
]  # fmt: skip


@pytest.mark.parametrize("kind", DATATYPES)
def test_every_datatype_with_values_that_fit_and_that_do_not(stand: Stand, kind: str) -> None:
    target = f"/v2/models/{kind}/infer".encode()
    for data in VALUES:
        for more in ({}, {"id": "é"}, {"parameters": {"binary_data_output": True}}):
            body = orjson.dumps({"inputs": [tensor(kind, data)], **more})
            stand.answer(Asked("POST", target, (), body))


def test_an_answer_with_tokens_is_the_same(stand: Stand) -> None:
    body = SAMPLE.replace(b"[1,2.5]", b"[NaN,-Infinity]")
    answer = stand.answer(Asked("POST", b"/v2/models/FP32/infer", (), body))
    assert b'"data":[NaN,-Infinity]' in answer.body


@given(st.data())
def test_any_binary_request(stand: Stand, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(binary.KINDS) - 1))
    body, json_length = data.draw(binary.bodies(binary.VERSIONS[at]))
    target = f"/v2/models/{binary.KINDS[at]}/infer".encode()
    header = (b"inference-header-content-length", b"%d" % json_length)
    stand.answer(Asked("POST", target, (header,), body))


# other dialects, and compressed


FOREIGN = [
    b'{"instances":[[1,2.5]]}', b'{"instances":[{"x":[1,2]}]}', b'{"inputs":[[1,2]]}', b"[]", b"",
    b'{"inputs":{"x":[[NaN,2]]}}', b'{"instances":[["a",2]]}', b'{"instances":[[1,2],[3]]}',
    b'{"dataframe_records":[{"a":1,"b":2}]}', b'{"dataframe_split":{"columns":["a"],"data":[]}}',
]  # fmt: skip
FOREIGN_PATHS = [b"/v1/models/FP32:predict", b"/invocations", b"/predict"]


@pytest.mark.parametrize("target", FOREIGN_PATHS)
def test_every_dialect_is_answered_alike(stand: Stand, target: bytes) -> None:
    answers = [stand.answer(Asked("POST", target, (), body)) for body in (*FOREIGN, SAMPLE)]
    assert {answer.status for answer in answers} == {200, 400}


@pytest.mark.parametrize("packed", [gzip.compress, zlib.compress, bytes])
@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_compressed_bodies_are_answered_alike(
    stand: Stand, packed: Callable[[bytes], bytes], coding: bytes
) -> None:
    header = (b"content-encoding", coding)
    for target, body in ((INFER, SAMPLE), (FOREIGN_PATHS[0], FOREIGN[0])):
        stand.answer(Asked("POST", target, (header,), packed(body)))
    bomb = packed(bytes(65 << 20))
    if len(bomb) < 1 << 20:
        answer = stand.answer(Asked("POST", INFER, (header,), bomb))
        assert answer.status in (400, 413)


def test_raw_and_classified_requests_are_answered_alike(stand: Stand) -> None:
    raw = (b"inference-header-content-length", b"0")
    for kind in DATATYPES:
        for size in (0, 2, 4, 8, 16):
            target = f"/v2/models/{kind}/infer".encode()
            stand.answer(Asked("POST", target, (raw,), bytes(size)))
    for kind, classes in ((kind, classes) for kind in DATATYPES for classes in (1, 2, 9, "1")):
        wanted = {"name": "y", "parameters": {"classification": classes}}
        body = orjson.dumps({"inputs": [tensor(kind, [1, 0])], "outputs": [wanted]})
        stand.answer(Asked("POST", f"/v2/models/{kind}/infer".encode(), (), body))


# who has which key

CONTROL = (b"/v2/repository/models/m/load", b"/v2/repository/models/m/unload")
SHOWN: dict[bytes | None, tuple[int, int]] = {  # what a prediction and a load are answered with
    None: (401, 401),
    b"nonsense": (401, 401),
    GLASS: (403, 403),
    TICKET: (200, 403),
    LEVER: (200, 200),
}


@pytest.mark.parametrize("key", SHOWN)
@pytest.mark.parametrize("bearer", [False, True])
def test_every_path_with_every_key(stand: Stand, key: bytes | None, bearer: bool) -> None:
    pair = (b"Authorization", b"Bearer %b" % key) if bearer and key else (b"X-Api-Key", key or b"")
    fields = () if key is None else (pair,)
    for target in (*PATHS, *INFER_PATHS):
        for method in ("GET", "POST", "OPTIONS"):
            stand.answer_with_keys(
                Asked(method, target, fields, SAMPLE if method == "POST" else b"")
            )
    predicts, loads = SHOWN[key]
    for target in (INFER, *FOREIGN_PATHS):
        body = SAMPLE if target == INFER else FOREIGN[0]
        assert stand.answer_with_keys(Asked("POST", target, fields, body)).status == predicts
    for target in CONTROL:
        assert stand.answer_with_keys(Asked("POST", target, fields, b"{}")).status == loads


@pytest.mark.parametrize("header", HEADERS)
def test_a_stranger_hears_of_the_key_before_all_else(
    stand: Stand, header: tuple[bytes, bytes]
) -> None:
    answer = stand.answer_with_keys(Asked("POST", INFER, (header,), b"{"))
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="gateway"'
    assert "x-gateway-version" not in answer.headers


OPEN = [
    b"/", b"/livez", b"/readyz", b"/health", b"/ready", b"/v2", b"/v2/models", b"/v2/health/live",
    b"/v2/health/ready", b"/v2/models/m", b"/v2/models/m/ready", b"/v2/models/m/config",
    b"/v2/models/stats", b"/v1/models", b"/v1/models/m", b"/version",
]  # fmt: skip


@pytest.mark.parametrize("target", OPEN)
def test_probes_and_metadata_need_no_key(stand: Stand, target: bytes) -> None:
    assert stand.answer_with_keys(Asked("GET", target)).status == 200


# by real models


def input_name(stand: Stand, model: str) -> str:
    about = stand.answer_of_demo(Asked("GET", f"/v2/models/{model}".encode())).json
    name: str = about["inputs"][0]["name"]
    return name


@pytest.mark.parametrize(("model", "width"), [("digits", 64), ("cancer", 30)])
@pytest.mark.parametrize("rows", [1, 3, 200])
@pytest.mark.parametrize("is_binary", [False, True])
def test_real_models_answer_alike(
    stand: Stand, model: str, width: int, rows: int, is_binary: bool
) -> None:
    name = input_name(stand, model)
    data = [float(at % 17) for at in range(rows * width)]
    one = {"name": name, "shape": [rows, width], "datatype": "FP32", "data": data}
    request = {"inputs": [one], "parameters": {"binary_data_output": is_binary}}
    for version in ("", "/versions/1", "/versions/2", "/versions/3"):
        target = f"/v2/models/{model}{version}/infer".encode()
        answer = stand.answer_of_demo(Asked("POST", target, (), orjson.dumps(request)))
        assert answer.status == (404 if version.endswith("3") else 200)


@pytest.mark.parametrize("sample", sorted(MODELS.glob("*/samples/*.json")), ids=str)
def test_samples_are_answered_alike(stand: Stand, sample: Path) -> None:
    model = sample.parent.parent.name
    target = f"/v2/models/{model}/infer".encode()
    assert stand.answer_of_demo(Asked("POST", target, (), sample.read_bytes())).status == 200


@given(plain.mutated().map(str.encode))
def test_real_models_refuse_alike(stand: Stand, body: bytes) -> None:
    assert stand.answer_of_demo(Asked("POST", b"/v2/models/digits/infer", (), body)).status == 400
