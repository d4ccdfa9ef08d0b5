"""Bad requests in other dialects: V1's words, and the routes of containers."""

from collections.abc import Sequence

from tests.badinput.rows import Row, goes_on
from tests.server import request

_ECHO = "/v1/models/echo:predict"
_PAIR = "/v1/models/pair:predict"
_UNKNOWN = "Request for unknown model: 'nobody' is not found"
_BRACKETS = 250_000


def _v1(sentence: str, said: str, *words: str, path: str = _ECHO) -> Row:
    return goes_on(f"V1: {sentence}", request(path, said.encode()), *words)


def _unfit(sentence: str, said: str, *words: str, path: str = _ECHO) -> Row:
    raw = request(path, said.encode())
    return goes_on(f"V1: {sentence}", raw, *words, code="invalid_tensor")


def _invoke(sentence: str, said: str, *words: str, media: str = "application/json") -> Row:
    raw = request("/invocations", said.encode(), [f"Content-Type: {media}"])
    return goes_on(f"invocations: {sentence}", raw, *words)


def _media(media: str) -> Row:
    return goes_on(
        f"invocations: {media}",
        request("/invocations", b'{"inputs":[[1,2,3,4]]}', [f"Content-Type: {media}"]),
        "header content-type", status=415, code="unsupported_media_type",
    )  # fmt: skip


def _size(size: str) -> Row:
    media = f"application/vnd.sagemaker-triton.binary+json;json-header-size={size}"
    return _invoke(f"a header of {size} bytes", "{}", media=media)


DIALECTS: Sequence[Row] = (
    _v1("no body", "", "$", "got an empty body"),
    _v1("a list", "[]", "$", "expected a JSON object, got an array"),
    _v1("neither rows nor columns", "{}", "$", "expected one of instances and inputs, got neither"),
    _v1("both", '{"instances":[],"inputs":[]}', "got both"),
    _v1("rows that are none", '{"instances":5}', "$.instances: expected an array of rows, got 5"),
    _v1("another signature", '{"instances":[],"signature_name":"x"}', "$.signature_name"),
    _v1("too deep", '{"instances":' + "[" * _BRACKETS, "JSON nesting depth exceeds"),
    _v1("a row that is no object", '{"instances":[{"x":[1,2,3,4]},5]}', "$.instances[1]"),
    _unfit("no rows", '{"instances":[]}', "unexpected shape for input 'x'", "($.instances)"),
    _unfit("a short row", '{"instances":[[1,2,3]]}', "Expected [-1,4], got [1,3] ($.instances)"),
    _unfit("ragged rows", '{"instances":[[1,2,3,4],[1,2]]}', "arrays nested otherwise"),
    _unfit("a string", '{"instances":[[1,2,3,"4"]]}', "$.instances[0][3]: expected a number"),
    _unfit("too many rows", f'{{"instances":[{",".join(["[1,2,3,4]"] * 9)}]}}', "must be <= 8"),
    _unfit("an unknown input", '{"instances":[{"y":1}]}', "$.instances[0]: expected the inputs"),
    _unfit("no names", '{"inputs":[1]}', "expected objects with the inputs", path=_PAIR),
    _unfit("a column less", '{"inputs":{"a":[[1,2]]}}', "$.inputs: expected the", path=_PAIR),
    goes_on("V1: of nobody", request("/v1/models/nobody:predict", b"{}"), _UNKNOWN,
            status=404, code="unknown_model"),
    goes_on("V1: explain", request("/v1/models/echo:explain", b"{}"), "explanations",
            status=501, code="not_implemented"),
    goes_on("V1: a prediction by PUT", request(_ECHO, b"{}", method="PUT"), "POST",
            status=405, code="method_not_allowed"),
    _invoke("no body", "", "got an empty body"),
    _invoke("nothing known", "{}", "expected one of ['dataframe_split','dataframe_records'"),
    _invoke("two forms", '{"inputs":1,"instances":1}', "got ['instances','inputs']"),
    _invoke("a frame without columns", '{"dataframe_split":{"data":[]}}', "$.dataframe_split.col"),
    _invoke("records that differ", '{"dataframe_records":[{"a":1},{"b":1}]}', "records[1]"),
    _size("-1"),
    _size("x"),
    _size("99999"),
    _media("text/csv; charset=latin-1"),
    _media("text/plain"),
    _invoke("no line of CSV", "", "expected CSV, got no line with columns", media="text/csv"),
    _invoke("CSV that ends in a quote", 'a,b\n1,"2', "expected CSV, got", media="text/csv"),
    _invoke("CSV with a name twice", "a,a\n1,2\n", "csv.columns", media="text/csv"),
    _invoke("CSV with a short row", "a,b\n1\n", "csv.data[0]", media="text/csv"),
    _media("application/json; charset=latin-1"),
    _media("application/json; format=split"),
)  # fmt: skip
