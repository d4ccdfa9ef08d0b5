"""What a Triton configuration means here, and every way in which it means nothing."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.repository.declared import Declared, Undeclarable, chosen, declared
from gateway.repository.settings import (
    BatchingSettings,
    ExecutionSettings,
    ModelSettings,
    VersionPolicy,
)
from gateway.repository.triton import read_text
from gateway.types import TensorSpec


def read(text: str, folder: Path = Path("resnet")) -> Declared:
    return declared(read_text(text), folder, "pbtxt", "resnet")


def settings(text: str) -> ModelSettings:
    return read(text).settings


def faults(text: str) -> Mapping[str, str]:
    with pytest.raises(Undeclarable) as caught:
        read(text)
    assert str(caught.value).splitlines() == [
        f"{path}: {what}" for path, what in caught.value.faults
    ]
    return dict(caught.value.faults)


def test_an_empty_configuration_serves_the_latest_version_without_a_batch_axis() -> None:
    expected = ModelSettings(origin="pbtxt", version_policy=VersionPolicy("latest", 1))
    assert read("") == Declared(expected, None)


def test_names_that_say_what_we_are_are_accepted() -> None:
    text = 'name: "resnet" platform: "onnxruntime_onnx" backend: "onnxruntime"'
    assert settings(text) == settings("")


@pytest.mark.parametrize(
    ("text", "path", "what"),
    [
        ('name: "other"', "$.name", "expected 'resnet', got 'other'"),
        ('platform: "tensorrt_plan"', "$.platform", "expected 'onnxruntime_onnx', got"),
        ('backend: "python"', "$.backend", "expected 'onnxruntime', got 'python'"),
        ("max_batch_size: -1", "$.max_batch_size", "must be at least 0, got -1"),
        (
            "version_policy { specific { } }",
            "$.version_policy.specific.versions",
            "expected numbers of versions, got []",
        ),
        (
            "version_policy { specific { versions: -3 } }",
            "$.version_policy.specific.versions",
            "expected numbers of versions, got [-3]",
        ),
        (
            "dynamic_batching { max_queue_delay_microseconds: 3600000001 }",
            "$.dynamic_batching.max_queue_delay_microseconds",
            "must be at most 3600000000, got 3600000001",
        ),
        ("instance_group { kind: 9 }", "$.instance_group[0].kind", "expected one of ['KIND_AUTO'"),
        ("instance_group { count: -1 }", "$.instance_group[0].count", "must be at least 1, got -1"),
        (
            "instance_group { count: 1000 } instance_group { count: 25 }",
            "$.instance_group",
            "at most 1024 instances, got 1025",
        ),
        ("input { data_type: TYPE_FP32 }", "$.input[0].name", "is missing"),
        (
            "output { name: 'a' data_type: TYPE_FP32 } output { name: 'a' data_type: TYPE_FP32 }",
            "$.output[1].name",
            "'a' is there twice",
        ),
        (
            "input { name: 'a' }",
            "$.input[0].data_type",
            "expected a type of the protocol, got none",
        ),
        (
            "input { name: 'a' data_type: 77 }",
            "$.input[0].data_type",
            "expected a type of the protocol, got 77",
        ),
        (
            "input { name: 'a' data_type: TYPE_FP32 dims: [ 0 ] }",
            "$.input[0].dims",
            "an axis is -1 or at least 1, got [0]",
        ),
        (
            "input { name: 'a' data_type: TYPE_FP32 dims: [ -2 ] }",
            "$.input[0].dims",
            "an axis is -1 or at least 1, got [-2]",
        ),
        (
            'parameters { key: "intra_op_thread_count" value { string_value: "many" } }',
            "$.parameters.intra_op_thread_count",
            "expected 0 to 1024, got 'many'",
        ),
        (
            'parameters { key: "inter_op_thread_count" value { string_value: "99999999999999" } }',
            "$.parameters.inter_op_thread_count",
            "expected 0 to 1024, got '99999999999999'",
        ),
        (
            'parameters { key: "intra_op_thread_count" value { string_value: "00000000099999" } }',
            "$.parameters.intra_op_thread_count",
            "expected 0 to 1024, got '00000000099999'",
        ),
        (
            f"""parameters {{ key: "intra_op_thread_count"
              value {{ string_value: "{"9" * 5000}" }} }}""",
            "$.parameters.intra_op_thread_count",
            f"expected 0 to 1024, got '{'9' * 99}…",
        ),
        (
            'parameters { key: "intra_op_thread_count" value { string_value: "" } }',
            "$.parameters.intra_op_thread_count",
            "expected 0 to 1024, got ''",
        ),
        (
            f'default_model_filename: "{"x" * 1025}"',
            "$.default_model_filename",
            "has 1025 characters: too many",
        ),
        ('default_model_filename: "a/b.onnx"', "$.default_model_filename", "must name a file"),
        ('default_model_filename: ".."', "$.default_model_filename", "must name a file"),
        ("sequence_batching { }", "$.sequence_batching", "is not served: requests keep no state"),
        (
            "input { name: 'a' data_type: TYPE_FP32 reshape { shape: [ 1 ] } }",
            "$.input[0].reshape",
            "is not served: tensors are not reshaped",
        ),
    ],
)
def test_a_fault_names_its_path(text: str, path: str, what: str) -> None:
    told = faults(text)
    assert list(told) == [path]
    assert told[path].startswith(what)


def test_all_faults_are_told_at_once() -> None:
    text = "name: 'x' max_batch_size: -1 input { } ensemble_scheduling { } model_warmup { }"
    assert list(faults(text)) == [
        "$.ensemble_scheduling",
        "$.name",
        "$.max_batch_size",
        "$.input[0].name",
        "$.input[0].data_type",
        "$.model_warmup[0].inputs",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_batch_size: 8", BatchingSettings(8, None)),
        ("max_batch_size: 8 dynamic_batching { }", BatchingSettings(8, 0.0)),
        (
            "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 1500 }",
            BatchingSettings(8, 1.5),
        ),
    ],
)
def test_batching_is_what_it_says(text: str, expected: BatchingSettings) -> None:
    assert settings(text).batching == expected


@pytest.mark.parametrize(
    ("text", "instances"),
    [
        ("", 1),
        ("instance_group { }", 1),
        ("instance_group { count: 3 kind: KIND_CPU }", 3),
        ("instance_group { count: 2 } instance_group { count: 3 kind: KIND_GPU }", 5),
        ("instance_group { count: 2 } instance_group { count: 3 passive: true }", 2),
    ],
)
def test_instances_are_summed_over_the_groups(text: str, instances: int) -> None:
    assert settings(text).execution == ExecutionSettings("auto", instances)


def test_threads_are_parameters_and_all_parameters_are_kept() -> None:
    text = """
      parameters { key: "intra_op_thread_count" value { string_value: "3" } }
      parameters { key: "inter_op_thread_count" value { string_value: "0" } }
      parameters { key: "mine" value { string_value: "yes" } }
    """
    read = settings(text)
    assert read.execution == ExecutionSettings("auto", 1, 3, 1)
    assert read.parameters["mine"] == "yes"
    assert read.notes == ("$.parameters.inter_op_thread_count: 0 is 1 here, not every core",)


@pytest.mark.parametrize(("text", "threads"), [("0" * 5000, 1), ("0" * 5000 + "12", 12)])
def test_a_number_of_threads_may_have_any_number_of_zeros(text: str, threads: int) -> None:
    """Python refuses to read so many digits; that must not end a look at the repository."""
    key = '"intra_op_thread_count"'
    read = settings(f'parameters {{ key: {key} value {{ string_value: "{text}" }} }}')
    assert read.execution.intra_op_threads == threads


def test_what_a_fault_quotes_is_cut() -> None:
    dims = ", ".join(["0"] * 10_000)
    text = f"""name: "{"x" * 10_000}" backend: "{"y" * 10_000}"
      default_model_filename: ".{"z" * 1000}"
      version_policy {{ specific {{ versions: [ {", ".join(["-1"] * 10_000)} ] }} }}
      input {{ name: "{"a" * 10_000}" data_type: TYPE_FP32 dims: [ {dims} ] }}
      input {{ name: "{"a" * 10_000}" data_type: TYPE_FP32 dims: [ 1 ] }}
      output {{ name: "b" data_type: TYPE_FP32 label_filename: "../{"l" * 10_000}" }}
      model_warmup {{ inputs {{ key: "{"k" * 10_000}" value {{ }} }} }}"""
    told = faults(text)
    assert len(told) == 8
    assert max(len(path) + len(what) for path, what in told.items()) < 300


def test_of_many_notes_the_first_are_kept() -> None:
    """They travel to every replica with the settings."""
    notes = settings("instance_group { kind: KIND_GPU count: 1 } " * 20).notes
    assert len(notes) == 11
    assert notes[-1] == "and 10 more"


def test_what_has_no_effect_is_noted() -> None:
    text = "instance_group { kind: KIND_GPU gpus: [ 0 ] } optimization { } response_cache { }"
    expected = [
        "$.instance_group[0].gpus has no effect",
        "$.optimization has no effect",
        "$.response_cache has no effect",
        "$.instance_group[0].kind",
    ]
    notes = settings(text).notes
    assert sorted(note.partition(":")[0] for note in notes) == sorted(expected)
    assert "$.instance_group[0].kind: KIND_GPU runs on the CPU here" in notes


def test_preferred_batch_sizes_are_kept_and_order_nothing() -> None:
    read = settings("max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 4, 8 ] }")
    assert (read.preferred_batch_sizes, read.batching.pad_to) == ((4, 8), ())


TENSORS = """
  input { name: "a" data_type: TYPE_FP32 dims: [ 3, -1 ] }
  output { name: "b" data_type: TYPE_STRING dims: [ ] }
"""


@pytest.mark.parametrize(("rows", "axis"), [(0, ()), (8, (-1,))])
def test_declared_tensors_have_the_batch_axis_of_a_signature(
    rows: int, axis: tuple[int, ...]
) -> None:
    read = settings(f"max_batch_size: {rows} {TENSORS}")
    assert read.declared_inputs == (TensorSpec("a", "FP32", (*axis, 3, -1)),)
    assert read.declared_outputs == (TensorSpec("b", "BYTES", axis),)


def test_undeclared_tensors_are_none() -> None:
    assert (settings("").declared_inputs, settings("").declared_outputs) == (None, None)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (VersionPolicy("all"), {"v1", "2", "9", "10"}),
        (VersionPolicy("latest"), {"10"}),
        (VersionPolicy("latest", 3), {"2", "9", "10"}),
        (VersionPolicy("specific", versions=("2", "3")), {"2"}),
    ],
)
def test_a_policy_chooses_among_what_is_there(policy: VersionPolicy, expected: set[str]) -> None:
    assert chosen(policy, ["10", "9", "v1", "2"]) == expected
