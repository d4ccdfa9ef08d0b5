"""The protocol's checklist, line by line, over the lane and over ASGI, by real models.

Framing (chapter 17), and what is refused before a path is known, are in tests/badinput;
clients, in the files beside this one.
"""

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import orjson
import pytest

from gateway import __version__
from gateway.app.policies import routes_of
from gateway.app.rooms import open_replica
from gateway.config import Config
from gateway.config.tables import DialectsConfig
from gateway.wire.grammar import read_request_line
from gateway.wire.heads import HeadCache
from gateway.wire.port import Port
from tests.conformance.asked import (
    ECHO,
    LENGTH,
    Line,
    answered,
    ask,
    body,
    get,
    gives,
    post,
    refused,
    shows,
    tensor,
    x,
)
from tests.laws.test_lane_equals_asgi import Both
from tests.wire.harness import Answer, listening
from tests.zoo import write_zoo

NO_MODEL = "Request for unknown model: 'nobody' is not found"
FREE = "/v2/models/free/infer"
FLOATS = struct.pack("<4f", 1, 2.5, -3, 0)
ROW = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
BLOB = {**ROW, "parameters": {"binary_data_size": 16}}
PAIR = [
    {"name": "a", "shape": [1, 2], "datatype": "INT32", "data": [1, 2]},
    {"name": "b", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]},
]
ALL_BINARY = {"binary_data_output": True}


def binary(head: dict[str, object], blobs: bytes, **headers: str) -> tuple[bytes, dict[str, str]]:
    """A request with a JSON part and what follows it."""
    text = orjson.dumps(head)
    return text + blobs, {LENGTH: str(len(text)), **headers}


def blob(line: str, sentence: str, head: dict[str, object], blobs: bytes, *words: str) -> Line:
    said, headers = binary(head, blobs)
    return refused(line, sentence, post(ECHO, said, **headers), *words)


def is_binary(answer: Answer) -> bool:
    start = int(answer.headers[LENGTH])
    told = json.loads(answer.body[:start])
    sizes = [one["parameters"]["binary_data_size"] for one in told["outputs"]]
    return (
        answer.headers["content-type"] == "application/octet-stream"
        and not any("data" in one for one in told["outputs"])
        and sum(sizes) == len(answer.body) - start
        and answer.body[start:] == FLOATS
    )


def of(kind: str, *data: object, **members: object) -> bytes:
    return body(tensor(kind, data), **members)


def kind_path(kind: str) -> str:
    return f"/v2/models/of_{kind.lower()}/infer"


def keeps(kind: str, *data: object) -> Line:
    return gives("T2", f"{kind} keeps {data}", post(kind_path(kind), of(kind, *data)), list(data))


def loses(line: str, kind: str, *data: object) -> Line:
    asked = post(kind_path(kind), of(kind, *data))
    return refused(line, f"{kind} refuses {data[0]!r}", asked, "$.inputs[0].data")


ERRORS = [
    refused("E4", "no such path", get("/nowhere"), "Not Found", status=404, code="not_found"),
    refused("E4", "a wrong method", get("/v2", "POST"), status=405, code="method_not_allowed"),
    refused("E4", "no explanation", post("/v1/models/echo:explain", b"{}"),
            status=501, code="not_implemented"),
    refused("E5", "malformed JSON", post(ECHO, b'{"inputs":'), code="malformed"),
    refused("E5", "a tensor that does not fit", post(ECHO, body(x(shape=[1, 3]))),
            code="invalid_tensor"),
    refused("E7", "br", post(ECHO, body(), content_encoding="br"), status=415,
            code="unsupported_media_type"),
    refused("E9", "a name is quoted, not echoed in a header", post("/v2/models/nobody/infer", b""),
            "'nobody'", status=404, code="unknown_model"),
]  # fmt: skip

