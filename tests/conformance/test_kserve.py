"""KServe's own client is served as by its own server, by V2 and by V1."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from kserve import (  # type: ignore[import-untyped]  # ships no types
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)
from kserve.errors import InvalidInput, UnsupportedProtocol  # type: ignore[import-untyped]  # same
from kserve.protocol.infer_type import RequestedOutput  # type: ignore[import-untyped]  # same
from numpy.typing import NDArray

from tests.operating import load, unload
from tests.server import WATCHDOG_S, Server

Array = NDArray[Any]
FLOATS: Array = np.array([[1.5, -2.25, 3e38, 0], [0.1, 1e-40, -0.0, 7]], np.float32)
ROWS = [[1.5, -2.25, 0.0, 7.0], [1.0, 2.0, 3.0, 4.0]]
KINDS: dict[str, Array] = {
    "BOOL": np.array([[True, False]]),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT64": np.array([[-(2**63), 2**53 + 1]], np.int64),
    "UINT64": np.array([[2**53 + 1, 2**64 - 1]], np.uint64),
    "FP64": np.array([[5e-324, 1.7976931348623157e308], [-0.0, 0.1]], np.float64),
}

versions = pytest.mark.parametrize("protocol", ["v1", "v2"])
forms = pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])


@asynccontextmanager
async def connected(protocol: str) -> AsyncIterator[Any]:
    """A client that heeds no proxy of the environment."""
    config = RESTConfig(transport=httpx.AsyncHTTPTransport(), protocol=protocol, timeout=WATCHDOG_S)
    async with InferenceRESTClient(config) as client:
        yield client


def with_client(protocol: str, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    """Return what a client was told that was made for this one question."""

    async def talk() -> Any:
        async with connected(protocol) as client:
            return await ask(client)

    return asyncio.run(asyncio.wait_for(talk(), WATCHDOG_S))


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def given(name: str, datatype: str, array: Array, *, binary: bool) -> Any:
    tensor = InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def infer(server: Server, model: str, *inputs: Any, **members: Any) -> Any:
    request = InferRequest(model, list(inputs), **members)
    return with_client("v2", lambda client: client.infer(url(server), request, model_name=model))


def predict(server: Server, model: str, body: dict[str, Any]) -> Any:
    return with_client("v1", lambda client: client.infer(url(server), body, model_name=model))


@pytest.fixture
def unready(explicit: Server) -> Server:
    """A server that knows `echo` and does not serve it."""
    assert load(explicit, "echo").status_code == 200
    assert unload(explicit, "echo").status_code == 200
    return explicit


@versions
def test_it_asks_whether_the_server_lives(server: Server, protocol: str) -> None:
    assert with_client(protocol, lambda client: client.is_server_live(url(server))) is True


def test_it_asks_whether_the_server_is_ready(server: Server) -> None:
    assert with_client("v2", lambda client: client.is_server_ready(url(server))) is True
    with pytest.raises(UnsupportedProtocol):  # V1 has no such question
        with_client("v1", lambda client: client.is_server_ready(url(server)))


@versions
def test_a_model_that_is_served_is_ready(server: Server, protocol: str) -> None:
    def ask(client: Any) -> Any:
        return client.is_model_ready(url(server), "echo")

    assert with_client(protocol, ask) is True


@versions
def test_a_model_that_is_not_served_is_not_ready(unready: Server, protocol: str) -> None:
    def ask(client: Any) -> Any:
        return client.is_model_ready(url(unready), "echo")

    assert with_client(protocol, ask) is False


def test_a_model_that_nobody_knows_is_not_ready_by_v2_and_an_error_by_v1(server: Server) -> None:
    """V1's readers take 503 alone for `not ready`."""

    def ask(client: Any) -> Any:
        return client.is_model_ready(url(server), "nobody")

    assert with_client("v2", ask) is False
    with pytest.raises(httpx.HTTPStatusError, match="unknown model: 'nobody'") as refused:
        with_client("v1", ask)
    assert refused.value.response.status_code == 404


@forms
def test_it_infers_by_v2(any_server: Server, binary: bool) -> None:
    result = infer(any_server, "echo", given("x", "FP32", FLOATS, binary=binary))
    assert result.model_name == "echo"
    (y,) = result.outputs
    assert (y.name, y.datatype, y.shape) == ("y", "FP32", [2, 4])
    assert y.as_numpy().tobytes() == FLOATS.tobytes()


