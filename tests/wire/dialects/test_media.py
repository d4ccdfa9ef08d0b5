import pytest

from gateway.errors import Malformed
from gateway.wire.dialects.media import SAGEMAKER, VERTEX, check_json, is_csv, json_length
from gateway.wire.failures import Refused, status_of


@pytest.mark.parametrize("binary", [SAGEMAKER, VERTEX])
@pytest.mark.parametrize(
    ("rest", "expected"), [(b";json-header-size=12", 12), (b"; JSON-Header-Size=0 ", 0)]
)
def test_a_binary_type_says_where_the_json_ends(binary: bytes, rest: bytes, expected: int) -> None:
    assert json_length(binary + rest, binary) == expected


@pytest.mark.parametrize("media", [b"", b"application/json", b"text/csv", VERTEX])
def test_another_type_is_not_binary(media: bytes) -> None:
    assert json_length(media, SAGEMAKER) is None


@pytest.mark.parametrize(
    "media",
    [
        SAGEMAKER,
        SAGEMAKER + b";",
        SAGEMAKER + b";json-header-size=",
        SAGEMAKER + b";json-header-size=-1",
        SAGEMAKER + b";json-header-size=x",
        SAGEMAKER + b";json-header-size=12;a=b",
        SAGEMAKER + b";json-header-size=" + b"9" * 30,
        b"x" + SAGEMAKER + b";json-header-size=12",
        SAGEMAKER + b"x;json-header-size=12",
    ],
)
def test_what_is_nearly_binary_is_malformed(media: bytes) -> None:
    with pytest.raises(Malformed, match="json-header-size=N"):
        json_length(media, SAGEMAKER)


@pytest.mark.parametrize(
    "media",
    [
        b"",
        b"application/json",
        b"Application/JSON ; charset=UTF-8",
        b'application/json;charset="utf-8"',
    ],
)
def test_json_in_utf_8_is_read(media: bytes) -> None:
    check_json(media)


@pytest.mark.parametrize(
    "media",
    [
        b"text/csv",
        b"application/jsonl",
        b"application/json; charset=latin-1",
        b"application/json; format=pandas",
    ],
)
def test_any_other_type_gets_415(media: bytes) -> None:
    with pytest.raises(Refused) as refused:
        check_json(media)
    assert status_of(refused.value) == 415


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        (b"text/csv", True),
        (b"Text/CSV; charset=UTF-8", True),
        (b"text/csv; charset=latin-1", False),
        (b"text/csv; header=absent", False),
        (b"text/csvs", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_csv_is_known_by_its_type_alone(media: bytes, expected: bool) -> None:
    assert is_csv(media) == expected