ROUTES = [
    shows("R1", "the server's name", get("/v2"), name="gateway", version=__version__),
    answered("R2", "what it can", get("/v2/"), {
        "name": "gateway", "version": __version__,
        "extensions": ["binary_tensor_data", "classification", "model_configuration",
                       "model_repository", "parameters", "schedule_policy", "statistics"]}),
    answered("R3", "it lives", get("/v2/health/live"), {"live": True}),
    answered("R3", "it is ready", get("/v2/health/ready"), {"ready": True}),
    answered("R3", "a model is ready", get("/v2/models/echo/ready"),
             {"name": "echo", "ready": True}),
    answered("R3", "a version is ready", get("/v2/models/echo/versions/1/ready"),
             {"name": "echo", "ready": True}),
    refused("R3", "nobody is not", get("/v2/models/nobody/ready"), NO_MODEL, status=404),
    answered("R4", "a query is ignored", get("/v2/health/live?x=%zz&y"), {"live": True}),
    refused("R5", "a trailing slash", get("/v2/models/echo/"), status=404, code="not_found"),
    refused("R6", "paths have their case", get("/V2"), "Not Found", status=404),
    refused("R6", "an empty segment", get("/v2/models//ready"), status=404),
    shows("R7", "a name is decoded once", get("/v2/models/%65cho/ready"), name="echo"),
    shows("R7", "a space", get("/v2/models/two%20words/ready"), name="two words"),
    refused("R7", "a slash splits nothing", get("/v2/models/a%2Fb/ready"), "'a/b'", status=404),
    refused("R7", "a bad escape", get("/v2/models/%zz/ready"), "bad percent escape"),
    refused("R7", "no UTF-8", get("/v2/models/%ff/ready"), "not UTF-8"),
    refused("R8", "two dots", get("/v2/models/%2E%2E/ready"), status=404),
    Line("R9", "OPTIONS", get("/v2", "OPTIONS"), 204,
         lambda answer: answer.headers["allow"] == "GET, HEAD" and not answer.body),
    Line("R9", "HEAD", get("/v2/models", "HEAD"), 200,
         lambda answer: not answer.body and int(answer.headers["content-length"]) > 0),
    Line("R9", "TRACE", get("/v2", "TRACE"), 405, lambda answer: "allow" in answer.headers),
    shows("R12", "digits are a number", get("/v2/models/echo/versions/01/ready"), name="echo"),
    refused("R12", "an unknown version", get("/v2/models/echo/versions/9"),
            "Request for unknown model: 'echo' version 9 is not found", status=404,
            code="unknown_version"),
    refused("R12", "a malformed version", post("/v2/models/echo/versions/a%20b/infer", body()),
            status=404, code="unknown_version"),
]  # fmt: skip

METADATA = [
    answered("M1", "all of it", get("/v2/models/echo"), {
        "name": "echo", "versions": ["1"], "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]}),
    shows("M1", "of a version", get("/v2/models/echo/versions/1"), versions=["1"]),
    shows("M2", "open axes", get("/v2/models/free"),
          inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, -1]}]),
    shows("M4", "no batch axis is guessed", get("/v2/models/fixed"),
          inputs=[{"name": "x", "datatype": "FP32", "shape": [3]}]),
    shows("G1", "its configuration", get("/v2/models/echo/config"), name="echo", max_batch_size=8,
          platform="onnxruntime_onnx", backend="onnxruntime"),
    Line("G2", "nothing that clients would change their load for", get("/v2/models/echo/config"),
         200, lambda answer: not {"sequence_batching", "ensemble_scheduling",
                                  "model_transaction_policy"} & set(answer.json)),
]  # fmt: skip

