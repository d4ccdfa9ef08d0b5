"""Bad requests that are well framed: what they are sent to, and what their headers ask."""

import gzip
from collections.abc import Sequence

from tests.badinput.rows import ECHO, LENGTH, MAX_BODY_BYTES, Row, body, goes_on
from tests.server import get, request


def _nowhere(sentence: str, target: str, method: str = "POST") -> Row:
    raw = request(target, body() if method == "POST" else b"", method=method)
    return goes_on(sentence, raw, "Not Found", status=404, code="not_found")


def _unknown_model(sentence: str, target: str, name: str, method: str = "POST") -> Row:
    raw = request(target, body() if method == "POST" else b"", method=method)
    words = f"Request for unknown model: '{name}' is not found"
    return goes_on(sentence, raw, words, status=404, code="unknown_model")


def _unknown_version(sentence: str, version: str, shown: str | None = None) -> Row:
    raw = request(f"/v2/models/echo/versions/{version}/infer", body())
    words = f"Request for unknown model: 'echo' version {shown or version} is not found"
    return goes_on(sentence, raw, words, status=404, code="unknown_version")


def _not_allowed(method: str, target: str, allowed: str) -> Row:
    return goes_on(
        f"{method} {target}", request(target, method=method),
        f"method {method} is not allowed here: expected one of", allowed,
        status=405, code="method_not_allowed",
    )  # fmt: skip


def _escape(sentence: str, escape: str) -> Row:
    return goes_on(sentence, request(f"/v2/models/{escape}/infer", body()), "request path", escape)


def _asking(sentence: str, *headers: str) -> Row:
    """A header of an inference that cannot be read."""
    name, _, value = headers[0].partition(":")
    return goes_on(sentence, request(ECHO, body(), headers), name, value.strip())


PATHS: Sequence[Row] = (
    _nowhere("a path nobody serves", "/nowhere"),
    _nowhere("a path in capitals", "/V2/models/echo/infer"),
    _nowhere("a slash at the end", ECHO + "/"),
    _nowhere("a slash at the begin", "/" + ECHO),
    _nowhere("a slash in the middle", "/v2//models/echo/infer"),
    _nowhere("a list of models with a slash", "/v2/models/", "GET"),
    _nowhere("no model", "/v2/models//infer"),
    _nowhere("no version", "/v2/models/echo/versions//infer"),
    _nowhere("the folder above", "/v2/models/../infer"),
    _nowhere("the folder above, encoded", "/v2/models/%2e%2e/infer"),
    _nowhere("this folder", "/v2/models/./infer"),
    _nowhere("a model with a slash in its name", "/v2/models/a%2Fb/infer"),
    _nowhere("a model with a backslash in its name", "/v2/models/a%5Cb/infer"),
    _nowhere("a model with a NUL in its name", "/v2/models/a%00/infer"),
    _nowhere("a model with a line break in its name", "/v2/models/a%0d%0aX-Evil:1/infer"),
    _nowhere("a model whose name is too long", f"/v2/models/{'a' * 257}/infer"),
    _nowhere("the model named stats", "/v2/models/stats/infer"),
    _nowhere("metrics, which have another port", "/metrics", "GET"),
    _nowhere("the admin API, which has another port", "/admin/v1/models", "GET"),
    _nowhere("settings of the log", "/v2/logging", "GET"),
    _nowhere("shared memory", "/v2/systemsharedmemory/status", "GET"),
    _nowhere("generation of text", "/v2/models/echo/generate"),
    _nowhere("a word after the verb", ECHO + "/now"),
    _nowhere("the server as a whole", "*"),
    _escape("an escape that is none", "%zz"),
    _escape("half an escape", "a%2"),
    _escape("a lonely per cent", "100%"),
    _escape("an escape of no UTF-8", "%FF"),
    _escape("an overlong escape", "%C0%80"),
    _escape("an escaped surrogate", "%ED%A0%80"),
    goes_on("a bad escape in a GET", get("/%zz"), "request path: bad percent escape"),
)  # fmt: skip