@forms
@pytest.mark.parametrize("datatype", KINDS)
def test_every_datatype_keeps_every_bit(server: Server, datatype: str, binary: bool) -> None:
    array = KINDS[datatype]
    result = infer(
        server,
        f"of_{datatype.lower()}",
        given("x", datatype, array, binary=binary),
        parameters={"binary_data_output": binary},
    )
    found = result.outputs[0].as_numpy()
    assert (found.dtype, found.tobytes()) == (array.dtype, array.tobytes())


@forms
def test_strings_come_back(server: Server, binary: bool) -> None:
    texts = ["", "plain", "ünïcödé 語 🙂", 'a "quote", a \\ and a \n']
    array: Array = np.array([text.encode() for text in texts], object).reshape(2, 2)
    x = given("x", "BYTES", array, binary=binary)
    outputs = [RequestedOutput("y", {"binary_data": binary})]
    found = infer(server, "of_bytes", x, request_outputs=outputs).outputs[0].as_numpy()
    said = [text if isinstance(text, str) else text.decode() for text in found.reshape(-1)]
    assert said == texts


def test_half_floats_travel_in_binary(server: Server) -> None:
    array: Array = np.array([[65504, 6e-8], [np.nan, -np.inf]], np.float16)
    x = given("x", "FP16", array, binary=True)
    result = infer(server, "of_fp16", x, parameters={"binary_data_output": True})
    assert result.outputs[0].as_numpy().tobytes() == array.tobytes()


def test_what_is_no_number_is_read_in_binary_alone(server: Server) -> None:
    """The client's JSON parser refuses the token, which V2 and other clients want."""
    array: Array = np.array([[np.nan, np.inf, -np.inf, 0]], np.float32)
    x = given("x", "FP32", array, binary=True)
    result = infer(server, "echo", x, parameters={"binary_data_output": True})
    np.testing.assert_array_equal(result.outputs[0].as_numpy(), array)
    with pytest.raises(InvalidInput, match="Unrecognized request format"):
        infer(server, "echo", x)


def test_a_request_id_comes_back_and_else_is_the_client_s_own(server: Server) -> None:
    x = given("x", "FP32", FLOATS, binary=False)
    assert infer(server, "echo", x, request_id="request ü").id == "request ü"
    made = infer(server, "echo", x).id
    assert str(uuid.UUID(made)) == made


def test_parameters_of_the_protocol_and_of_ones_own_are_taken(server: Server) -> None:
    x = given("x", "FP32", FLOATS, binary=False)
    parameters = {"priority": 1, "timeout": 20_000_000, "tenant": "a", "sampled": True}
    result = infer(server, "echo", x, parameters=parameters)
    assert result.outputs[0].as_numpy().tolist() == FLOATS.tolist()


def test_only_the_outputs_asked_for_come_in_the_form_asked_for(server: Server) -> None:
    a: Array = np.array([[1, 2]], np.int32)
    b: Array = np.array([[0.5, 1, 1.5]], np.float32)
    inputs = [given("b", "FP32", b, binary=True), given("a", "INT32", a, binary=False)]
    one = [RequestedOutput("twice_b", {"binary_data": True})]
    (only,) = infer(server, "pair", *inputs, request_outputs=one).outputs
    assert (only.name, only.as_numpy().tolist()) == ("twice_b", (b + b).tolist())
    mixed = [*one, RequestedOutput("twice_a")]
    result = infer(server, "pair", *inputs, request_outputs=mixed)
    found = {one.name: one.as_numpy().tolist() for one in result.outputs}
    assert found == {"twice_a": (a + a).tolist(), "twice_b": (b + b).tolist()}


def test_v2_takes_a_plain_dictionary_too(server: Server) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 4], "data": ROWS}]}

    def ask(client: Any) -> Any:
        return client.infer(url(server), body, model_name="echo")

    assert with_client("v2", ask).outputs[0].as_numpy().tolist() == ROWS


@pytest.mark.parametrize(
    "body",
    [
        {"instances": ROWS},
        {"instances": [{"x": row} for row in ROWS]},
        {"inputs": ROWS},
        {"inputs": {"x": ROWS}},
    ],
    ids=["rows", "named rows", "columns", "named columns"],
)
def test_it_predicts_by_v1(any_server: Server, body: dict[str, Any]) -> None:
    assert predict(any_server, "echo", body) == {"predictions": ROWS}


