"""Bad requests whose body is no request: no JSON, or members of a wrong kind."""

from collections.abc import Sequence

from tests.badinput.rows import Row, body, goes_on, member, one, text, unfit
from tests.server import request

_JSON = "request body ($): expected JSON text"
_OBJECT = "request body ($): expected a JSON object"
_DEEP = "JSON nesting depth exceeds maximum allowed limit (100)"
_PARTS = "commas and opening brackets for model 'echo'"
_BRACKETS = 250_000
_GOOD = body()


def _element(raw: str) -> bytes:
    """Return a body whose last element is `raw`."""
    return _GOOD.replace(b"-3, 0]", b"-3, " + raw.encode() + b"]")


def _nested(levels: int) -> bytes:
    inner = "[" * levels + "]" * levels
    return _GOOD[:-1] + b', "more": ' + inner.encode() + b"}"


TEXTS: Sequence[Row] = (
    text("no body", b"", _OBJECT, "got an empty body"),
    text("spaces alone", b"   ", _JSON),
    text("a megabyte of spaces, nearly", b" " * 1_000_000, _JSON),
    text("null", "null", _OBJECT, "got null"),
    text("a number", "1", _OBJECT, "got 1"),
    text("a string", '"inputs"', _OBJECT, 'got string "inputs"'),
    text("true", "true", _OBJECT, "got true"),
    text("an array", "[]", _OBJECT, "got an array"),
    text("half a request", _GOOD[:-10], _JSON),
    text("a request and a half", _GOOD + _GOOD[:10], _JSON),
    text("two requests", _GOOD + b"\n" + _GOOD, _JSON),
    text("a comma too many", _GOOD.replace(b"0]", b"0,]"), _JSON),
    text("a comma too few", _GOOD.replace(b", ", b" ", 1), _JSON),
    text("a colon too few", _GOOD.replace(b": ", b" ", 1), _JSON),
    text("single quotes", _GOOD.replace(b'"', b"'"), _JSON),
    text("keys without quotes", "{inputs: []}", _JSON),
    text("a comment", b"/* hello */" + _GOOD, _JSON),
    text("an end of line as a comment", _GOOD + b"// bye", _JSON),
    text("a key that is a number", "{1: []}", _JSON),
    text("a form", "inputs=x&id=5", _JSON),
    text("XML", "<inputs/>", _JSON),
    text("a multipart body", "--a\r\nContent-Type: text/plain\r\n\r\n{}\r\n--a--", _JSON),
    text("bytes of no text", bytes(range(256)), _JSON),
    text("a NUL", b"\0", _JSON),
    text("a request and a NUL", _GOOD + b"\0", _JSON),
    text("a byte order mark", b"\xef\xbb\xbf" + _GOOD, _JSON),
    text("UTF-16", _GOOD.decode().encode("utf-16"), _JSON),
    text("Latin-1", '{"id": "ä"}'.encode("latin-1"), _JSON),
    text("overlong UTF-8", b'{"id": "\xc0\x80"}', _JSON),
    text("a surrogate in UTF-8", b'{"id": "\xed\xa0\x80"}', _JSON),
    text("half a surrogate pair", '{"id": "\\ud800"}', _JSON),
    text("an escape of no kind", '{"id": "\\x41"}', _JSON),
    text("half an escape", '{"id": "\\u00"}', _JSON),
    text("a line break in a string", '{"id": "a\nb"}', _JSON),
    text("a string that never ends", '{"id": "abc', _JSON),
    text("a number with a zero before", _element("01"), _JSON),
    text("a number with a plus", _element("+1"), _JSON),
    text("a number without a digit before the point", _element(".5"), _JSON),
    text("a number without a digit after the point", _element("1."), _JSON),
    text("a number without an exponent", _element("1e"), _JSON),
    text("a number in hex", _element("0x1"), _JSON),
    text("a number with an underscore", _element("1_0"), _JSON),
    text("two minus signs", _element("--1"), _JSON),
    text("nan in small letters", _element("nan"), _JSON),
    text("a negative NaN", _element("-NaN"), _JSON),
    text("an infinity cut short", _element("Inf"), _JSON),
    text("an infinity with a plus", _element("+Infinity"), _JSON),
    text("None, which is Python's", _element("None"), _JSON),
    text("True, which is Python's", _element("True"), _JSON),
    text("250,000 brackets", "[" * _BRACKETS, _DEEP),
    text("250,000 brackets, all closed", "[" * _BRACKETS + "]" * _BRACKETS, _DEEP),
    text("250,000 closing brackets", "]" * _BRACKETS, _JSON),
    text("125,000 objects", '{"a":' * (_BRACKETS // 2), _DEEP),
    text("250,000 brackets and a brace", "[" * _BRACKETS + "{", _DEEP),
    text("100,000 brackets after a quote", '"' + "[" * 100_000, _JSON),
    unfit("a list of 250,000 empty arrays", _PARTS, "got 500", more=[[]] * _BRACKETS),
    text("250,000 brackets in an unknown member", _nested(_BRACKETS), _DEEP),
    text("101 levels", _nested(100), _DEEP),
    text("60,000 empty arrays and no end", "[" + "[]," * 60_000, _JSON),
)  # fmt: skip

_INPUTS = "$.inputs: expected an array of objects"

MEMBERS: Sequence[Row] = (
    text("an empty object", "{}", _INPUTS, "got nothing"),
    text("only what we do not know", '{"instances": [[1, 2]]}', _INPUTS, "got nothing"),
    text("inputs in capitals", '{"INPUTS": []}', _INPUTS, "got nothing"),
    text("inputs that are null", '{"inputs": null}', _INPUTS, "got null"),
    text("inputs that are an object", '{"inputs": {"x": [1]}}', _INPUTS, "got an object"),
    text("inputs that are a string", '{"inputs": "x"}', _INPUTS, 'got string "x"'),
    text("inputs that are a number", '{"inputs": 5}', _INPUTS, "got 5"),
    text("the last of two inputs members wins", _GOOD[:-1] + b', "inputs": 5}', _INPUTS),
    member("an input that is null", "$.inputs[0]: expected an object, got null", inputs=[None]),
    member("an input that is a number", "$.inputs[0]: expected an object, got 1", inputs=[1]),
    member("an input that is an array", "$.inputs[0]: expected an object", inputs=[[]]),
    member("a second input that is null", "$.inputs[1]: expected an", inputs=[one(), None]),
    member("an input without a name", "$.inputs[0].name: expected a string, got nothing",
           inputs=[one(name=None)]),
    member("a name that is a number", "$.inputs[0].name: expected a string, got 5",
           inputs=[one(name=5)]),
    member("a name that is an array", "$.inputs[0].name: expected a string, got an array",
           inputs=[one(name=["x"])]),
    unfit("no input at all", "expected 1 inputs but got 0 inputs for model 'echo'. Got input(s) "
          "[], but missing required input(s) ['x']. Please provide all required input(s).",
          inputs=[]),
    unfit("one input of two", "expected 2 inputs but got 1 inputs for model 'pair'. Got input(s) "
          "['a'], but missing required input(s) ['b']. Please provide all required input(s).",
          model="pair", inputs=[one(name="a", datatype="INT32", shape=[1, 2], data=[1, 2])]),
    unfit("an input nobody knows", "unexpected inference input 'z' for model 'echo'",
          "$.inputs[0].name", "expected one of ['x']", inputs=[one(name="z")]),
    unfit("an empty name", "unexpected inference input '' for model 'echo'", inputs=[one(name="")]),
    unfit("a name in capitals", "unexpected inference input 'X'", inputs=[one(name="X")]),
    unfit("a name with a NUL", "unexpected inference input 'x\0'", inputs=[one(name="x\0")]),
    unfit("a name of 100,000 letters", "unexpected inference input 'aaaa",
          inputs=[one(name="a" * 100_000)]),
    unfit("an input too many", "unexpected inference input 'z' for model 'echo'",
          "$.inputs[1].name", inputs=[one(), one(name="z")]),
    unfit("an input twice", "input 'x' already exists in request", "$.inputs[1].name",
          inputs=[one(), one()]),
    unfit("65 inputs", "$.inputs: expected at most 64 tensors", "got 65", inputs=[one()] * 65),
    member("an id that is a number", "$.id: expected a string, got 5", id=5),
    member("an id that is null", "$.id: expected a string, got null", id=None),
    member("an id that is an array", "$.id: expected a string, got an array", id=["a"]),
    member("an id of 1,025 bytes", "$.id: expected at most 1024 bytes, got 1025", id="a" * 1025),
    member("an id of 513 letters of two bytes", "$.id: expected at most 1024 bytes, got 1026",
           id="ä" * 513),
)  # fmt: skip

_TIMEOUT = "parameter 'timeout' has invalid type or value ($.parameters.timeout)"
_SEQUENCE = "sequences are not supported"


def _asked(sentence: str, given: object, *words: str) -> Row:
    return member(sentence, *words, parameters=given)


PARAMETERS: Sequence[Row] = (
    _asked("parameters that are null", None, "$.parameters: expected an object, got null"),
    _asked("parameters that are an array", [], "$.parameters: expected an object, got an array"),
    _asked("parameters that are a string", "a", "$.parameters: expected an object"),
    _asked("a parameter that is null", {"a": None}, "parameter 'a' has invalid type", "got null"),
    _asked("a parameter that is an array", {"a": [1]}, "parameter 'a' has invalid type"),
    _asked("a parameter that is an object", {"a": {}}, "parameter 'a' has invalid type"),
    _asked("a key that is not ours to give", {"triton_a": 1}, "reserved for Triton usage"),
    _asked("a timeout in words", {"timeout": "soon"}, _TIMEOUT, 'got string "soon"'),
    _asked("a negative timeout", {"timeout": -1}, _TIMEOUT, "got -1"),
    _asked("a timeout with a point", {"timeout": 1.0}, _TIMEOUT, "got 1.0"),
    _asked("a timeout that is true", {"timeout": True}, _TIMEOUT, "got true"),
    _asked("a priority in words", {"priority": "1"}, "parameter 'priority' has invalid type"),
    _asked("a negative priority", {"priority": -1}, "parameter 'priority' has invalid type"),
    _asked("a form of the answer in words", {"binary_data_output": "yes"},
           "$.parameters.binary_data_output", "expected true or false"),
    _asked("a form of the answer by number", {"binary_data_output": 1},
           "$.parameters.binary_data_output", "expected true or false, got 1"),
    _asked("a sequence by number", {"sequence_id": 7}, _SEQUENCE, "got 7"),
    _asked("a sequence by name", {"sequence_id": "a"}, _SEQUENCE),
    _asked("a sequence's start", {"sequence_start": True}, _SEQUENCE),
    _asked("a sequence's end", {"sequence_id": 0, "sequence_end": True}, _SEQUENCE),
    _asked("a sequence's start in words", {"sequence_start": "no"}, "expected true or false"),
    member("parameters of an input that are null", "$.inputs[0].parameters: expected an object",
           inputs=[{**one(), "parameters": None}]),
    member("a parameter of an input that is an array", "$.inputs[0].parameters",
           inputs=[one(parameters={"a": []})]),
    member("an input in shared memory", "shared memory is not supported", "$.inputs[0].parameters",
           inputs=[one(data=None, parameters={"shared_memory_region": "a"})]),
)  # fmt: skip


def _output(name: str, **given: object) -> dict[str, object]:
    return {"name": name, "parameters": given} if given else {"name": name}


OUTPUTS: Sequence[Row] = (
    member("outputs that are null", "$.outputs: expected an array", "got null", outputs=None),
    member("outputs that are an object", "$.outputs: expected an array of objects", outputs={}),
    member("an output that is a name", "$.outputs[0]: expected an object", outputs=["y"]),
    member("an output without a name", "$.outputs[0].name: expected a string, got nothing",
           outputs=[{}]),
    member("an output whose name is null", "$.outputs[0].name: expected a string, got null",
           outputs=[{"name": None}]),
    unfit("an output nobody knows", "unexpected inference output 'z' for model 'echo'",
          "$.outputs[0].name", "expected one of ['y']", outputs=[_output("z")]),
    unfit("an input as an output", "unexpected inference output 'x'", outputs=[_output("x")]),
    unfit("an output twice", "output 'y' already exists in request", "$.outputs[1].name",
          outputs=[_output("y"), _output("y")]),
    member("parameters of an output that are null", "$.outputs[0].parameters: expected an object",
           outputs=[{"name": "y", "parameters": None}]),
    member("a form of an output in words", "$.outputs[0].parameters.binary_data",
           "expected true or false", outputs=[_output("y", binary_data="yes")]),
    member("classes in words", "parameter 'classification' has invalid type",
           outputs=[_output("y", classification="3")]),
    goes_on("classes of strings",
            request("/v2/models/of_bytes/infer", body(
                [one(shape=[1, 2], datatype="BYTES", data=["a", "b"])],
                outputs=[_output("y", classification=3)])),
            "class result not available for output due to unsupported type 'BYTES'",
            "$.outputs[0].parameters.classification", code="invalid_tensor"),
    member("an output in shared memory", "shared memory is not supported",
           outputs=[_output("y", shared_memory_region="a")]),
    unfit("65 outputs", "$.outputs: expected at most 64 tensors", outputs=[_output("y")] * 65),
    goes_on("the inference of a body that is too small for its model's path",
            request("/v2/models/pair/infer", b"{}"), _INPUTS),
)  # fmt: skip

BODIES = (*TEXTS, *MEMBERS, *PARAMETERS, *OUTPUTS)
