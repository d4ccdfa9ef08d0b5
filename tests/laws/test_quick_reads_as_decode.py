"""The quick way in gives None, or what the decoder gives, whatever came before."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.types import Version
from gateway.wire.decode import Limits, Wanted, decode
from gateway.wire.quick import Quick, quick_of
from tests.wire.bodies import version

SINGLE = version(("x", "FP32", (-1, 2)))
DOUBLE = version(("x", "FP64", (-1, 2)))
LIMITS = Limits()
TIGHT = Limits(max_elements=4, max_json_depth=4, max_rank=2)

# Where a list of numbers may stand. The same text comes again and again, as from a client.
ONE = '{"name":"x","shape":[1,2],"datatype":"FP32","data":%s}'
SKELETONS = [
    '{"inputs":[' + ONE + "]}",
    '{"inputs":[' + ONE.replace("FP32", "FP64") + "]}",
    '{"inputs":[' + ONE.replace("[1,2]", "[2,2]") + "]}",
    '{"inputs":[' + ONE.replace("[1,2]", "[2,2]").replace("FP32", "FP64") + "]}",
    '{"inputs":[' + ONE.replace("[1,2]", "[3,2]") + "]}",
    '{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": %s}]}',
    '{"inputs" : [ {"name":"x","shape":[1,2],"datatype":"FP32","data" :%s}]}',
    '{"inputs":[\n\t{"name":"x","shape":[1,2],"datatype":"FP32","data":\r\n%s}]}',
    ' {"inputs":[' + ONE + "]}",
    '{"inputs":[' + ONE + "]} ",
    '{"inputs":[' + ONE + " ]}",
    # the same text before the data, and not the same after it
    *('{"inputs":[' + ONE[:-1] + tail for tail in ("}]", "}}}", "]]}", "xyz", "", "}]} ", " }]}")),
    '{"inputs":[{"shape":[1,2],"datatype":"FP32","data":%s,"name":"x"}]}',
    '{"inputs":[{"shape":[1,2],"datatype":"FP32","data":%s}]}',
    '{"inputs":[{"name":"x","datatype":"FP32","data":%s,"shape":[1,2]}]}',
    '{"inputs":[{"name":"x","datatype":"FP32","data":%s}]}',
    '{"id":"a","inputs":[' + ONE + "]}",
    '{"inputs":[' + ONE + '],"id":"a"}',
    '{"inputs":[' + ONE + '],"id":""}',
    '{"inputs":[' + ONE + '],"id":null}',
    '{"inputs":[' + ONE + '],"id":7}',
    '{"id":"\\ud83d\\ude00","inputs":[' + ONE + "]}",
    '{"id":"' + "é" * 256 + '","inputs":[' + ONE + "]}",
    '{"id":"' + "é" * 513 + '","inputs":[' + ONE + "]}",
    '{"inputs":[' + ONE + '],"outputs":[]}',
    '{"inputs":[' + ONE + '],"parameters":{"timeout":1}}',
    '{"parameters":{"binary_data_output":true},"inputs":[' + ONE + "]}",
    '{"inputs":[{"data":%s,"name":"x","shape":[1,2],"datatype":"FP32"}]}',
    '{"inputs":[{"datatype":"FP32","shape":[1,2],"name":"x","data":%s}]}',
    '{"inputs":[{"n\\u0061me":"\\u0078","shape":[1,2],"datatype":"FP32","data":%s}]}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","d\\u0061ta":%s}]}',
    # duplicates: the last one counts
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2],"data":%s}]}',
    '{"inputs":[{"name":"x","shape":[9],"shape":[1,2],"datatype":"FP32","data":%s}]}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":%s,"name":"y"}]}',
    '{"inputs":[],"inputs":[' + ONE + "]}",
    '{"inputs":[' + ONE + '],"inputs":[]}',
    '{"id":"a","id":"b","inputs":[' + ONE + "]}",
    # what looks like the data and is not
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2],"\\"data":%s}]}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2],"a":{"data":%s}}]}',
    '{"inputs":[' + ONE % "[1,2]" + '],"id":[{"data":%s}]}',
    '{"inputs":[{"name":"x","datatype":"FP32","data":[1,2],"shape":%s}]}',
    '{"inputs":[' + ONE + "," + ONE % "[1,2]" + "]}",
    "[" + ONE + "]",
    ONE,
    "%s",
    # what does not fit
    '{"inputs":[' + ONE.replace('"x"', '"y"') + "]}",
    '{"inputs":[' + ONE.replace("FP32", "fp32") + "]}",
    '{"inputs":[' + ONE.replace("FP32", "INT64") + "]}",
    *(
        '{"inputs":[' + ONE.replace("[1,2]", shape) + "]}"
        for shape in ("[0,2]", "[9,2]", "[1,2.0]", "[true,2]", "[1,2,1]", "[2]", '"12"', "[2,1]")
    ),
    '{"inputs":[' + ONE.replace("[1,2]", '{"1":1,"2":2}') + "]}",
    '{"inputs":[' + ONE.replace('"name":"x",', "") + "]}",
    '{"inputs":[' + ONE.replace('"shape"', '"parameters":{},"shape"') + "]}",
    '{"inputs":[' + ONE.replace('"shape"', '"extra":1,"shape"') + "]}",
]
NUMBERS = [
    "0", "1", "-1", "2.5", "-0", "-0.0", "0.1", "1e5", "1E5", "1e-5", "5e-324", "3.4028235e38",
    "3.5e38", "1e300", "1e-400", "16777217", "9007199254740993", "18446744073709551616", "1" * 400,
]  # fmt: skip
STRANGERS = [
    "true", "false", "null", "NaN", "Infinity", "-Infinity", "1e999", '"1"', '"]}]}"', "[1]", "[]",
    "{}", '{"data":[1,2]}', "01", "1.", "+1", "", " ", "1 2", "\u00e9", "\\", '"', "[", "]", "}",
]  # fmt: skip
# Lists that would close the data early and open it again.
TRICKS = [
    '[1],"data":[2]', "[1,2]]", "[[1,2]]", "[1,2", "1,2]", "[]", "[1,2],[3,4]", "[1,2]}]}",
    '[1,2]}],"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[3,4]',
    '[1,2],"shape":[1,2]', '["a]}]}",2]', "[1,2 ]", "[ 1 , 2 ]", "[\n1,\t2\r]", "null", '"12"',
    '{"a":1,"b":2}', "[1,2]\x00", "[1,2]//", "(1,2)",
]  # fmt: skip

plain = st.sampled_from(NUMBERS[:12]) | st.floats(width=32, allow_nan=False).map(json.dumps)
elements = plain | st.sampled_from([*NUMBERS, *STRANGERS])
spaces = st.sampled_from([",", ", ", " ,", ",\n"])


def lists(inner: st.SearchStrategy[str], *sizes: int) -> st.SearchStrategy[str]:
    sized = st.sampled_from(sizes).flatmap(
        lambda size: st.lists(inner, min_size=size, max_size=size)
    )
    return st.builds(lambda items, comma: f"[{comma.join(items)}]", sized, spaces)


given_lists = st.one_of(
    lists(plain, 2, 2, 4, 6), lists(elements, 0, 1, 2, 3, 4, 6), st.sampled_from(TRICKS)
)
written = st.builds(
    lambda skeleton, data: skeleton.replace("%s", data), st.sampled_from(SKELETONS), given_lists
)
likely = st.builds(
    lambda skeleton, data: skeleton.replace("%s", data), st.sampled_from(SKELETONS[:6]), given_lists
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A body with a stretch of it taken out, and something else or nothing put in."""
    text = draw(written)
    start = draw(st.integers(0, len(text)))
    stop = min(len(text), start + draw(st.integers(0, 4)))
    signs = st.text(st.sampled_from('[]{}",:0123456789.eE-+ \\\n\x00axtu'), max_size=4)
    instead: str = draw(signs)
    return f"{text[:start]}{instead}{text[stop:]}"


