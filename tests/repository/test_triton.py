"""Triton's grammar: what a `config.pbtxt` says, and where it stops making sense."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.repository.triton import REFUSED, Unreadable, read_json, read_text

WHOLE = """
# A comment
name: "resnet"  platform: 'onnxruntime_onnx'
max_batch_size: 8
version_policy: { specific { versions: [1, 3] } }
input [
  { name: "image" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, -1, -1 ] },
  { name: "text" data_type: TYPE_STRING dims: 1 }
]
output [ { name: "scores" data_type: TYPE_FP32 dims: [ 10 ] label_filename: "labels.txt" } ]
instance_group [ { count: 2 kind: KIND_CPU }, { count: 1 kind: KIND_GPU gpus: [ 0 ] } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100
  priority_queue_policy { key: 1 value { max_queue_size: 4 timeout_action: DELAY } } }
parameters { key: "intra_op_thread_count" value { string_value: "2" } }
parameters: { key: "a" value: { string_value: "b" } }
model_warmup [ { name: "w" batch_size: 1
  inputs { key: "image" value: { data_type: TYPE_FP32 dims: [ 3, 2, 2 ] zero_data: true } } } ]
optimization { execution_accelerators { gpu_execution_accelerator : [
  { name : "tensorrt" parameters { key: "precision_mode" value: "FP16" } } ] } }
cc_model_filenames { key: "7.5" value: "other.onnx" }
"""


def unreadable(text: str, how: Any = read_text) -> str:
    with pytest.raises(Unreadable) as caught:
        how(text)
    return str(caught.value)


def test_an_empty_text_says_nothing() -> None:
    assert (read_text(""), read_json("{}")) == ({}, {})


def test_every_field_that_is_set_is_told_by_its_name() -> None:
    assert read_text(WHOLE) == {
        "name": "resnet",
        "platform": "onnxruntime_onnx",
        "max_batch_size": 8,
        "version_policy": {"specific": {"versions": [1, 3]}},
        "input": [
            {
                "name": "image",
                "data_type": "TYPE_FP32",
                "format": "FORMAT_NCHW",
                "dims": [3, -1, -1],
            },
            {"name": "text", "data_type": "TYPE_STRING", "dims": [1]},
        ],
        "output": [
            {
                "name": "scores",
                "data_type": "TYPE_FP32",
                "dims": [10],
                "label_filename": "labels.txt",
            }
        ],
        "instance_group": [
            {"kind": "KIND_CPU", "count": 2},
            {"kind": "KIND_GPU", "count": 1, "gpus": [0]},
        ],
        "dynamic_batching": {
            "preferred_batch_size": [4, 8],
            "max_queue_delay_microseconds": 100,
            "priority_queue_policy": {1: {"timeout_action": "DELAY", "max_queue_size": 4}},
        },
        "parameters": {
            "a": {"string_value": "b"},
            "intra_op_thread_count": {"string_value": "2"},
        },
        "model_warmup": [
            {
                "name": "w",
                "batch_size": 1,
                "inputs": {
                    "image": {"data_type": "TYPE_FP32", "dims": [3, 2, 2], "zero_data": True}
                },
            }
        ],
        "optimization": {
            "execution_accelerators": {
                "gpu_execution_accelerator": [
                    {"name": "tensorrt", "parameters": {"precision_mode": "FP16"}}
                ]
            }
        },
        "cc_model_filenames": {"7.5": "other.onnx"},
    }


def test_json_says_the_same_as_text() -> None:
    assert read_json(json.dumps(read_text(WHOLE))) == read_text(WHOLE)


def test_numbers_in_json_may_be_texts_and_names_may_be_humped() -> None:
    text = '{"max_batch_size": "16", "input": [{"dims": ["3", -1], "dataType": "TYPE_BF16"}]}'
    assert read_json(text) == {
        "max_batch_size": 16,
        "input": [{"data_type": "TYPE_BF16", "dims": [3, -1]}],
    }


def test_a_message_that_is_there_and_empty_is_there() -> None:
    assert read_text("dynamic_batching { }") == {"dynamic_batching": {}}
    assert read_json('{"dynamic_batching": {}}') == {"dynamic_batching": {}}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("\n\nfoo: 1", "line 3: unknown field 'foo'"),
        ("input [\n { foo: 1 } ]", "line 2: unknown field 'foo' in Input"),
        ("instance_group {\n kind: KIND_TPU }", "line 2: ' kind: KIND_TPU }': Enum type \"Kind\""),
        ("name: 3", "line 1: 'name: 3': Expected string but found: '3'"),
        ('name: "a', "line 1: 'name: \"a': String missing ending quote"),
        ("\nmax_batch_size: 99999999999", "line 2: "),
        ("max_batch_size: 1\nmax_batch_size: 2", "line 2: "),
        ("version_policy { latest { }\nall { } }", 'line 2: Field "all" is specified along with'),
        ("input {", "line 1: "),
        ("\0", "line 1: "),
        ("name: '\\377'", "line 1: "),
    ],
)
def test_a_fault_in_a_text_names_its_line(text: str, what: str) -> None:
    told = unreadable(text)
    assert told.startswith(what)
    assert told.count("\n") == 0


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "Expecting value"),
        ("[]", "expected an object"),
        ("3", "expected an object"),
        ('{"foo": 1}', "unknown field 'foo'"),
        ('{"input": [{"foo": 1}]}', "unknown field 'foo' in Input"),
        ('{"max_batch_size": "x"}', "Failed to parse max_batch_size field"),
        ('{"max_batch_size": 1.5}', "Failed to parse max_batch_size field"),
        ('{"max_batch_size": 1e400}', "Failed to parse max_batch_size field"),
        ('{"input": {"name": "a"}}', "Failed to parse input field"),
        ('{"input": [3]}', "Failed to parse input field"),
        ('{"input": [null]}', "Failed to parse input field"),
        ('{"name": "a", "name": "b"}', "Failed to load JSON"),
        ('{"name": "\\ud800"}', "Failed to parse name field"),
        ('{"sequence_batching": {"x": 1}}', f"sequence_batching: {REFUSED['sequence_batching']}"),
        ("[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_fault_in_json_says_what_was_expected(text: str, what: str) -> None:
    assert unreadable(text, read_json).startswith(what)


def test_what_is_refused_whole_is_known_by_its_name() -> None:
    text = "name: 'm'\nensemble_scheduling { step [ { model_name: 'a' } ] }"
    assert unreadable(text) == f"line 2: ensemble_scheduling: {REFUSED['ensemble_scheduling']}"
    assert read_text("ensemble_scheduling { }") == {"ensemble_scheduling": {}}


def test_a_number_where_a_name_is_expected_is_kept_for_whoever_judges_it() -> None:
    assert read_text("input { data_type: 99 }") == {"input": [{"data_type": "99"}]}


def test_a_text_without_end_is_refused() -> None:
    assert unreadable("#" * ((1 << 20) + 1)) == "has 1048577 characters, of at most 1048576"


def test_depth_is_no_way_in() -> None:
    assert unreadable("input {" * 100_000) == "line 1: unknown field 'input' in Input"
    assert len(unreadable("{" * 100_000)) < 500


@given(st.text(st.sampled_from('nameiput_:{}[]"\\-1,# \n\0é'), max_size=60))
def test_any_text_is_a_configuration_or_unreadable(text: str) -> None:
    for how in (read_text, read_json):
        with contextlib.suppress(Unreadable):
            assert isinstance(how(text), dict)
