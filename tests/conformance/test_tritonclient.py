"""Triton's own HTTP client is served as by its own server: JSON and binary."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.server import WATCHDOG_S, Server

Array = NDArray[Any]
FLOATS: Array = np.array([[1.5, -2.25, 3e38, 0], [0.1, 1e-40, -0.0, 7]], np.float32)
KINDS: dict[str, Array] = {
    "BOOL": np.array([[True, False]]),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**53 + 1]], np.int64),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 2**16 - 1]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[2**53 + 1, 2**64 - 1]], np.uint64),
    "FP64": np.array([[5e-324, 1.7976931348623157e308], [-0.0, 0.1]], np.float64),
}


def connected(server: Server) -> Any:
    """A client, to be closed by a `with`."""
    return tritonclient.http.InferenceServerClient(
        f"127.0.0.1:{server.port}",
        concurrency=4,
        connection_timeout=WATCHDOG_S,
        network_timeout=WATCHDOG_S,
    )


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with connected(server) as found:
        yield found


def given(name: str, datatype: str, array: Array, *, binary: bool) -> Any:
    tensor = tritonclient.http.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def wanted(name: str, *, binary: bool, classes: int = 0) -> Any:
    return tritonclient.http.InferRequestedOutput(name, binary_data=binary, class_count=classes)


def texts_of(result: Any, name: str) -> list[Any]:
    """The strings of an output, nested as its shape is, whichever form they came in."""
    found = result.as_numpy(name)
    texts = [text if isinstance(text, str) else text.decode() for text in found.reshape(-1)]
    nested: list[Any] = np.array(texts, object).reshape(found.shape).tolist()
    return nested


def check_bits(result: Any, name: str, expected: Array) -> None:
    """Compare bit by bit: -0.0 is not 0.0."""
    found = result.as_numpy(name)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


in_and_out = pytest.mark.parametrize("binary_in", [False, True], ids=["JSON in", "binary in"])
out = pytest.mark.parametrize("binary_out", [False, True], ids=["JSON out", "binary out"])
compressed = pytest.mark.parametrize("compression", ["gzip", "deflate"])


def test_it_asks_for_health(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo")
    assert client.is_model_ready("echo", "1")


def test_what_is_not_there_is_not_ready(client: Any) -> None:
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready("echo", "2")


def test_it_reads_metadata(client: Any) -> None:
    about = client.get_server_metadata()
    assert about["name"] == "gateway"
    assert "binary_tensor_data" in about["extensions"]
    x, y = ({"name": name, "datatype": "FP32", "shape": [-1, 4]} for name in "xy")
    expected = {"name": "echo", "versions": ["1"], "platform": "onnxruntime_onnx"}
    assert client.get_model_metadata("echo") == expected | {"inputs": [x], "outputs": [y]}
    assert client.get_model_metadata("echo", "1") == client.get_model_metadata("echo")


@in_and_out
@out
def test_it_infers(client: Any, binary_in: bool, binary_out: bool) -> None:
    x = given("x", "FP32", FLOATS, binary=binary_in)
    result = client.infer("echo", [x], outputs=[wanted("y", binary=binary_out)])
    check_bits(result, "y", FLOATS)


@in_and_out
def test_without_outputs_it_gets_them_all_in_binary(client: Any, binary_in: bool) -> None:
    result = client.infer("echo", [given("x", "FP32", FLOATS, binary=binary_in)])
    check_bits(result, "y", FLOATS)
    assert result.get_output("y")["parameters"] == {"binary_data_size": FLOATS.nbytes}


@in_and_out
@out
@pytest.mark.parametrize("datatype", KINDS)
def test_every_datatype_keeps_every_bit(
    client: Any, datatype: str, binary_in: bool, binary_out: bool
) -> None:
    array = KINDS[datatype]
    x = given("x", datatype, array, binary=binary_in)
    model = f"of_{datatype.lower()}"
    result = client.infer(model, [x], outputs=[wanted("y", binary=binary_out)])
    check_bits(result, "y", array)


@in_and_out
@out
def test_strings_come_back(client: Any, binary_in: bool, binary_out: bool) -> None:
    texts = ["", "plain", "ünïcödé 語 🙂", 'a "quote", a \\ and a \n']
    array = np.array([text.encode() for text in texts], object).reshape(2, 2)
    x = given("x", "BYTES", array, binary=binary_in)
    result = client.infer("of_bytes", [x], outputs=[wanted("y", binary=binary_out)])
    assert texts_of(result, "y") == [texts[:2], texts[2:]]


def test_half_floats_travel_in_binary(client: Any) -> None:
    array: Array = np.array([[65504, 6e-8], [np.nan, -np.inf]], np.float16)
    check_bits(client.infer("of_fp16", [given("x", "FP16", array, binary=True)]), "y", array)


@in_and_out
@out
def test_what_is_no_number_comes_back(client: Any, binary_in: bool, binary_out: bool) -> None:
    array: Array = np.array([[np.nan, np.inf, -np.inf, 0]], np.float32)
    x = given("x", "FP32", array, binary=binary_in)
    found = client.infer("echo", [x], outputs=[wanted("y", binary=binary_out)]).as_numpy("y")
    np.testing.assert_array_equal(found, array)


def pair() -> tuple[Array, Array]:
    return np.array([[1, 2]], np.int32), np.array([[0.5, 1, 1.5]], np.float32)


def test_several_inputs_come_in_any_order_and_any_form(client: Any) -> None:
    a, b = pair()
    inputs = [given("b", "FP32", b, binary=True), given("a", "INT32", a, binary=False)]
    outputs = [wanted("twice_b", binary=False), wanted("twice_a", binary=True)]
    result = client.infer("pair", inputs, outputs=outputs)
    check_bits(result, "twice_a", a + a)
    check_bits(result, "twice_b", b + b)


def test_only_the_outputs_asked_for_come(client: Any) -> None:
    a, b = pair()
    inputs = [given("a", "INT32", a, binary=True), given("b", "FP32", b, binary=True)]
    result = client.infer("pair", inputs, outputs=[wanted("twice_b", binary=True)])
    check_bits(result, "twice_b", b + b)
    assert result.as_numpy("twice_a") is None


def test_a_request_id_comes_back(client: Any) -> None:
    x = given("x", "FP32", FLOATS, binary=True)
    assert client.infer("echo", [x], request_id="request ü").get_response()["id"] == "request ü"
    assert "id" not in client.infer("echo", [x]).get_response()


def test_an_explicit_version_answers_by_its_name(client: Any) -> None:
    x = given("x", "FP32", FLOATS, binary=True)
    response = client.infer("echo", [x], model_version="1").get_response()
    assert (response["model_name"], response["model_version"]) == ("echo", "1")


def test_priority_timeout_and_parameters_of_ones_own_are_taken(client: Any) -> None:
    x = given("x", "FP32", FLOATS, binary=True)
    result = client.infer(
        "echo", [x], priority=1, timeout=20_000_000, parameters={"tenant": "a", "sampled": True}
    )
    check_bits(result, "y", FLOATS)


def test_headers_and_a_query_do_no_harm(client: Any) -> None:
    x = given("x", "FP32", FLOATS, binary=True)
    headers = {"x-request-id": "mine", "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
    check_bits(client.infer("echo", [x], headers=headers, query_params={"a": 1}), "y", FLOATS)


def test_a_name_that_a_url_must_quote_is_found(client: Any) -> None:
    x = given("x", "FP32", FLOATS, binary=True)
    assert client.is_model_ready("two words")
    assert client.infer("two words", [x]).get_response()["model_name"] == "two words"


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
def test_nothing_is_a_tensor_too(client: Any, binary: bool) -> None:
    empty: Array = np.zeros((1, 0), np.float32)
    x = given("x", "FP32", empty, binary=False)
    result = client.infer("free", [x], outputs=[wanted("y", binary=binary)])
    assert result.get_output("y")["shape"] == [1, 0]


def test_a_large_tensor_comes_back(client: Any) -> None:
    array = np.random.default_rng(1).random((500, 1000)).astype(np.float32)
    check_bits(client.infer("free", [given("x", "FP32", array, binary=True)]), "y", array)


def test_requests_in_parallel_get_their_own_answers(client: Any) -> None:
    arrays = [np.full((1, 4), number, np.float32) for number in range(40)]
    waiting = [client.async_infer("echo", [given("x", "FP32", a, binary=True)]) for a in arrays]
    for request, array in zip(waiting, arrays, strict=True):
        check_bits(request.get_result(timeout=WATCHDOG_S), "y", array)


@pytest.mark.parametrize(
    ("model", "version", "changes", "status", "words"),
    [
        ("nobody", "", {}, "404", "Request for unknown model: 'nobody' is not found"),
        ("echo", "9", {}, "404", "Request for unknown model: 'echo' version 9 is not found"),
        ("echo", "", {"name": "z"}, "400", "unexpected inference input 'z' for model 'echo'"),
        ("fixed", "", {}, "400", "unexpected shape for input 'x' for model 'fixed'. Expected [3]"),
        ("of_int8", "", {}, "400", "inference input 'x' data-type is 'FP32', but model 'of_int8'"),
    ],
)
def test_a_refusal_is_an_exception_with_our_words(
    client: Any, model: str, version: str, changes: dict[str, str], status: str, words: str
) -> None:
    x = given(changes.get("name", "x"), "FP32", FLOATS, binary=True)
    with pytest.raises(InferenceServerException) as raised:
        client.infer(model, [x], model_version=version)
    assert raised.value.status() == status
    assert raised.value.message().startswith(words)


def test_a_model_that_fails_is_an_exception_too(client: Any) -> None:
    x = given("x", "INT64", np.array([[99]]), binary=True)
    with pytest.raises(InferenceServerException, match="out of data bounds") as raised:
        client.infer("shelf", [x])
    assert raised.value.status() == "500"


def test_a_sequence_is_refused(client: Any) -> None:
    x = given("x", "FP32", FLOATS, binary=True)
    with pytest.raises(InferenceServerException, match="sequences are not supported"):
        client.infer("echo", [x], sequence_id=7, sequence_start=True)


@compressed
@in_and_out
@out
def test_a_request_may_come_compressed(
    any_server: Server, compression: str, binary_in: bool, binary_out: bool
) -> None:
    with connected(any_server) as client:
        result = client.infer(
            "echo",
            [given("x", "FP32", FLOATS, binary=binary_in)],
            outputs=[wanted("y", binary=binary_out)],
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,  # asked for, and not given
        )
    check_bits(result, "y", FLOATS)


@compressed
def test_a_large_tensor_may_come_compressed(client: Any, compression: str) -> None:
    array: Array = np.tile(np.arange(1000, dtype=np.float32), (500, 1))
    x = given("x", "FP32", array, binary=True)
    result = client.infer("free", [x], request_compression_algorithm=compression)
    check_bits(result, "y", array)


SCORES: Array = np.array([[0.5, 14, -2.25, 7], [3, 3, np.nan, 1e6]], np.float32)
BEST = [
    ["14.000000:1:dog", "7.000000:3", "0.500000:0:cat", "-2.250000:2:emu"],
    ["1000000.000000:3", "3.000000:0:cat", "3.000000:1:dog", "nan:2:emu"],
]


@in_and_out
@out
@pytest.mark.parametrize("classes", [1, 2, 4, 99])
def test_an_output_becomes_its_best_classes_with_their_labels(
    client: Any, classes: int, binary_in: bool, binary_out: bool
) -> None:
    """The last of four classes has no label."""
    x = given("x", "FP32", SCORES, binary=binary_in)
    outputs = [wanted("y", binary=binary_out, classes=classes)]
    result = client.infer("labelled", [x], outputs=outputs)
    assert texts_of(result, "y") == [row[:classes] for row in BEST]
    y = result.get_output("y")
    assert (y["datatype"], y["shape"]) == ("BYTES", [2, min(classes, 4)])


def test_classes_without_labels_or_without_a_batch_axis(any_server: Server) -> None:
    with connected(any_server) as client:
        x = given("x", "FP32", SCORES, binary=True)
        result = client.infer("echo", [x], outputs=[wanted("y", binary=True, classes=1)])
        assert texts_of(result, "y") == [["14.000000:1"], ["1000000.000000:3"]]
        a, b = pair()
        inputs = [given("a", "INT32", a, binary=True), given("b", "FP32", b, binary=True)]
        outputs = [wanted("twice_a", binary=False, classes=2), wanted("twice_b", binary=True)]
        both = client.infer("pair", inputs, outputs=outputs)
        assert texts_of(both, "twice_a") == [["4:1", "2:0"]]
        check_bits(both, "twice_b", b + b)


def test_classes_of_an_output_without_a_batch_axis_have_one(client: Any) -> None:
    x = given("x", "FP32", np.array([1, 3, 2], np.float32), binary=True)
    result = client.infer("fixed", [x], outputs=[wanted("y", binary=False, classes=2)])
    assert texts_of(result, "y") == ["3.000000:1", "2.000000:2"]


def test_an_answer_is_read_from_its_bytes_too(server: Server) -> None:
    """A body made and an answer read by the client, with any other client between."""
    make = tritonclient.http.InferenceServerClient
    x = given("x", "FP32", FLOATS, binary=True)
    body, length = make.generate_request_body([x], request_id="9")
    with server.client() as carrier:
        answer = carrier.post(
            "/v2/models/echo/infer",
            content=body,
            headers={"Inference-Header-Content-Length": str(length)},
        )
    said = int(answer.headers["inference-header-content-length"])
    result = make.parse_response_body(answer.content, header_length=said)
    check_bits(result, "y", FLOATS)
    assert result.get_response()["id"] == "9"


def test_statistics_count_each_request_once(any_server: Server) -> None:
    """Each client is a connection of its own, and asks whichever replica accepts it."""

    def counts() -> tuple[int, int]:
        with connected(any_server) as client:
            (row,) = client.get_inference_statistics("labelled", "1")["model_stats"]
        return row["inference_stats"]["success"]["count"], row["inference_count"]

    requests, rows = counts()
    for turn in range(1, 11):
        with connected(any_server) as client:
            client.infer("labelled", [given("x", "FP32", SCORES, binary=True)])
        assert counts() == (requests + turn, rows + 2 * turn)


def test_the_repository_is_listed(any_server: Server) -> None:
    with connected(any_server) as client:
        index = client.get_model_repository_index()
        names = [row["name"] for row in index]
        assert {"echo", "labelled", "pair"} <= set(names)
        assert {(row["version"], row["state"], row["reason"]) for row in index} == {
            ("1", "READY", "")
        }
        config = client.get_model_config("labelled")
    assert config["output"][0]["label_filename"] == "labels.txt"
    assert config["max_batch_size"] == 8
