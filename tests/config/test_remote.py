"""The table `remote` of a `model.toml`: where a version runs, and what it takes and gives."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.config import ConfigError, parse_model
from gateway.repository.settings import RemoteSettings
from gateway.types import TensorSpec
from tests.elsewhere import declared

README = Path(__file__).parents[2] / "README.md"
URL = "http://10.0.0.5:8000"
WHOLE: dict[str, Any] = {
    "model": "theirs",
    "version": "",
    "connections": 8,
    "timeout_s": 2.5,
    "connect_timeout_s": 0.5,
    "max_answer_bytes": 1000,
    "ca_file": "ca.pem",
}


def faults(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_model(tomllib.loads(text))
    return str(caught.value)


def test_every_key_reaches_the_settings() -> None:
    text = declared(URL, "https://b/prefix/", **WHOLE)
    text = text.replace(
        "[[remote.inputs]]", "headers_env.Authorization = 'REMOTE_T'\n\n[[remote.inputs]]"
    )
    settings = parse_model(tomllib.loads(text))
    assert settings.remote == RemoteSettings(
        (URL, "https://b/prefix"), "theirs", "", 8, 2.5, 0.5, 1000,
        {"authorization": "REMOTE_T"}, "ca.pem",
    )  # fmt: skip
    assert settings.declared_inputs == (TensorSpec("x", "FP32", (-1, -1)),)
    assert settings.declared_outputs == (TensorSpec("y", "FP32", (-1, -1)),)
    assert settings.execution.executor == "remote"


def test_an_endpoint_and_the_tensors_are_enough() -> None:
    assert parse_model(tomllib.loads(declared(URL))).remote == RemoteSettings((URL,))


@pytest.mark.parametrize(
    ("url", "is_whole"),
    [
        ("http://localhost:1", True),
        ("https://[::1]:8000/a/b", True),
        ("ftp://a", False),
        ("10.0.0.5:8000", False),
        ("http://", False),
        ("http://a:0", False),
        ("http://a:99999", False),
        ("http://user:password@a", False),
        ("http://a?b", False),
        ("http://a#b", False),
        ("http://a b", False),
        ("http://ä", False),
    ],
)
def test_an_endpoint_is_where_a_path_can_be_put_behind(url: str, is_whole: bool) -> None:
    if is_whole:
        assert parse_model(tomllib.loads(declared(url))).remote == RemoteSettings((url,))
    else:
        assert "must be http://host:port" in faults(declared(url))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((f'["{URL}"]', "[]"), "$.remote.endpoints: must name at least one"),
        ((f'["{URL}"]', f'["{URL}", "x"]'), "$.remote.endpoints[1]: must be http://host:port"),
        (('"remote"', '"thread"'), "need each other"),
        (("[remote]", "instances = 2\n\n[remote]"), "remote.connections says"),
        (("[execution]", "pad_to = [8]\n\n[execution]"), "pad_to has no effect"),
        (('"x"', '""'), "$.remote.inputs[0].name: must have at least 1 character"),
        (("FP32", "FP31"), "$.remote.inputs[0].datatype: must be one of BOOL"),
        (("[-1, -1]", "[0, -1]"), "$.remote.inputs[0].shape: an axis is -1 or at least 1"),
        (("[-1, -1]", "[4, -1]"), "the first axis of 'x' is -1, got [4, -1]"),
        (("[-1, -1]", "[]"), "the first axis of 'x' is -1, got []"),
        (("[[remote.outputs]]", "[[remote.inputs]]"), "$.remote.outputs: Field required"),
        (('name = "y"', 'name = "y"\ndims = 1'), "$.remote.outputs[0].dims: unknown key"),
        (("[[remote.inputs]]", "connections = 0\n[[remote.inputs]]"), "$.remote.connections: "),
        (("[[remote.inputs]]", "timeout_s = 0\n[[remote.inputs]]"), "timeout_s"),
    ],
)
def test_what_cannot_be_is_a_fault(change: tuple[str, str], words: str) -> None:
    assert words in faults(declared(URL).replace(*change, 1))


def test_without_a_batch_axis_shapes_are_any() -> None:
    text = declared(URL, rows=0).replace("[-1, -1]", "[4]")
    settings = parse_model(tomllib.loads(text))
    assert settings.declared_inputs == (TensorSpec("x", "FP32", (4,)),)


def test_two_of_a_kind_are_one_too_many() -> None:
    assert "two endpoints are the same" in faults(declared(URL, URL + "/"))
    twice = declared(URL) + '\n[[remote.outputs]]\nname = "y"\ndatatype = "FP32"\nshape = [-1]\n'
    assert "remote.outputs: two have the same name" in faults(twice)


@pytest.mark.parametrize("variable", ["PATH", "remote_token", "REMOTE_", "GATEWAY_AUTH__KEYS"])
def test_no_variable_is_told_that_is_not_meant_for_it(variable: str) -> None:
    text = declared(URL).replace(
        "[[remote.inputs]]", f"headers_env = {{a = '{variable}'}}\n[[remote.inputs]]"
    )
    assert "REMOTE_" in faults(text)


@pytest.mark.parametrize("header", ["Host", "content-length", "Transfer-Encoding", "a b", "é"])
def test_no_header_is_said_that_is_ours_or_none(header: str) -> None:
    text = declared(URL).replace(
        "[[remote.inputs]]", f"headers_env = {{'{header}' = 'REMOTE_A'}}\n[[remote.inputs]]"
    )
    assert "remote" in faults(text)


def test_the_example_of_the_readme_is_one() -> None:
    text = README.read_text().partition("### Versions that run elsewhere")[2]
    example = text.partition("```toml\n")[2].partition("```")[0]
    settings = parse_model(tomllib.loads(example))
    assert settings.remote is not None
    assert settings.remote == RemoteSettings(
        settings.remote.endpoints, headers_env={"authorization": "REMOTE_DIGITS"}
    )


def test_remote_needs_its_table() -> None:
    assert "need each other" in faults('[execution]\nexecutor = "remote"')
