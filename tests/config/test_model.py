"""`model.toml`: what a version may declare, and every fault in it."""

import tomllib

import pytest

from gateway.config import ConfigError, parse_model
from gateway.repository.settings import BatchingSettings, ExecutionSettings, ModelSettings

WHOLE = """
description = "Reads digits"

[batching]
max_batch_size = 1024
max_wait_ms = 0.5
pad_to = [1, 8, 64]
max_execution_rows = 256

[execution]
executor = "thread"
instances = 2
intra_op_threads = 3
inter_op_threads = 4

[metrics]
accuracy = 0.97
rows = 100
"""


def faults(text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse_model(tomllib.loads(text))
    return dict(caught.value.faults)


def test_an_empty_file_is_the_defaults() -> None:
    assert parse_model({}) == ModelSettings()


@pytest.mark.parametrize("text", ["[batching]", "[execution]", "[metrics]"])
def test_an_empty_table_is_its_defaults(text: str) -> None:
    assert parse_model(tomllib.loads(text)) == ModelSettings()


def test_every_key_reaches_the_settings() -> None:
    assert parse_model(tomllib.loads(WHOLE)) == ModelSettings(
        description="Reads digits",
        batching=BatchingSettings(1024, 0.5, (1, 8, 64), 256),
        execution=ExecutionSettings("thread", 2, 3, 4),
        metrics={"accuracy": 0.97, "rows": 100.0},
    )


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("description = 3", "$.description"),
        ("batching = 3", "$.batching"),
        ("batching.max_batch_size = -1", "$.batching.max_batch_size"),
        ("batching.max_batch_size = 8.0", "$.batching.max_batch_size"),
        ("batching.max_wait_ms = -0.1", "$.batching.max_wait_ms"),
        ("batching.max_wait_ms = inf", "$.batching.max_wait_ms"),
        ("batching.pad_to = 8", "$.batching.pad_to"),
        ("batching.pad_to = [8, 0]", "$.batching.pad_to[1]"),
        ("batching.max_execution_rows = 0", "$.batching.max_execution_rows"),
        ('execution.executor = "elsewhere"', "$.execution.executor"),
        ("execution.max_memory_bytes = -1", "$.execution.max_memory_bytes"),
        ("execution.suspect_after_s = 0", "$.execution.suspect_after_s"),
        ("execution.instances = 0", "$.execution.instances"),
        ("execution.intra_op_threads = 0", "$.execution.intra_op_threads"),
        ("execution.inter_op_threads = true", "$.execution.inter_op_threads"),
        ('metrics.accuracy = "high"', "$.metrics.accuracy"),
        ("metrics.accuracy = nan", "$.metrics.accuracy"),
        ("metrics = []", "$.metrics"),
    ],
)
def test_a_value_out_of_bounds_is_told_its_path(text: str, path: str) -> None:
    assert list(faults(text)) == [path]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("pad_to = [1]", "pad_to and max_execution_rows need a max_batch_size of at least 1"),
        (
            "max_execution_rows = 8",
            "pad_to and max_execution_rows need a max_batch_size of at least 1",
        ),
        (
            "max_batch_size = 8\nmax_execution_rows = 9",
            "max_execution_rows must be at most max_batch_size (8), got 9",
        ),
        ("max_batch_size = 8\npad_to = [4, 1]", "pad_to must ascend, got [4, 1]"),
        ("max_batch_size = 8\npad_to = [4, 4]", "pad_to must ascend, got [4, 4]"),
        (
            "max_batch_size = 8\npad_to = [16]",
            "pad_to must not exceed the 8 rows of one execution, got 16",
        ),
        (
            "max_batch_size = 64\nmax_execution_rows = 8\npad_to = [8, 16]",
            "pad_to must not exceed the 8 rows of one execution, got 16",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_told_how(text: str, what: str) -> None:
    assert faults(f"[batching]\n{text}") == {"$.batching": what}


def test_an_inline_executor_has_one_instance() -> None:
    expected = {"$.execution": "an inline executor has 1 instance, got 2"}
    assert faults('execution = { executor = "inline", instances = 2 }') == expected


def test_a_version_in_processes_has_their_limits() -> None:
    text = 'execution = { executor = "process", max_memory_bytes = 9, suspect_after_s = 2 }'
    expected = ExecutionSettings("process", max_memory_bytes=9, suspect_after_s=2.0)
    assert parse_model(tomllib.loads(text)).execution == expected


@pytest.mark.parametrize("key", ["max_memory_bytes", "suspect_after_s"])
@pytest.mark.parametrize("executor", ["auto", "inline", "thread"])
def test_limits_of_processes_need_processes(key: str, executor: str) -> None:
    expected = {"$.execution": f"{key} is for executor = 'process', got '{executor}'"}
    assert faults(f'execution = {{ executor = "{executor}", {key} = 1 }}') == expected


def test_padding_reaches_to_the_largest_execution() -> None:
    text = "[batching]\nmax_batch_size = 64\nmax_execution_rows = 8\npad_to = [8]"
    assert parse_model(tomllib.loads(text)).batching.pad_to == (8,)


def test_an_unknown_key_is_told_its_nearest_neighbour() -> None:
    expected = {
        "$.max_batch_size": "unknown key; did you mean batching.max_batch_size?",
        "$.batching.max_wait_s": "unknown key; did you mean batching.max_wait_ms?",
    }
    assert faults("max_batch_size = 8\nbatching.max_wait_s = 1") == expected


def test_all_faults_are_told_at_once() -> None:
    text = "name = 3\nexecution.instances = 0\n[metrics]\na = 'x'\nb = 'y'"
    expected = {"$.name", "$.execution.instances", "$.metrics.a", "$.metrics.b"}
    assert faults(text).keys() == expected
