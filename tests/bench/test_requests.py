import json
from http.client import parse_headers
from io import BytesIO
from pathlib import Path

import pytest

from bench.requests import ANSWER, INFER, READY, Target, v2_body, write_bodies


def test_bodies_are_distinct_real_rows(tmp_path: Path) -> None:
    file = tmp_path / "bodies"
    write_bodies(file, 1000)
    lines = file.read_bytes().splitlines()
    assert len(lines) == len(set(lines)) == 1000
    (tensor,) = json.loads(lines[0])["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("x", "FP32", [1, 64])
    assert len(tensor["data"]) == 64
    assert all(0.0 <= value <= 16.0 for value in tensor["data"])


def test_values_are_printed_as_floats() -> None:
    assert b'"data":[5.0,13.0]' in v2_body([(5.0, 13.0)])


def test_rows_of_a_body_are_different_from_all_others(tmp_path: Path) -> None:
    file = tmp_path / "bodies"
    write_bodies(file, 10, rows_each=8)
    bodies = [json.loads(line)["inputs"][0] for line in file.read_bytes().splitlines()]
    rows = {tuple(b["data"][at : at + 64]) for b in bodies for at in range(0, 512, 64)}
    assert [body["shape"] for body in bodies] == [[8, 64]] * 10
    assert len(rows) == 80


def test_more_rows_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="distinct rows"):
        write_bodies(tmp_path / "bodies", 10_000)


def test_a_post_says_how_long_it_is(tmp_path: Path) -> None:
    file = tmp_path / "bodies"
    file.write_bytes(b'{"a":1}\n{"b":22}\n')
    first, second = Target(INFER, file).formatted()
    head, _, body = second.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    assert line == f"POST {INFER} HTTP/1.1".encode()
    assert parse_headers(BytesIO(fields + b"\r\n\r\n"))["content-length"] == str(len(body))
    assert (first[-7:], body) == (b'{"a":1}', b'{"b":22}')


def test_a_get_has_no_body() -> None:
    (request,) = Target(READY, None).formatted()
    assert request.startswith(f"GET {READY} HTTP/1.1\r\n".encode())
    assert request.endswith(b"\r\n\r\n")


def test_the_canned_answer_is_about_as_long_as_a_real_one() -> None:
    assert 250 <= len(ANSWER) <= 350
    assert [output["name"] for output in json.loads(ANSWER)["outputs"]] == ["label", "scores"]