bodies = st.one_of(likely, likely, written, mutated()).map(str.encode) | st.binary(max_size=40)


def agree(quick: Quick, body: bytes, of: Version, limits: Limits) -> None:
    """If the quick way in accepts a body, the decoder accepts it with the same contents."""
    for given_body in (body, bytearray(body)):
        read = quick.read(given_body)
        if read is None:
            continue
        reading = decode(body, None, of, limits)
        (payload,) = reading.payloads
        assert isinstance(payload, bytes)
        assert read == (payload, reading.rows, reading.id)
        assert reading.wanted == (Wanted(0, binary=False),)
        assert (reading.timeout_us, reading.priority) == (0, 0)


@given(st.lists(bodies, min_size=1, max_size=8))
@settings(max_examples=400)
def test_quick_reads_as_the_decoder_does(texts: list[bytes]) -> None:
    for of in (SINGLE, DOUBLE):
        quick = quick_of(of)
        assert quick is not None
        for text in texts:
            agree(quick, text, of, LIMITS)


@given(st.lists(bodies, min_size=1, max_size=8))
def test_quick_keeps_limits_that_are_tight(texts: list[bytes]) -> None:
    quick = quick_of(SINGLE, TIGHT)
    assert quick is not None
    for text in texts:
        agree(quick, text, SINGLE, TIGHT)


@pytest.mark.parametrize("limits", [LIMITS, TIGHT])
def test_every_skeleton_by_every_list_after_all_were_seen(limits: Limits) -> None:
    """Remembered by plain numbers, asked again with whatever is not one."""
    lists_of_two = [f"[{number},{number}]" for number in (*NUMBERS, *STRANGERS)]
    plainest = ("[1,2]", "[1,2,3,4]", "[1,2,3,4,5,6]")
    for of in (SINGLE, DOUBLE):
        quick = quick_of(of, limits)
        assert quick is not None
        for skeleton in SKELETONS:
            for data in plainest:
                agree(quick, skeleton.replace("%s", data).encode(), of, limits)
        for skeleton in SKELETONS:
            for data in (*plainest, *lists_of_two, *TRICKS):
                agree(quick, skeleton.replace("%s", data).encode(), of, limits)