REQUESTS = [
    *(gives("I1", f"read as {kind}", post(ECHO, body(), content_type=kind), [1, 2.5, -3, 0])
      for kind in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream")),
    gives("I3", "unknown members", post(ECHO, body(foo=1, model_name="z")), [1, 2.5, -3, 0]),
    gives("I3", "the last of duplicates", post(ECHO, body()[:-1] + b',"id":"a","id":"b"}'),
          [1, 2.5, -3, 0]),
    refused("I3", "no object", post(ECHO, b"[]"), "expected a JSON object"),
    refused("I3", "no inputs", post(ECHO, b"{}"), "$.inputs"),
    refused("I4", "too deep", post(ECHO, b"[" * 101), "JSON nesting depth exceeds maximum allowed "
            "limit (100)"),
    refused("I4", "250,000 brackets", post(ECHO, b"[" * 250_000), "JSON nesting depth"),
    shows("I5", "an id comes back", post(ECHO, body(id="ünï\n")), id="ünï\n"),
    Line("I5", "an empty id is none", post(ECHO, body(id="")), 200,
         lambda answer: "id" not in answer.json),
    refused("I5", "a number", post(ECHO, body(id=5)), "$.id: expected a string, got 5"),
    refused("I5", "too long", post(ECHO, body(id="é" * 513)), "$.id", "1026"),
    *(refused("I6", f"a shape with {size!r}", post(ECHO, body(x(shape=[1, size]))),
              "$.inputs[0].shape[1]") for size in (1.0, -5, "1", None, True)),
    refused("I6", "a negative axis", post(ECHO, body(x(shape=[-1, 4]))),
            "attempt to access JSON non-unsigned-integer as unsigned-integer"),
    refused("I6", "no data", post(ECHO, body(x(data=None))),
            "Input must set only one of the following fields"),
    refused("I6", "shared memory", post(ECHO, body(x(parameters={"shared_memory_region": "a"}))),
            "shared memory is not supported"),
    gives("I7", "any order", post("/v2/models/pair/infer", body(*reversed(PAIR))),
          [2, 4], [2, 4, 6]),
    refused("I7", "missing", post("/v2/models/pair/infer", body(PAIR[0])),
            "expected 2 inputs but got 1 inputs for model 'pair'. Got input(s) ['a'], but missing "
            "required input(s) ['b']. Please provide all required input(s)."),
    refused("I7", "unknown", post(ECHO, body(x(name="z"))),
            "unexpected inference input 'z' for model 'echo'"),
    refused("I7", "twice", post(ECHO, body(x(), x())), "input 'x' already exists in request"),
    refused("I7", "another datatype", post(ECHO, body(x(datatype="INT32"))),
            "inference input 'x' data-type is 'INT32', but model 'echo' expects 'FP32'"),
    gives("I8", "nested", post(ECHO, body(x(data=[[1, 2.5, -3, 0]]))), [1, 2.5, -3, 0]),
    refused("I8", "ragged", post(ECHO, body(x(shape=[2, 4], data=[[1, 2, 3], [4, 5, 6, 7, 8]]))),
            "Shape does not match true shape of 'data' field"),
    refused("I8", "a count too few", post(ECHO, body(x(data=[1]))),
            "Shape does not match true shape of 'data' field"),
    refused("I9", "exact, and before anything is allocated",
            post(FREE, body(x(shape=[1, 2**40], data=[1]))), "$.inputs[0].shape"),
    refused("I9", "beyond all numbers", post(FREE, body(x(shape=[2**40, 2**40]))),
            "causes total element count to exceed maximum size of"),
    refused("I10", "batch 0", post(ECHO, body(x(shape=[0, 4], data=[]))),
            "inference request batch-size must be"),
    refused("I10", "batch 9 of 8", post(ECHO, body(x(shape=[9, 4], data=[0] * 36))),
            "inference request batch-size must be <= 8 for 'echo'"),
    refused("I10", "a batch axis of a model that has none",
            post("/v2/models/fixed/infer", body(x(shape=[1, 3], data=[1, 2, 3]))),
            "unexpected shape for input 'x' for model 'fixed'. Expected [3], got [1,3]"),
    refused("I10", "batches that differ", post("/v2/models/pair/infer", body(
        PAIR[0], {**PAIR[1], "shape": [2, 3], "data": [0] * 6})),
        "batch size does not match other inputs for 'pair'"),
    gives("I11", "rank 0", post("/v2/models/scalar/infer", body(x(shape=[], data=[7]))), [7]),
    gives("I11", "no elements", post("/v2/models/free/infer", body(x(shape=[1, 0], data=[]))), []),
    gives("I12", "no outputs named", post(ECHO, body(outputs=[])), [1, 2.5, -3, 0]),
    gives("I12", "a subset, in the model's order", post("/v2/models/pair/infer", body(
        *PAIR, outputs=[{"name": "twice_b"}, {"name": "twice_a"}])), [2, 4], [2, 4, 6]),
    refused("I12", "unknown", post(ECHO, body(outputs=[{"name": "z"}])),
            "unexpected inference output 'z' for model 'echo'"),
    refused("I12", "twice", post(ECHO, body(outputs=[{"name": "y"}] * 2)),
            "output 'y' already exists in request"),
    refused("I12", "null", post(ECHO, body(outputs=None)), "$.outputs"),
    refused("I12", "null parameters", post(ECHO, body(parameters=None)), "$.parameters"),
    gives("I13", "parameters of one's own", post(ECHO, body(parameters={"a": 1, "b": "c"})),
          [1, 2.5, -3, 0]),
    refused("I13", "an object", post(ECHO, body(parameters={"a": {}})),
            "parameter 'a' has invalid type"),
    refused("I13", "a reserved key", post(ECHO, body(parameters={"triton_x": 1})),
            "reserved for Triton usage"),
]  # fmt: skip

TYPES = [
    refused("T1", "lower case", post(ECHO, body(x(datatype="fp32"))), "invalid datatype for input"),
    refused("T1", "STRING", post(ECHO, body(x(datatype="STRING"))), "invalid datatype for input x"),
    keeps("INT64", 2**63 - 1, 2**53 + 1), keeps("UINT64", 2**64 - 1, 2**53 + 1),
    keeps("INT8", -128, 127), keeps("BOOL", True, False), keeps("BYTES", "a\0b", "ü"),
    loses("T2", "INT32", 2**31, 0), loses("T2", "UINT8", 256, 0), loses("T2", "UINT8", -1, 0),
    loses("T2", "INT8", 1.0, 0), loses("T2", "INT8", "1", 0), loses("T2", "INT8", True, 0),
    loses("T2", "BOOL", 0, 1), loses("T2", "BYTES", 5, "a"), loses("T2", "FP64", "1", 0),
    loses("T2", "FP64", None, 0),
    refused("T2", "1e300 for FP32", post(ECHO, body(x(data=[1e300, 0, 0, 0]))), "FP32"),
    refused("T2", "1e999", post(ECHO, body().replace(b"2.5", b"1e999")), "$"),
    refused("T3", "FP16 in", post(kind_path("FP16"), of("FP16", 1, 2)),
            "receiving FP16 data via JSON is not supported", "JSON"),
    Line("T4", "tokens", post(ECHO, body().replace(b"1, 2.5, -3", b"NaN, Infinity, -Infinity")),
         200,         lambda answer: b'"data":[NaN,Infinity,-Infinity,0.0]' in answer.body),
    gives("T5", "FP64 to its last bit",
          post(kind_path("FP64"), of("FP64", 5e-324, 1.7976931348623157e308)),
          [5e-324, 1.7976931348623157e308]),
    Line("T5", "minus nothing", post(kind_path("FP64"), of("FP64", -0.0, 0.0)), 200,
         lambda answer: b'"data":[-0.0,0.0]' in answer.body),
]  # fmt: skip

_MIXED, _MIXED_HEADERS = binary({"inputs": [BLOB], "parameters": ALL_BINARY}, FLOATS)
_LISTED, _LISTED_HEADERS = binary(
    {"inputs": [BLOB], "outputs": [{"name": "y"}], "parameters": ALL_BINARY}, FLOATS
)
_NAMED, _NAMED_HEADERS = binary(
    {"inputs": [BLOB], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}, FLOATS
)
_FLAGS, _FLAGS_HEADERS = binary(
    {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "BOOL",
                 "parameters": {"binary_data_size": 2}}]}, b"\1\2"
)  # fmt: skip
BINARY = [
    gives("B1", "all of it JSON", post(ECHO, body(), **{LENGTH: str(len(body()))}),
          [1, 2.5, -3, 0]),
    *(refused("B2", f"a length of {text}", post(ECHO, body(), **{LENGTH: text}))
      for text in ("x", "-1", "99999999999", "1.5", "")),
    blob("B3", "both sources", {"inputs": [{**BLOB, "data": [1]}]}, FLOATS, "Input must set only"),
    refused("B3", "no header", post(ECHO, body(BLOB)), LENGTH.title()),
    refused("B4", "a BOOL of 2", post(kind_path("BOOL"), _FLAGS, **_FLAGS_HEADERS), "0 or 1"),
    blob("B6", "another size", {"inputs": [{**ROW, "parameters": {"binary_data_size": 12}}]},
         FLOATS[:12], "byte size mismatch for input 'x' for model 'echo'. Expected 16, got 12"),
    blob("B6", "a short body", {"inputs": [BLOB]}, FLOATS[:12],
         "unexpected size for input 'x', expecting 4 additional bytes"),
    blob("B6", "bytes left over", {"inputs": [BLOB]}, FLOATS + b"x",
         "unexpected additional input data for model 'echo'"),
    gives("B7", "listed is JSON", post(ECHO, _LISTED, **_LISTED_HEADERS), [1, 2.5, -3, 0]),
    Line("B7", "unlisted is binary", post(ECHO, _MIXED, **_MIXED_HEADERS), 200, is_binary),
    Line("B8", "asked for by name", post(ECHO, _NAMED, **_NAMED_HEADERS), 200, is_binary),
    Line("B8", "nothing but no bytes is JSON", post("/v2/models/free/infer", body(
        x(shape=[1, 0], data=[]), parameters=ALL_BINARY)), 200,
        lambda answer: LENGTH not in answer.headers
        and answer.json["outputs"][0]["parameters"] == {"binary_data_size": 0}),
    Line("B9", "raw", post(ECHO, FLOATS, **{LENGTH: "0"}), 200, is_binary),
    refused("B9", "raw of two inputs", post("/v2/models/pair/infer", FLOATS, **{LENGTH: "0"}),
            "must only have 1 input (found 1) to be deduced but got 2 inputs in 'pair'"),
    refused("B9", "raw of two open axes", post("/v2/models/free/infer", FLOATS, **{LENGTH: "0"}),
            "can not be deduced because there are more than one variable-sized dimension"),
    refused("B9", "raw of strings", post(kind_path("BYTES"), b"a", **{LENGTH: "0"}),
            "the model must have input shape [1]"),
    Line("B10", "packed", post(ECHO, gzip.compress(_MIXED), content_encoding="gzip",
         **_MIXED_HEADERS), 200, is_binary),
]  # fmt: skip