def test_several_outputs_are_objects_by_v1(server: Server) -> None:
    rows = [{"a": [1, 2], "b": [0.5, 1, 1.5]}, {"a": [3, 4], "b": [2, 2.5, 3]}]
    expected = [
        {"twice_a": [2, 4], "twice_b": [1.0, 2.0, 3.0]},
        {"twice_a": [6, 8], "twice_b": [4.0, 5.0, 6.0]},
    ]
    assert predict(server, "pair", {"instances": rows}) == {"predictions": expected}


def test_a_string_may_come_in_base64_by_v1(server: Server) -> None:
    body = {"instances": [["plain"], [{"b64": "w7w="}]]}
    assert predict(server, "text", body) == {"predictions": [["plain"], ["ü"]]}


def test_the_answer_is_json_without_a_charset(server: Server) -> None:
    headers: dict[str, str] = {}

    def ask(client: Any) -> Any:
        body = {"instances": ROWS}
        return client.infer(url(server), body, model_name="echo", response_headers=headers)

    with_client("v1", ask)
    assert headers["content-type"] == "application/json"
    assert headers["x-gateway-version"] == "1"


@pytest.mark.parametrize(
    ("protocol", "model", "body", "status", "words"),
    [
        ("v1", "nobody", {"instances": ROWS}, 404, "Request for unknown model: 'nobody'"),
        ("v1", "echo", {"instances": [[1]]}, 400, "unexpected shape for input 'x'"),
        ("v1", "echo", {"instances": [["a"] * 4]}, 400, "expected a number"),
        ("v1", "echo", {"instances": ROWS, "inputs": ROWS}, 400, "got both"),
        ("v1", "echo", {}, 400, "got neither"),
        ("v1", "shelf", {"instances": [[99]]}, 500, "out of data bounds"),
        ("v2", "nobody", {"inputs": []}, 404, "Request for unknown model: 'nobody'"),
        ("v2", "echo", {"inputs": []}, 400, "expected 1 inputs but got 0 inputs"),
        ("v2", "echo", {}, 400, "inputs"),
    ],
)
def test_a_refusal_is_an_exception_with_our_words(
    server: Server, protocol: str, model: str, body: dict[str, Any], status: int, words: str
) -> None:
    """The client reads `error` where the content type is exactly application/json."""

    def ask(client: Any) -> Any:
        return client.infer(url(server), body, model_name=model)

    with pytest.raises(httpx.HTTPStatusError) as refused:
        with_client(protocol, ask)
    assert refused.value.response.status_code == status
    assert words in str(refused.value)
    assert "request_id" not in str(refused.value)


def test_explanations_are_not_implemented(server: Server) -> None:
    def ask(client: Any) -> Any:
        return client.explain(url(server), "echo", {"instances": ROWS})

    with pytest.raises(httpx.HTTPStatusError, match="explanations are not served") as refused:
        with_client("v1", ask)
    assert refused.value.response.status_code == 501


def test_a_graph_s_endpoint_is_any_of_ours(server: Server) -> None:
    def ask(client: Any) -> Any:
        endpoint = f"{url(server)}/v1/models/echo/versions/1:predict"
        return client.infer(endpoint, {"instances": ROWS}, is_graph_endpoint=True)

    assert with_client("v1", ask) == {"predictions": ROWS}


def test_the_headers_of_an_event_do_no_harm(server: Server) -> None:
    event = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "here",
        "ce-type": "org.example.asked",
    }

    def ask(client: Any) -> Any:
        body = {"instances": ROWS}
        return client.infer(url(server), body, model_name="echo", headers=event)

    assert with_client("v1", ask) == {"predictions": ROWS}


@versions
def test_many_at_once_get_their_own_answers(any_server: Server, protocol: str) -> None:
    async def one(client: Any, number: int) -> bool:
        row = [float(number)] * 4
        if protocol == "v1":
            body = {"instances": [row]}
            told = await client.infer(url(any_server), body, model_name="echo")
            return bool(told == {"predictions": [row]})
        x = given("x", "FP32", np.array([row], np.float32), binary=number % 2 == 0)
        request = InferRequest("echo", [x], request_id=str(number))
        result = await client.infer(url(any_server), request, model_name="echo")
        return bool(result.id == str(number) and result.outputs[0].as_numpy().tolist() == [row])

    def ask(client: Any) -> Any:
        return asyncio.gather(*(one(client, number) for number in range(40)))

    assert with_client(protocol, ask) == [True] * 40
