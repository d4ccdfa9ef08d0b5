"""Describe: a version's configuration in Triton's words.

Job    what `GET …/config` answers: declared settings, completed from the graph.
Life   pure; called at each question.
Never  shows `sequence_batching`, `ensemble_scheduling` or `model_transaction_policy`:
       clients change their load when these are there.

Source: Triton's model configuration extension; protocol chapter 11, G1 and G2.
"""

from typing import Any

from gateway.repository.declared import BACKEND, TRITON_NAMES
from gateway.repository.proof import Found
from gateway.repository.settings import VersionPolicy
from gateway.types import Signature, TensorSpec


def describe(
    found: Found, signature: Signature, platform: str, default_wait_ms: float = 0.0
) -> dict[str, Any]:
    """Return the configuration of one version as plain JSON values.

    `default_wait_ms` is the gateway's own, where the version declares no wait.
    """
    settings = found.settings
    batches = signature.max_batch_rows > 0
    config: dict[str, Any] = {
        "name": found.model,
        "platform": platform,
        "backend": BACKEND,
        "version_policy": _policy(settings.version_policy),
        "max_batch_size": signature.max_batch_rows,
        "input": [
            {**_tensor(spec, batches), "optional": False, "is_shape_tensor": False}
            for spec in signature.inputs
        ],
        "output": [
            {**_tensor(spec, batches), "label_filename": settings.label_files.get(spec.name, "")}
            for spec in signature.outputs
        ],
        "instance_group": [
            {
                "name": f"{found.model}_0",
                "kind": "KIND_CPU",
                "count": settings.execution.instances,
                "gpus": [],
            }
        ],
        "parameters": {
            key: {"string_value": value} for key, value in sorted(_parameters(found).items())
        },
    }
    if batches:
        wait_ms = settings.batching.max_wait_ms
        config["dynamic_batching"] = {
            "preferred_batch_size": list(settings.preferred_batch_sizes),
            "max_queue_delay_microseconds": round(
                1000 * (default_wait_ms if wait_ms is None else wait_ms)
            ),
            "preserve_ordering": False,
        }
    return config


def _parameters(found: Found) -> dict[str, str]:
    """Return what was declared, and how many threads an execution really has."""
    execution = found.settings.execution
    return {
        **found.settings.parameters,
        "intra_op_thread_count": str(execution.intra_op_threads),
        "inter_op_thread_count": str(execution.inter_op_threads),
    }


def _tensor(spec: TensorSpec, batches: bool) -> dict[str, Any]:
    return {
        "name": spec.name,
        "data_type": TRITON_NAMES[spec.datatype],
        "dims": list(spec.shape[1:] if batches else spec.shape),
    }


def _policy(policy: VersionPolicy) -> dict[str, Any]:
    if policy.kind == "latest":
        return {"latest": {"num_versions": policy.count}}
    if policy.kind == "specific":
        return {"specific": {"versions": [int(version) for version in policy.versions]}}
    return {"all": {}}
