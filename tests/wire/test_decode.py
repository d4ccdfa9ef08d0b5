"""A whole request: its members, its identity, its outputs; both parsers alike."""

import json

import pytest

from gateway.errors import InvalidTensor, Malformed
from gateway.types import Version
from gateway.wire.decode import Limits, Reading, Wanted
from tests.wire.bodies import (
    BY_ORJSON,
    BY_SIMD,
    FLOATS,
    PAIR,
    body,
    one,
    outcome,
    read,
    tensor,
    version,
)

EITHER = pytest.mark.parametrize("limits", [BY_SIMD, BY_ORJSON], ids=["simdjson", "orjson"])

FULL = [
    tensor(name="b", shape=[2, 3], data=[1, 2, 3, 4, 5, 6]),
    tensor(name="a", shape=[2, 2], datatype="INT32", data=[1, 2, 3, 4]),
]


def output(name: str, **given: object) -> dict[str, object]:
    return {"name": name, "parameters": given}


def wanted(*outputs: object, **given: object) -> tuple[Wanted, ...]:
    return read(body(inputs=FULL, outputs=list(outputs), parameters=given), PAIR).wanted


@EITHER
def test_a_request_is_read_whole(limits: Limits) -> None:
    reading = read(one(), limits=limits)
    assert reading == Reading(
        payloads=(b"\0\0\x80?\0\0 @\0\0@\xc0\0\0\0\0",),
        rows=1,
        shapes=((4,),),
        id=None,
        wanted=(Wanted(0, binary=False),),
        timeout_us=0,
        priority=0,
    )


@EITHER
def test_everything_at_once(limits: Limits) -> None:
    text = body(
        id="7",
        model_name="ignored",
        inputs=FULL,
        outputs=[output("scores"), output("half", binary_data=True)],
        parameters={"timeout": 5000, "priority": 2, "region": "eu"},
    )
    reading = read(text, PAIR, limits)
    assert (reading.rows, reading.shapes, reading.id) == (2, ((2,), (3,)), "7")
    assert reading.wanted == (Wanted(1, binary=False), Wanted(2, binary=True))
    assert (reading.timeout_us, reading.priority) == (5000, 2)


@EITHER
@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param(b"", "expected a JSON object, got an empty body", id="nothing"),
        pytest.param(b"[]", "expected a JSON object, got an array", id="an array"),
        pytest.param(b"null", "expected a JSON object, got null", id="null"),
        pytest.param(b'"a"', 'expected a JSON object, got string "a"', id="a string"),
        pytest.param(b"NaN", "expected a JSON object, got nan", id="a token"),
        pytest.param(b"{}", "$.inputs: expected an array of objects, got nothing", id="no inputs"),
        pytest.param(
            b'{"inputs":null}',
            "$.inputs: expected an array of objects, got null",
            id="inputs: null",
        ),
        pytest.param(
            b'{"inputs":{}}',
            "$.inputs: expected an array of objects, got an object",
            id="inputs: {}",
        ),
        pytest.param(
            b'{"inputs":[null]}',
            "$.inputs[0]: expected an object, got null",
            id="a null for an input",
        ),
        pytest.param(
            b'{"inputs":[[]]}',
            "$.inputs[0]: expected an object, got an array",
            id="an array for an input",
        ),
        pytest.param(
            b'{"inputs":[{}]}',
            "$.inputs[0].name: expected a string, got nothing",
            id="an empty input",
        ),
        pytest.param(
            body(inputs=[tensor(), 5]),
            "$.inputs[1]: expected an object, got 5",
            id="a number for an input",
        ),
        pytest.param(
            body(outputs=None),
            "$.outputs: expected an array of objects, got null",
            id="outputs: null",
        ),
        pytest.param(
            body(outputs={}),
            "$.outputs: expected an array of objects, got an object",
            id="outputs: {}",
        ),
        pytest.param(
            body(outputs=["label"]),
            '$.outputs[0]: expected an object, got string "label"',
            id="a name for an output",
        ),
        pytest.param(
            body(outputs=[{}]),
            "$.outputs[0].name: expected a string, got nothing",
            id="an output without a name",
        ),
        pytest.param(body(id=5), "$.id: expected a string, got 5", id="a number for an id"),
        pytest.param(body(id=None), "$.id: expected a string, got null", id="a null for an id"),
        pytest.param(
            body(id="é" * 513), "$.id: expected at most 1024 bytes, got 1026", id="a long id"
        ),
        pytest.param(
            one().replace(b'"data"', b'"parameters": null, "data"'),
            "$.inputs[0].parameters: expected an object, got null",
            id="parameters: null of an input",
        ),
        pytest.param(
            one().replace(b"[1, 2.5, -3, 0]", b"null"),
            "$.inputs[0].data: expected an array, got null",
            id="data: null",
        ),
    ],
)
def test_a_request_of_another_form_is_malformed(text: bytes, what: str, limits: Limits) -> None:
    with pytest.raises(Malformed) as caught:
        read(text, limits=limits)
    assert what in str(caught.value)


@EITHER
@pytest.mark.parametrize("identity", ["7", "é" * 512, "\0", "\U0001f600", 'a"\\b\n', "a" * 1024])
def test_an_id_is_kept_exactly(identity: str, limits: Limits) -> None:
    assert read(body(id=identity), limits=limits).id == identity


@EITHER
@pytest.mark.parametrize("text", [body(), body(id="")], ids=["absent", "empty"])
def test_no_id_is_no_id(text: bytes, limits: Limits) -> None:
    assert read(text, limits=limits).id is None


