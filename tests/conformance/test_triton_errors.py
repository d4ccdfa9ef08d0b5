"""Refusals that Triton's client can provoke, in the words that its users look for."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.conformance.test_tritonclient import FLOATS, connected, given, pair, wanted
from tests.operating import executing, wait_until
from tests.server import Server, infer, tensor
from tests.zoo import LONG

Array = NDArray[Any]
Ask = Callable[[Any], Any]


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with connected(server) as found:
        yield found


def x(array: Array = FLOATS, datatype: str = "FP32", *, binary: bool = True) -> Any:
    return given("x", datatype, array, binary=binary)


def reshaped(tensor: Any, *shape: int) -> Any:
    """The tensor with a shape that its values do not have."""
    return tensor.set_shape(list(shape))


def typed(datatype: str) -> Any:
    """A tensor that the client took for another type when it packed it."""
    tensor = given("x", "FP32", FLOATS, binary=True)
    tensor._datatype = datatype  # noqa: SLF001 - its users can only misspell it in JSON
    return tensor


def a_and_b(rows_of_b: int = 1) -> list[Any]:
    a, b = pair()
    return [
        given("a", "INT32", a, binary=True),
        given("b", "FP32", np.repeat(b, rows_of_b, axis=0), binary=True),
    ]


def ask(model: str, *inputs: Any, **options: Any) -> Ask:
    return lambda client: client.infer(model, list(inputs), **options)


Y = wanted("y", binary=True)
AT_WORK = infer("patient", tensor("x", "INT64", [1], [2 * LONG]))
STRINGS: Array = np.array([[b"a", b"bc"]], object)

MISSING = (
    "expected 2 inputs but got 1 inputs for model 'pair'. Got input(s) ['a'], but missing "
    "required input(s) ['b']. Please provide all required input(s)."
)
TOO_MANY = (
    "unexpected number of string elements 3 for inference input 'x' for model 'of_bytes', "
    "expecting 2"
)
HALF: Array = np.zeros((1, 2), np.float16)

REFUSALS: dict[str, tuple[Ask, str, str]] = {
    "unknown model": (
        ask("nobody", x()),
        "404",
        "^Request for unknown model: 'nobody' is not found",
    ),
    "unknown version": (
        ask("echo", x(), model_version="9"),
        "404",
        "^Request for unknown model: 'echo' version 9 is not found",
    ),
    "malformed version": (
        ask("echo", x(), model_version="1%20"),
        "404",
        "^Request for unknown model: 'echo' version ",
    ),
    "metadata of an unknown model": (
        lambda client: client.get_model_metadata("nobody"),
        "404",
        "^Request for unknown model: 'nobody' is not found",
    ),
    "configuration of an unknown model": (
        lambda client: client.get_model_config("nobody"),
        "404",
        "^Request for unknown model: 'nobody' is not found",
    ),
    "statistics of an unknown model": (
        lambda client: client.get_inference_statistics("nobody"),
        "404",
        "requested model 'nobody' is not available",
    ),
    "statistics of an unknown version": (
        lambda client: client.get_inference_statistics("echo", "9"),
        "404",
        "requested model version is not available for model 'echo'",
    ),
    "missing input": (
        ask("pair", a_and_b()[0]),
        "400",
        MISSING,
    ),
    "unknown input": (
        ask("echo", given("z", "FP32", FLOATS, binary=True)),
        "400",
        "unexpected inference input 'z' for model 'echo'",
    ),
    "input twice": (ask("echo", x(), x()), "400", "input 'x' already exists in request"),
    "output twice": (
        ask("echo", x(), outputs=[Y, Y]),
        "400",
        "output 'y' already exists in request",
    ),
    "unknown output": (
        ask("echo", x(), outputs=[wanted("z", binary=True)]),
        "400",
        "unexpected inference output 'z' for model 'echo'",
    ),
    "bad datatype": (ask("echo", typed("float32")), "400", "invalid datatype for input x"),
    "other datatype": (
        ask("of_int8", x()),
        "400",
        "inference input 'x' data-type is 'FP32', but model 'of_int8' expects 'INT8'",
    ),
    "wrong shape": (
        ask("echo", x(np.zeros((1, 8), np.float32))),
        "400",
        "unexpected shape for input 'x' for model 'echo'. Expected [-1,4], got [1,8]",
    ),
    "batch too large": (
        ask("echo", x(np.zeros((9, 4), np.float32))),
        "400",
        "inference request batch-size must be <= 8 for 'echo'",
    ),
    "batches differ": (
        ask("pair", *a_and_b(2)),
        "400",
        "batch size does not match other inputs for 'pair'",
    ),
    "element count": (
        ask("echo", reshaped(x(binary=False), 3, 4)),
        "400",
        "Shape does not match true shape of 'data' field",
    ),
    "negative dimension": (
        ask("echo", reshaped(x(binary=False), -1, 4)),
        "400",
        "attempt to access JSON non-unsigned-integer as unsigned-integer",
    ),
    "too many elements": (
        ask("free", reshaped(x(), 2**40, 2**40)),
        "400",
        "causes total element count to exceed maximum size of",
    ),
    "too many bytes": (
        ask("free", reshaped(x(), 2**31, 2**31)),
        "400",
        "byte size overflow for input",
    ),
    "no values": (
        ask("echo", tritonclient.http.InferInput("x", [1, 4], "FP32")),
        "400",
        "Input must set only one of the following fields",
    ),
    "blob size": (
        ask("echo", reshaped(x(), 3, 4)),
        "400",
        "input byte size mismatch for input 'x' for model 'echo'. Expected 48, got 32",
    ),
    "too few strings": (
        ask("of_bytes", reshaped(x(STRINGS, "BYTES"), 2, 2)),
        "400",
        "expected 4 string elements for inference input 'x' for model 'of_bytes', got 2",
    ),
    "too many strings": (
        ask("of_bytes", reshaped(x(np.repeat(STRINGS, 2, axis=0), "BYTES"), 1, 2)),
        "400",
        TOO_MANY,
    ),
    "half floats as JSON": (
        ask("of_fp16", x(HALF, "FP16"), outputs=[wanted("y", binary=False)]),
        "400",
        "sending FP16 data via JSON is not supported",
    ),
    "classes of strings": (
        ask("of_bytes", x(STRINGS, "BYTES"), outputs=[wanted("y", binary=True, classes=1)]),
        "400",
        "class result not available for output due to unsupported type 'BYTES'",
    ),
    "parameter type": (
        ask("echo", x(), parameters={"a": [1]}),
        "400",
        "parameter 'a' has invalid type",
    ),
    "a sequence": (ask("echo", x(), sequence_id=1), "400", "sequences are not supported"),
    "control off": (
        lambda client: client.load_model("echo"),
        "403",
        "explicit model load / unload is not allowed if polling is enabled",
    ),
    "control off, and unload": (
        lambda client: client.unload_model("echo"),
        "403",
        "explicit model load / unload is not allowed if polling is enabled",
    ),
    "a model that fails": (
        ask("shelf", x(np.array([[99]]), "INT64")),
        "500",
        "out of data bounds",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_has_its_status_and_its_words(client: Any, case: str) -> None:
    provoke, status, words = REFUSALS[case]
    with pytest.raises(InferenceServerException) as refused:
        provoke(client)
    message = refused.value.message()
    assert refused.value.status() == status, message
    if words.startswith("^"):
        assert message.startswith(words[1:])
    assert words.removeprefix("^") in message
    client.infer("echo", [x()])  # and the connection, or the next one, serves on


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
def test_a_body_above_the_limit_is_refused_in_triton_s_words(narrow: Server, binary: bool) -> None:
    large: Array = np.zeros((1000, 300), np.float32)
    with connected(narrow) as client, pytest.raises(InferenceServerException) as refused:
        client.infer("echo", [x(large, binary=binary)])
    assert refused.value.status() == "413"
    assert "exceeds the maximum allowed input size of 1048576 bytes" in refused.value.message()


@pytest.fixture
def busy(narrow: Server) -> Iterator[Any]:
    """A client of a server whose `patient` is at work for a while; that is answered in the end."""
    with narrow.connect() as wire, connected(narrow) as client:
        wire.send(AT_WORK)
        wait_until(lambda: executing(narrow, "patient") == 1, narrow.replicas)
        yield client
        assert wire.answer().outputs == {"y": [2 * LONG]}


def test_a_full_queue_says_so_in_triton_s_words(busy: Any, narrow: Server) -> None:
    """One may wait; whoever comes before that one expires."""
    told: dict[str, str] = {}

    def is_refused() -> bool:
        with pytest.raises(InferenceServerException) as refused:
            busy.infer("patient", [x(np.array([1]), "INT64")], timeout=1)
        told[refused.value.status()] = refused.value.message()
        return "429" in told

    with narrow.connect() as waiting:
        waiting.send(AT_WORK)
        wait_until(is_refused, lambda: told)
    assert "Exceeds maximum queue size" in told["429"]
    assert told.keys() <= {"429", "504"}


def test_an_expired_request_says_so_in_triton_s_words(busy: Any) -> None:
    with pytest.raises(InferenceServerException, match="Request timeout expired") as refused:
        busy.infer("patient", [x(np.array([1]), "INT64")], timeout=1)
    assert refused.value.status() == "504"
