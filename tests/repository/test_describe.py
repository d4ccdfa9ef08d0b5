"""The configuration that a version shows: Triton's words, the graph's shapes."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.repository.describe import describe
from gateway.repository.proof import Found
from gateway.repository.settings import (
    BatchingSettings,
    ExecutionSettings,
    ModelSettings,
    VersionPolicy,
)
from gateway.repository.triton import read_json
from gateway.types import Signature, TensorSpec

BATCHES = Signature(
    (TensorSpec("x", "FP32", (-1, 3, -1)), TensorSpec("s", "BYTES", (-1,))),
    (TensorSpec("y", "BF16", (-1, 10)),),
    8,
)
ALONE = Signature((TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "INT64", (1,)),), 0)


def shown(
    settings: ModelSettings, signature: Signature = BATCHES, wait_ms: float = 0.0
) -> dict[str, Any]:
    found = Found("resnet", "1", Path("resnet/1"), Path("resnet/1/model.onnx"), settings)
    return describe(found, signature, "onnxruntime_onnx", wait_ms)


def test_everything_is_in_tritons_words() -> None:
    settings = ModelSettings(
        batching=BatchingSettings(8, 1.5),
        execution=ExecutionSettings("auto", 2, 3, 1),
        version_policy=VersionPolicy("latest", 2),
        label_files={"y": "labels.txt"},
        parameters={"mine": "yes", "intra_op_thread_count": "3"},
        preferred_batch_sizes=(4, 8),
    )
    assert shown(settings) == {
        "name": "resnet",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 2}},
        "max_batch_size": 8,
        "input": [
            {
                "name": "x",
                "data_type": "TYPE_FP32",
                "dims": [3, -1],
                "optional": False,
                "is_shape_tensor": False,
            },
            {
                "name": "s",
                "data_type": "TYPE_STRING",
                "dims": [],
                "optional": False,
                "is_shape_tensor": False,
            },
        ],
        "output": [
            {"name": "y", "data_type": "TYPE_BF16", "dims": [10], "label_filename": "labels.txt"}
        ],
        "instance_group": [{"name": "resnet_0", "kind": "KIND_CPU", "count": 2, "gpus": []}],
        "parameters": {
            "inter_op_thread_count": {"string_value": "1"},
            "intra_op_thread_count": {"string_value": "3"},
            "mine": {"string_value": "yes"},
        },
        "dynamic_batching": {
            "preferred_batch_size": [4, 8],
            "max_queue_delay_microseconds": 1500,
            "preserve_ordering": False,
        },
    }


def test_a_model_without_a_batch_axis_shows_whole_shapes_and_no_batching() -> None:
    config = shown(ModelSettings(), ALONE)
    assert "dynamic_batching" not in config
    assert config["max_batch_size"] == 0
    assert (config["input"][0]["dims"], config["output"][0]["dims"]) == ([-1, 3], [1])


@pytest.mark.parametrize("signature", [BATCHES, ALONE])
def test_what_would_change_a_clients_load_is_not_there(signature: Signature) -> None:
    absent = {"sequence_batching", "ensemble_scheduling", "model_transaction_policy"}
    assert absent & shown(ModelSettings(), signature).keys() == set()


def test_the_gateways_own_wait_is_shown_where_the_version_says_none() -> None:
    assert shown(ModelSettings(), wait_ms=2.0)["dynamic_batching"] == {
        "preferred_batch_size": [],
        "max_queue_delay_microseconds": 2000,
        "preserve_ordering": False,
    }


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (VersionPolicy("all"), {"all": {}}),
        (VersionPolicy("latest", 1), {"latest": {"num_versions": 1}}),
        (VersionPolicy("specific", versions=("1", "3")), {"specific": {"versions": [1, 3]}}),
    ],
)
def test_the_policy_is_shown(policy: VersionPolicy, expected: dict[str, Any]) -> None:
    assert shown(ModelSettings(version_policy=policy))["version_policy"] == expected


@pytest.mark.parametrize("signature", [BATCHES, ALONE])
def test_what_is_shown_can_be_sent_back(signature: Signature) -> None:
    config = shown(ModelSettings(), signature)
    values = read_json(json.dumps(config))
    assert values.keys() == {name for name, value in config.items() if value}