REPLIES = [
    answered("O1", "all its members", post(ECHO, body(id="7")), {
        "model_name": "echo", "model_version": "1", "id": "7", "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 2.5, -3.0, 0.0]}]}),
    shows("O2", "the version that ran", post("/v2/models/echo/versions/01/infer", body()),
          model_name="echo", model_version="1"),
    gives("C1", "gzip", post(ECHO, gzip.compress(body()), content_encoding="GZIP"),
          [1, 2.5, -3, 0]),
    gives("C1", "deflate", post(ECHO, zlib.compress(body()), content_encoding="deflate"),
          [1, 2.5, -3, 0]),
    refused("C1", "raw deflate", post(ECHO, zlib.compress(body())[2:-4],
            content_encoding="deflate"), "deflate"),
    refused("C1", "truncated", post(ECHO, gzip.compress(body())[:-5],
            content_encoding="gzip"), "gzip"),
    refused("E6", "a bomb", post(ECHO, gzip.compress(bytes(65 << 20)), content_encoding="gzip"),
            "exceeds the maximum allowed input size of", status=413, code="too_large"),
    Line("C2", "never packed out", post(ECHO, body(), accept_encoding="gzip, br"), 200,
         lambda answer: "content-encoding" not in answer.headers),
    gives("P1", "a timeout of nothing is none", post(ECHO, body(parameters={"timeout": 0})),
          [1, 2.5, -3, 0]),
    *(refused("P1", f"a timeout of {value!r}", post(ECHO, body(parameters={"timeout": value})),
              "$.parameters.timeout") for value in (-1, 1.5, "5")),
    gives("P2", "any priority", post(ECHO, body(parameters={"priority": 99})), [1, 2.5, -3, 0]),
    *(refused("P2", f"a priority of {value!r}", post(ECHO, body(parameters={"priority": value})),
              "$.parameters.priority") for value in (-1, "high")),
    *(refused("P3", f"{key}", post(ECHO, body(parameters={key: value})),
              "sequences are not supported")
      for key, value in (("sequence_id", 7), ("sequence_start", True), ("sequence_end", True))),
    gives("P3", "no sequence", post(ECHO, body(parameters={"sequence_id": 0})), [1, 2.5, -3, 0]),
    refused("P4", "a flag in words", post(ECHO, body(parameters={"binary_data_output": "yes"}))),
    gives("P8", "two classes", post(ECHO, body(outputs=[
        {"name": "y", "parameters": {"classification": 2}}])), ["2.500000:1", "1.000000:0"]),
    gives("P8", "none is the output", post(ECHO, body(outputs=[
        {"name": "y", "parameters": {"classification": 0}}])), [1, 2.5, -3, 0]),
    refused("P8", "in words", post(ECHO, body(outputs=[
        {"name": "y", "parameters": {"classification": "2"}}]))),
    refused("P9", "of strings", post(kind_path("BYTES"), of("BYTES", "a", "b", outputs=[
        {"name": "y", "parameters": {"classification": 2}}])),
        "class result not available for output due to unsupported type 'BYTES'"),
]  # fmt: skip

_NO_FLAGS: tuple[object, ...] = (1, "true", None, [])
REPOSITORY = [
    refused("S1", "statistics of nobody", get("/v2/models/nobody/stats"),
            "requested model 'nobody' is not available", status=404),
    refused("S1", "of an unknown version", get("/v2/models/echo/versions/9/stats"),
            "requested model version is not available for model 'echo'", status=404),
    Line("S1", "every version has a row", get("/v2/models/stats"), 200,
         lambda answer: len(answer.json["model_stats"]) > 15),
    *(Line("D1", f"an index for {said!r}", post("/v2/repository/index", said), 200,
           lambda answer: all(set(row) == {"name", "version", "state", "reason"}
                              for row in answer.json))
      for said in (b"", b"{}", b'{"ready":true}')),
    *(refused("D1", f"ready {value!r}", post("/v2/repository/index",
              json.dumps({"ready": value}).encode()),
              "Invalid value for 'ready': expected a boolean") for value in _NO_FLAGS),
    *(refused("D3", verb, post(f"/v2/repository/models/echo/{verb}", b""),
              "explicit model load / unload is not allowed if polling is enabled", status=403,
              code="forbidden") for verb in ("load", "unload")),
]  # fmt: skip

OTHERS = [
    answered("K1", "by version", post("/v1/models/echo/versions/1:predict",
             b'{"instances":[[1,2,3,4]]}'), {"predictions": [[1, 2, 3, 4]]}),
    answered("K1", "an escaped colon", post("/v1/models/echo%3Apredict",
             b'{"instances":[[1,2,3,4]]}'), {"predictions": [[1, 2, 3, 4]]}),
    answered("K2", "several outputs", post("/v1/models/pair:predict",
             b'{"instances":[{"a":[1,2],"b":[1,2,3]}]}'),
             {"predictions": [{"twice_a": [2, 4], "twice_b": [2, 4, 6]}]}),
    answered("K3", "columns", post("/v1/models/echo:predict", b'{"inputs":{"x":[[1,2,3,4]]}}'),
             {"predictions": [[1, 2, 3, 4]]}),
    refused("K4", "both", post("/v1/models/echo:predict", b'{"inputs":1,"instances":1}'), "both"),
    refused("K4", "no body", post("/v1/models/echo:predict", b"")),
    refused("K5", "a float for an integer", post("/v1/models/of_int8:predict",
            b'{"instances":[[1.5,2]]}'), "$.instances[0][0]"),
    shows("K6", "a model", get("/v1/models/echo"), name="echo", ready=True),
    refused("K6", "nobody", get("/v1/models/nobody"), NO_MODEL, status=404),
    answered("K7", "cloud events do no harm", post("/v1/models/echo:predict",
             b'{"instances":[[1,2,3,4]]}', ce_id="7", ce_specversion="1.0"),
             {"predictions": [[1, 2, 3, 4]]}),
    answered("N2", "V2", post("/invocations", body(), content_type="application/json"), {
        "model_name": "echo", "model_version": "1", "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 2.5, -3.0, 0.0]}]}),
    answered("N4", "a frame", post("/invocations",
             b'{"dataframe_records":[{"a":1,"b":2,"c":3,"d":4}]}', content_type="application/json"),
             {"predictions": [[1, 2, 3, 4]]}),
    Line("N4", "csv", post("/invocations", b"a,b,c,d\n1,2.5,-3,0\n", content_type="text/csv"), 200,
         lambda answer: answer.json == {"predictions": [[1.0, 2.5, -3.0, 0.0]]}),
    refused("N4", "text", post("/invocations", b"1,2", content_type="text/plain"), status=415),
    Line("N6", "a ping", get("/ping"), 200, lambda answer: answer.body == b"\n"),
    Line("N6", "the version", get("/version"), 200,
         lambda answer: answer.body.decode() == __version__),
]  # fmt: skip

LINES = [*ERRORS, *ROUTES, *METADATA, *REQUESTS, *TYPES, *BINARY, *REPLIES, *REPOSITORY, *OTHERS]


@asynccontextmanager
async def both(config: Config) -> AsyncIterator[Both]:
    async with open_replica(config) as replica:
        read_line = partial(read_request_line, routes=routes_of(config))
        heads = HeadCache(replica.policy.heads, read_line=read_line)
        port = Port(replica.intake, replica.rest, replica.policy, heads, set(), set(), lambda: 1.0)
        async with listening(port) as address:
            asking = Both(port, address)
            yield asking
            await asking.close()


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Both]]:
    models: Path = write_zoo(tmp_path_factory.mktemp("lines"))
    config = Config(models=models, dialects=DialectsConfig(default_model="echo"))

    with asyncio.Runner() as runner:
        scene = both(config)
        yield runner, runner.run(scene.__aenter__())
        runner.run(scene.__aexit__(None, None, None))


@pytest.mark.parametrize("line", LINES, ids=[line.title for line in LINES])
def test_a_line_of_the_checklist(stand: tuple[asyncio.Runner, Both], line: Line) -> None:
    ask(*stand, line)


def test_no_line_is_proved_twice_by_one_request() -> None:
    assert len({(line.line, line.asked) for line in LINES}) == len(LINES)