@pytest.mark.parametrize("text", [body(inputs=FULL), body(inputs=FULL, outputs=[])])
def test_without_a_list_all_outputs_are_wanted_as_json(text: bytes) -> None:
    assert read(text, PAIR).wanted == tuple(Wanted(index, binary=False) for index in range(3))


def test_without_a_list_all_outputs_may_be_binary() -> None:
    assert wanted(binary_data_output=True) == tuple(Wanted(at, binary=True) for at in range(3))


def test_a_list_is_answered_in_the_models_order() -> None:
    asked = wanted(output("scores", binary_data=True), {"name": "label"})
    assert asked == (Wanted(0, binary=False), Wanted(1, binary=True))


def test_a_listed_output_decides_its_own_form() -> None:
    assert wanted(output("label"), binary_data_output=True) == (Wanted(0, binary=False),)
    asked = wanted(output("label", binary_data=False), output("half", binary_data=True))
    assert asked == (Wanted(0, binary=False), Wanted(2, binary=True))


@pytest.mark.parametrize(
    ("outputs", "kind", "text"),
    [
        (
            [{"name": "y"}],
            InvalidTensor,
            (
                "unexpected inference output 'y' for model 'm' ($.outputs[0].name): "
                "expected one of ['label','scores','half']"
            ),
        ),
        (
            [{"name": "label"}, {"name": "label"}],
            InvalidTensor,
            "output 'label' already exists in request ($.outputs[1].name)",
        ),
        (
            [output("label", binary_data=1)],
            Malformed,
            "'binary_data' has invalid type ($.outputs[0].parameters.binary_data)",
        ),
    ],
    ids=["unknown", "twice", "a number for a flag"],
)
def test_a_strange_output_is_refused(
    outputs: list[object], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        wanted(*outputs)
    assert text in str(caught.value)


@EITHER
@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param('"name":"no"', '"name":"x"', id="name"),
        pytest.param('"shape":[9]', '"shape":[1,4]', id="shape"),
        pytest.param('"datatype":"NO"', '"datatype":"FP32"', id="datatype"),
        pytest.param('"data":["no"]', '"data":[1,2,3,4]', id="data"),
        pytest.param('"parameters":5', '"parameters":{}', id="parameters"),
        pytest.param('"\\u0064ata":5', '"data":[1,2,3,4]', id="data, once escaped"),
    ],
)
def test_of_duplicate_keys_the_last_wins_in_an_input(first: str, then: str, limits: Limits) -> None:
    members = {
        "name": '"name":"x"', "shape": '"shape":[1,4]',
        "datatype": '"datatype":"FP32"', "data": '"data":[1,2,3,4]',
    }  # fmt: skip
    rest = ",".join(text for key, text in members.items() if f'"{key}"' not in then)
    text = f'{{"inputs":[{{{first},{rest},{then}}}]}}'
    assert read(text.encode(), limits=limits).rows == 1
    other = f'{{"inputs":[{{{then},{rest},{first}}}]}}'
    with pytest.raises((Malformed, InvalidTensor)):
        read(other.encode(), limits=limits)


@EITHER
@pytest.mark.parametrize("value", ["1", "NaN"], ids=["plain", "with a token"])
def test_of_duplicate_keys_the_last_wins_at_the_top(value: str, limits: Limits) -> None:
    good = json.dumps([tensor()])
    text = f'{{"id":5,"inputs":5,"x":{value},"inputs":{good},"id":"a","id":"b"}}'
    assert read(text.encode(), limits=limits).id == "b"


@EITHER
def test_unknown_members_are_ignored_wherever_they_stand(limits: Limits) -> None:
    text = body(
        foo={"a": [1, None]}, inputs=[tensor(foo=[[1], 2])], outputs=[{"name": "label", "foo": 1}]
    )
    assert read(text, limits=limits) == read(body(), limits=limits)


@EITHER
def test_a_body_may_be_a_bytearray(limits: Limits) -> None:
    growing = bytearray(body())
    assert outcome(growing, FLOATS, limits) == outcome(bytes(growing), FLOATS, limits)


@EITHER
@pytest.mark.parametrize("levels", [50, 97])
def test_deep_data_is_read_and_then_does_not_fit(levels: int, limits: Limits) -> None:
    text = one(data=json.loads("[" * levels + "1" + "]" * levels))
    with pytest.raises(InvalidTensor, match="Shape does not match true shape"):
        read(text, limits=limits)


@EITHER
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[" * 250_000, id="open"),
        pytest.param(b'{"inputs":' + b"[" * 250_000 + b"]" * 250_000 + b"}", id="closed"),
        pytest.param(b'{"inputs":[{"data":' + b'{"a":' * 250_000, id="objects"),
    ],
)
def test_a_quarter_million_brackets_are_refused(text: bytes, limits: Limits) -> None:
    with pytest.raises(Malformed, match=r"JSON nesting depth exceeds maximum .* limit \(100\)"):
        read(text, limits=limits)


def test_the_size_decides_which_parser_reads() -> None:
    """Both give the same, so that nobody can tell: a body at, below and above the size."""
    text = one(data=[0.1, 2, 3, 4])
    readings = [read(text, limits=Limits(simd_from_bytes=len(text) + more)) for more in (-1, 0, 1)]
    assert readings[0] == readings[1] == readings[2]


def test_a_model_without_inputs_has_one_row() -> None:
    nothing: Version = version()
    reading = read(body(inputs=[]), nothing)
    assert (reading.payloads, reading.rows) == ((), 1)
