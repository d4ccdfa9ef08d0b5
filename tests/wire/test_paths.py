"""Paths: segments are decoded once, inference paths recognised strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.failures import Refused
from gateway.wire.paths import (
    V2_AND_V1,
    Dialect,
    InferTarget,
    Routes,
    infer_target,
    is_authority,
    path_segments,
    quoted,
    split_target,
)


def segments(target: bytes) -> tuple[str, ...]:
    """Return the decoded segments of a whole target."""
    return path_segments(split_target(target)[0])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(b"/", (), id="the root has no segments"),
        pytest.param(b"/v2", ("v2",), id="a plain segment"),
        pytest.param(b"/v2/", ("v2",), id="v2 with a slash equals v2"),
        pytest.param(b"/v2/?a=/b", ("v2",), id="the query is ignored, its slashes too"),
        pytest.param(b"/v2?", ("v2",), id="an empty query is ignored"),
        pytest.param(b"/v2//", ("v2", "", ""), id="two slashes are not one"),
        pytest.param(b"//", ("", ""), id="two slashes alone are two empty segments"),
        pytest.param(b"/v1/", ("v1", ""), id="another trailing slash stays"),
        pytest.param(b"/v2/models/", ("v2", "models", ""), id="a deeper trailing slash stays"),
        pytest.param(
            b"/v2/models//ready", ("v2", "models", "", "ready"), id="an empty segment stays"
        ),
        pytest.param(b"/sim%70le", ("simple",), id="an escape is decoded"),
        pytest.param(b"/a%20b", ("a b",), id="a space comes as an escape"),
        pytest.param(b"/a+b", ("a+b",), id="a plus is a plus"),
        pytest.param(b"/a%2Fb", ("a/b",), id="an encoded slash stays inside its segment"),
        pytest.param(b"/a%2fb/c", ("a/b", "c"), id="an encoded slash in lower case too"),
        pytest.param(b"/%2570", ("%70",), id="decoding happens once"),
        pytest.param(b"/%76%32/", ("v2",), id="an encoded v2 is v2"),
        pytest.param(b"/%2e%2e/x", ("..", "x"), id="dots are not resolved"),
        pytest.param(b"/../x", ("..", "x"), id="plain dots are not resolved either"),
        pytest.param(b"/%C3%A9", ("\u00e9",), id="UTF-8 is decoded"),
        pytest.param(b"/a%00b", ("a\0b",), id="an encoded NUL is a character"),
        pytest.param(b"http://h/v2/models", ("v2", "models"), id="an absolute URL"),
        pytest.param(
            b"HTTPS://h:8080/v2/?q", ("v2",), id="an absolute URL with a port and a query"
        ),
        pytest.param(b"http://h", (), id="an absolute URL without a path"),
        pytest.param(b"http://h?q=/v2", (), id="an absolute URL with only a query"),
        pytest.param(b"http://[::1]:80/v2", ("v2",), id="an absolute URL with an IPv6 address"),
        pytest.param(b"*", ("*",), id="the asterisk is a path that no route has"),
    ],
)
def test_a_target_is_cut_into_decoded_segments(target: bytes, expected: tuple[str, ...]) -> None:
    assert segments(target) == expected


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(b"/%zz", id="an escape that is not hex"),
        pytest.param(b"/a%4", id="an escape cut short"),
        pytest.param(b"/a%", id="a per cent sign alone"),
        pytest.param(b"/%4%41", id="an escape cut short by another"),
        pytest.param(b"/%ff", id="an escape that is not UTF-8"),
        pytest.param(b"/%C3/%A9", id="a character split over two segments"),
        pytest.param(b"/%ed%a0%80", id="an encoded surrogate"),
        pytest.param(b"/\xff", id="a raw byte that is not UTF-8"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"v2", id="no leading slash"),
        pytest.param(b"?a", id="a query alone"),
        pytest.param(b"**", id="two asterisks"),
        pytest.param(b"host:80", id="an authority"),
        pytest.param(b"ftp://h/v2", id="another scheme"),
        pytest.param(b"http:///v2", id="an absolute URL without a host"),
        pytest.param(b"http://u@h/v2", id="an absolute URL with a user"),
        pytest.param(b"http://h/v2#x", id="an absolute URL with a fragment"),
    ],
)
def test_a_target_that_names_no_path_is_refused_with_400(target: bytes) -> None:
    with pytest.raises(Refused) as refused:
        segments(target)
    assert refused.value.status == 400


def test_a_target_is_split_at_its_first_question_mark() -> None:
    assert split_target(b"/a%2F?b?c") == (b"/a%2F", b"b?c")
    assert split_target(b"http://h:1/a?b") == (b"/a", b"b")
    assert split_target(b"http://h") == (b"/", b"")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"localhost", True),
        (b"127.0.0.1:8080", True),
        (b"[::1]:8080", True),
        (b"a_b.example", True),
        (b"host:", True),
        (b"", False),
        (b":80", False),
        (b"a b", False),
        (b"a,b", False),
        (b"a/b", False),
        (b"u@h", False),
        (b"h:80:80", False),
        (b"h:8o", False),
        (b"h:123456", False),
        (b"[::1", False),
        (b"\xff", False),
        (b"h\n", False),
    ],
)
def test_an_authority_is_a_host_with_perhaps_a_port(value: bytes, expected: bool) -> None:
    assert is_authority(value) is expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/v2/models/digits/infer", InferTarget("digits", None)),
        (b"/v2/models/digits/versions/2/infer", InferTarget("digits", "2")),
        (b"/v2/models/digits/versions/002/infer", InferTarget("digits", "002")),
        (b"/v2/models/digits/versions/v1.0-a/infer", InferTarget("digits", "v1.0-a")),
        (b"/v2/models/digits/versions/a%20b/infer", InferTarget("digits", "a b")),
        (b"/v2/models/a%20b/infer?x=1", InferTarget("a b", None)),
        (b"/v2/models/..a/infer", InferTarget("..a", None)),
        (b"/v2/models/versions/infer", InferTarget("versions", None)),
        (b"/v2/models/" + b"m" * 256 + b"/infer", InferTarget("m" * 256, None)),
        (b"/v2/models/" + b"m" * 257 + b"/infer", None),
        (b"/v2/models/stats/infer", None),
        (b"/v2/models//infer", None),
        (b"/v2/models/./infer", None),
        (b"/v2/models/../infer", None),
        (b"/v2/models/a%2Fb/infer", None),
        (b"/v2/models/a%5Cb/infer", None),
        (b"/v2/models/a\\b/infer", None),
        (b"/v2/models/a%00b/infer", None),
        (b"/v2/models/a%0a/infer", None),
        (b"/v2/models/a%7f/infer", None),
        (b"/v2/models/a%C2%85/infer", None),
        (b"/v2/models/m/versions//infer", None),
        (b"/v2/models/m/versions/infer", None),
        (b"/v2/models/m/infer/", None),
        (b"/v2/models/m/INFER", None),
        (b"/V2/models/m/infer", None),
        (b"/v2/models/m", None),
        (b"/v2/models/m/versions/1/2/infer", None),
        (b"/v2/models/m/variants/1/infer", None),
        (b"/v2", None),
        (b"/", None),
        (b"/v1/models/m:predict", InferTarget("m", None, Dialect.V1)),
        (b"/v1/models/m%3Apredict", InferTarget("m", None, Dialect.V1)),
        (b"/v1/models/a:b:predict", InferTarget("a:b", None, Dialect.V1)),
        (b"/v1/models/m/versions/2:predict", InferTarget("m", "2", Dialect.V1)),
        (b"/v1/models/m/versions/:predict", None),
        (b"/v1/models/:predict", None),
        (b"/v1/models/m:PREDICT", None),
        (b"/v1/models/m:explain", None),
        (b"/v1/models/m", None),
        (b"/v1/models/m/predict", None),
        (b"/v2/models/m:predict", None),
        (b"/invocations", None),
    ],
)
def test_only_inference_paths_are_targets(target: bytes, expected: InferTarget | None) -> None:
    assert infer_target(segments(target)) == expected


def test_a_default_model_answers_where_no_path_names_one() -> None:
    routes = Routes("m", predict=("v1", "endpoints", "7:predict"))
    invocations, vertex = Dialect.INVOCATIONS, Dialect.VERTEX
    assert routes.infer_target(("invocations",)) == InferTarget("m", None, invocations)
    asked = ("v1", "endpoints", "7:predict")
    assert routes.infer_target(asked) == InferTarget("m", None, vertex)
    assert routes.infer_target(("v2", "models", "n", "infer")) == InferTarget("n", None)
    assert routes.infer_target(("ping",)) is None
    v2 = ("v2", "models", "n", "infer")
    assert Routes("m", predict=v2).infer_target(v2) == InferTarget("n", None)  # V2 stays V2
    assert V2_AND_V1.infer_target(asked) is None


def test_a_quotation_is_short_and_has_no_control_characters() -> None:
    assert quoted(b"a\r\n\xff") == "'a\\r\\n\\xff'"
    assert quoted(b"x" * 81) == "'" + "x" * 80 + "'..."


@given(st.binary(max_size=60).map(lambda tail: b"/" + tail) | st.binary(max_size=60))
def test_any_target_gives_segments_or_a_refusal(target: bytes) -> None:
    try:
        found = segments(target)
    except Refused:
        return
    assert "/".join(found).count("/") >= max(len(found) - 1, 0)


@given(st.lists(st.text(max_size=8), min_size=1))
def test_quoted_segments_come_back_as_they_were(names: list[str]) -> None:
    escaped = ["".join(f"%{byte:02X}" for byte in name.encode()) for name in names]
    found = segments(("/x/" + "/".join(escaped)).encode())
    assert found == ("x", *names)
