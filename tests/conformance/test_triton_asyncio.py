"""Triton's asyncio client, which is another than its plain one, is served as well."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http.aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.conformance.test_tritonclient import (
    FLOATS,
    KINDS,
    SCORES,
    check_bits,
    given,
    texts_of,
    wanted,
)
from tests.server import WATCHDOG_S, Server

Array = NDArray[Any]
TEXTS = [["", "plain"], ["ünïcödé 語 🙂", 'a "quote", a \\ and a \n']]
HALVES: Array = np.array([[65504, 6e-8], [np.nan, -np.inf]], np.float16)

forms = pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])


def talk(server: Server, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    """Return what a client was told that was made for this conversation."""

    async def run() -> Any:
        url = f"127.0.0.1:{server.port}"
        async with tritonclient.http.aio.InferenceServerClient(url) as client:
            return await ask(client)

    return asyncio.run(asyncio.wait_for(run(), WATCHDOG_S))


def infer(server: Server, model: str, x: Any, **options: Any) -> Any:
    return talk(server, lambda client: client.infer(model, [x], **options))


def test_it_asks_for_health_and_metadata(any_server: Server) -> None:
    async def ask(client: Any) -> None:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("echo", "1")
        assert not await client.is_model_ready("nobody")
        assert (await client.get_server_metadata())["name"] == "gateway"
        assert (await client.get_model_metadata("echo"))["name"] == "echo"
        assert (await client.get_model_config("echo"))["max_batch_size"] == 8
        index = await client.get_model_repository_index()
        assert "echo" in {row["name"] for row in index}
        stats = await client.get_inference_statistics("echo")
        assert stats["model_stats"][0]["version"] == "1"

    talk(any_server, ask)


def test_many_at_once_get_their_own_answers(any_server: Server) -> None:
    async def ask(client: Any) -> None:
        arrays = [np.full((2, 4), number, np.float32) for number in range(20)]
        inputs = [[given("x", "FP32", a, binary=at % 2 == 0)] for at, a in enumerate(arrays)]
        results = await asyncio.gather(*(client.infer("echo", one) for one in inputs))
        for result, array in zip(results, arrays, strict=True):
            check_bits(result, "y", array)

    talk(any_server, ask)


@forms
@pytest.mark.parametrize("datatype", KINDS)
def test_every_datatype_keeps_every_bit(server: Server, datatype: str, binary: bool) -> None:
    x = given("x", datatype, KINDS[datatype], binary=binary)
    outputs = [wanted("y", binary=binary)]
    result = infer(server, f"of_{datatype.lower()}", x, outputs=outputs)
    check_bits(result, "y", KINDS[datatype])


@forms
def test_strings_come_back(server: Server, binary: bool) -> None:
    array: Array = np.array([[text.encode() for text in row] for row in TEXTS], object)
    x = given("x", "BYTES", array, binary=binary)
    result = infer(server, "of_bytes", x, outputs=[wanted("y", binary=binary)])
    assert texts_of(result, "y") == TEXTS


def test_half_floats_travel_in_binary(server: Server) -> None:
    result = infer(server, "of_fp16", given("x", "FP16", HALVES, binary=True))
    check_bits(result, "y", HALVES)


def test_brain_floats_travel_in_binary(server: Server) -> None:
    array: Array = np.array([[1.5, -0.0], [2.0**-130, np.inf]], ml_dtypes.bfloat16)
    result = infer(server, "of_bf16", given("x", "BF16", array, binary=True))
    check_bits(result, "y", array)


@forms
@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_a_request_may_come_compressed(server: Server, compression: str, binary: bool) -> None:
    """It offers `br` too, which it cannot read."""
    result = infer(
        server,
        "echo",
        given("x", "FP32", FLOATS, binary=binary),
        outputs=[wanted("y", binary=binary)],
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    check_bits(result, "y", FLOATS)


@forms
def test_an_output_becomes_its_best_classes(server: Server, binary: bool) -> None:
    x = given("x", "FP32", SCORES, binary=binary)
    result = infer(server, "labelled", x, outputs=[wanted("y", binary=binary, classes=2)])
    assert texts_of(result, "y") == [
        ["14.000000:1:dog", "7.000000:3"],
        ["1000000.000000:3", "3.000000:0:cat"],
    ]


def test_a_request_id_and_parameters_are_taken(server: Server) -> None:
    x = given("x", "FP32", FLOATS, binary=True)
    result = infer(
        server, "echo", x, request_id="ü 1", priority=1, timeout=20_000_000, parameters={"a": "b"}
    )
    check_bits(result, "y", FLOATS)
    assert result.get_response()["id"] == "ü 1"


@pytest.mark.parametrize(
    ("model", "version", "status", "words"),
    [
        ("nobody", "", "404", "Request for unknown model: 'nobody' is not found"),
        ("echo", "9", "404", "Request for unknown model: 'echo' version 9 is not found"),
        ("fixed", "", "400", "unexpected shape for input 'x' for model 'fixed'"),
    ],
)
def test_a_refusal_is_an_exception_with_our_words(
    server: Server, model: str, version: str, status: str, words: str
) -> None:
    x = given("x", "FP32", FLOATS, binary=True)
    with pytest.raises(InferenceServerException) as refused:
        infer(server, model, x, model_version=version)
    assert refused.value.status() == status
    assert refused.value.message().startswith(words)