NAMES: Sequence[Row] = (
    _unknown_model("a model nobody has", "/v2/models/nobody/infer", "nobody"),
    _unknown_model("a model by its name in capitals", "/v2/models/ECHO/infer", "ECHO"),
    _unknown_model("a name that was escaped twice", "/v2/models/%2565cho/infer", "%65cho"),
    _unknown_model("a name in Greek", "/v2/models/%CE%B1/infer", "α"),
    _unknown_model("a name with a space", "/v2/models/echo%20/infer", "echo "),
    _unknown_model("metadata of a model nobody has", "/v2/models/nobody", "nobody", "GET"),
    _unknown_model("readiness of a model nobody has", "/v2/models/nobody/ready", "nobody", "GET"),
    _unknown_version("a version nobody has", "2"),
    _unknown_version("version 0", "0"),
    _unknown_version("a negative version", "-1"),
    _unknown_version("a version with a point", "1.0"),
    _unknown_version("a version in words", "latest"),
    _unknown_version("a version too long", "1" * 5000),
    _unknown_version("a version with a space", "1%20", "1 "),
    _unknown_version("a version in Arabic digits", "%D9%A1", "١"),
    _unknown_version("a version that is the folder above", "..", ".."),
)

METHODS: Sequence[Row] = (
    _not_allowed("GET", ECHO, "POST"),
    _not_allowed("PUT", ECHO, "POST"),
    _not_allowed("PATCH", ECHO, "POST"),
    _not_allowed("DELETE", ECHO, "POST"),
    _not_allowed("TRACE", ECHO, "POST"),
    _not_allowed("POST", "/", "GET"),
    _not_allowed("POST", "/v2", "GET"),
    _not_allowed("POST", "/v2/health/live", "GET"),
    _not_allowed("PUT", "/v2/health/ready", "GET"),
    _not_allowed("POST", "/v2/models", "GET"),
    _not_allowed("DELETE", "/v2/models/echo", "GET"),
    _not_allowed("POST", "/v2/models/echo/versions/1/ready", "GET"),
    _not_allowed("TRACE", "/", "GET"),
)


def _coding(name: str) -> Row:
    return goes_on(
        f"content coding {name}", request(ECHO, body(), [f"Content-Encoding: {name}"]),
        "header content-encoding", name, status=415, code="unsupported_media_type",
    )  # fmt: skip


def _packed(sentence: str, said: bytes, coding: str, *words: str) -> Row:
    headers = [f"Content-Encoding: {coding}"]
    return goes_on(sentence, request(ECHO, said, headers), *(words or (f"expected {coding}",)))


TERMS: Sequence[Row] = (
    _coding("br"),
    _coding("zstd"),
    _coding("compress"),
    _coding("identity, br"),
    _asking("a timeout in words", "X-Request-Timeout-Ms: soon"),
    _asking("a timeout of nothing", "X-Request-Timeout-Ms: 0"),
    _asking("a timeout before now", "X-Request-Timeout-Ms: -5"),
    _asking("a timeout with an exponent", "X-Request-Timeout-Ms: 1e3"),
    _asking("a timeout that is no number", "X-Request-Timeout-Ms: NaN"),
    _asking("a timeout without end", "X-Request-Timeout-Ms: Infinity"),
    _asking("a timeout of years", "X-Request-Timeout-Ms: 99999999999"),
    _asking("an empty timeout", "X-Request-Timeout-Ms:"),
    _asking("two timeouts", "X-Request-Timeout-Ms: 5", "X-Request-Timeout-Ms: 5"),
    _asking("a priority in words", "X-Request-Priority: high"),
    _asking("a negative priority", "X-Request-Priority: -1"),
    _asking("half a priority", "X-Request-Priority: 1.5"),
    _asking("an empty priority", "X-Request-Priority:"),
    _asking("two priorities", "X-Request-Priority: 1", "X-Request-Priority: 2"),
    _asking("a priority that no machine can count", f"X-Request-Priority: {'9' * 40}"),
    _asking("a JSON part in words", f"{LENGTH}: all"),
    _asking("a negative JSON part", f"{LENGTH}: -1"),
    _asking("a JSON part with a point", f"{LENGTH}: 1.5"),
    _asking("a JSON part in hex", f"{LENGTH}: 0x10"),
    _asking("an empty length of the JSON part", f"{LENGTH}:"),
    _asking("a JSON part longer than the body", f"{LENGTH}: 99999"),
    _asking("a JSON part that no machine can count", f"{LENGTH}: {'9' * 40}"),
    goes_on(
        "no JSON part, and not the bytes of a row",
        request(ECHO, body(), [f"{LENGTH}: 0"]),
        "input byte size mismatch for input 'x' for model 'echo'. Expected 16, got",
        code="invalid_tensor",
    ),
    goes_on(
        "no JSON part for two inputs",
        request("/v2/models/pair/infer", bytes(8), [f"{LENGTH}: 0"]),
        "Raw request must only have 1 input (found 1) to be deduced but got 2 inputs in 'pair'",
        code="invalid_tensor",
    ),
    _packed("plain text in gzip", body(), "gzip"),
    _packed("plain text in deflate", body(), "deflate"),
    _packed("half of gzip", gzip.compress(body())[:-9], "gzip"),
    _packed("gzip and more", gzip.compress(body()) + b"more", "gzip"),
    _packed("gzip of nonsense", gzip.compress(b"{"), "gzip", "expected JSON text"),
    goes_on(
        "a bomb",
        request(ECHO, gzip.compress(bytes(64 << 20)), ["Content-Encoding: gzip"]),
        f"exceeds the maximum allowed input size of {MAX_BODY_BYTES} bytes",
        status=413,
        code="too_large",
    ),
    _asking("two lengths of the JSON part", f"{LENGTH}: 5", f"{LENGTH}: 6"),
)


def _index(sentence: str, said: bytes, *words: str, headers: Sequence[str] = ()) -> Row:
    return goes_on(sentence, request("/v2/repository/index", said, headers), *words)


def _control(verb: str, model: str, said: bytes = b"") -> Row:
    return goes_on(
        f"{verb} {model} with a body of {len(said)} bytes",
        request(f"/v2/repository/models/{model}/{verb}", said),
        "explicit model load / unload is not allowed if polling is enabled",
        status=403, code="forbidden",
    )  # fmt: skip


def _no_model(sentence: str, target: str) -> Row:
    words = "requested model 'nobody' is not available"
    return goes_on(sentence, get(target), words, status=404, code="unknown_model")


_READY = "Invalid value for 'ready': expected a boolean"
REPOSITORY: Sequence[Row] = (
    _index("an index of what is ready, as a text", b'{"ready":"true"}', _READY, "$.ready"),
    _index("an index of what is ready, as a number", b'{"ready":1}', _READY),
    _index("an index of what is ready, as nothing", b'{"ready":null}', _READY),
    _index("an index of what is ready, in a list", b'{"ready":[true]}', _READY),
    _index("an index of what is ready, deep", b'{"ready":%b1%b}' % (b"[" * 50, b"]" * 50), _READY),
    _index("an index asked for too deep", b"[" * 5000, "JSON nesting depth exceeds"),
    _index("an index asked for by a list", b"[]", "($)", "expected an object, got an array"),
    _index("an index asked for by half an object", b'{"ready":', "($)", "expected JSON text"),
    goes_on(
        "an index asked for in br",
        request("/v2/repository/index", b"{}", ["Content-Encoding: br"]),
        "header content-encoding", "br", status=415, code="unsupported_media_type",
    ),
    _index("an index asked for in what is no gzip", b"{}", "expected gzip",
           headers=["Content-Encoding: gzip"]),
    _control("load", "echo"),
    _control("load", "nobody", b"{}"),
    _control("load", "..", b"{"),
    _control("unload", "echo"),
    _control("unload", "echo", b'{"parameters":{"unload_dependents":true}}'),
    _no_model("statistics of a model nobody has", "/v2/models/nobody/stats"),
    _no_model("statistics of a version of that model", "/v2/models/nobody/versions/1/stats"),
    goes_on(
        "statistics of a version nobody has", get("/v2/models/echo/versions/2/stats"),
        "requested model version is not available for model 'echo'",
        status=404, code="unknown_version",
    ),
    _unknown_model("configuration of nobody's model", "/v2/models/nobody/config", "nobody", "GET"),
    _not_allowed("GET", "/v2/repository/index", "POST"),
    _not_allowed("GET", "/v2/repository/models/echo/load", "POST"),
    _not_allowed("POST", "/v2/models/stats", "GET"),
    _not_allowed("POST", "/v2/models/echo/config", "GET"),
)  # fmt: skip

TARGETS = (*PATHS, *NAMES, *METHODS, *TERMS, *REPOSITORY)
