"""Accepted: what of a Triton configuration counts here, and why the rest does not.

Job    the one table of every field; tell which fields of a configuration are refused,
       and which are accepted and without effect.
Life   pure.
Never  silent: what has no effect and could be missed is said in a note.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from gateway.repository.triton import REFUSED

# "served" has its effect; "shown" changes nothing that a caller could tell; "ignored"
# is noted; "refused" is a fault wherever it is set.
Standing = Literal["served", "shown", "ignored", "refused"]

_NO_RESHAPE = "tensors are not reshaped here: declare dims as the graph has them"
_DIMS = "compared with the graph; they count where it leaves an axis open"
_NO_SHAPES = "only TensorRT has shape tensors"
_NO_FORMATS = "only TensorRT has such formats"
_OWN_LEVELS = "batching.priority_levels of the gateway counts for all models"
_OWN_QUEUES = "limits.max_queue_rows and default_deadline_s of the gateway count"
_ON_CPU = "models run on the CPU here"

FIELDS: dict[str, tuple[Standing, str]] = {
    "name": ("served", "must be the folder's"),
    "platform": ("served", "must be onnxruntime_onnx, or absent"),
    "backend": ("served", "must be onnxruntime, or absent"),
    "runtime": ("ignored", "the runtime is the gateway's own"),
    "version_policy": ("served", "which of the version folders are served"),
    "max_batch_size": ("served", "rows of one request; 0: no batch axis"),
    "input.name": ("served", "compared with the graph"),
    "input.data_type": ("served", "compared with the graph"),
    "input.dims": ("served", _DIMS),
    "input.format": ("shown", "it adds nothing to dims"),
    "input.reshape": ("refused", _NO_RESHAPE),
    "input.is_shape_tensor": ("refused", _NO_SHAPES),
    "input.allow_ragged_batch": ("refused", "the rows of a batch have one shape here"),
    "input.optional": ("refused", "a request must bring every input here"),
    "input.is_non_linear_format_io": ("refused", _NO_FORMATS),
    "output.name": ("served", "compared with the graph"),
    "output.data_type": ("served", "compared with the graph"),
    "output.dims": ("served", _DIMS),
    "output.label_filename": ("served", "names of classes, a line each"),
    "output.reshape": ("refused", _NO_RESHAPE),
    "output.is_shape_tensor": ("refused", _NO_SHAPES),
    "output.is_non_linear_format_io": ("refused", _NO_FORMATS),
    "dynamic_batching.preferred_batch_size": (
        "shown",
        "a batch leaves as soon as it can run, whatever its size",
    ),
    "dynamic_batching.max_queue_delay_microseconds": ("served", "the longest wait for company"),
    "dynamic_batching.preserve_ordering": ("shown", "the answers of a connection keep their order"),
    "dynamic_batching.priority_levels": ("ignored", _OWN_LEVELS),
    "dynamic_batching.default_priority_level": ("ignored", _OWN_LEVELS),
    "dynamic_batching.default_queue_policy": ("ignored", _OWN_QUEUES),
    "dynamic_batching.priority_queue_policy": ("ignored", _OWN_QUEUES),
    "instance_group.name": ("shown", "instances have no names"),
    "instance_group.kind": ("served", "KIND_CPU or KIND_AUTO; others run on the CPU too"),
    "instance_group.count": ("served", "executions at once, summed over the groups"),
    "instance_group.passive": ("served", "a passive group has no instances"),
    "instance_group.gpus": ("ignored", _ON_CPU),
    "instance_group.profile": ("ignored", "only TensorRT has profiles"),
    "instance_group.host_policy": ("ignored", "instances are not bound to cores"),
    "default_model_filename": ("served", "the model's file in the version folder"),
    "cc_model_filenames": ("ignored", _ON_CPU),
    "metric_tags": ("ignored", "metrics are labelled by model and version"),
    "parameters": ("served", "intra_op_thread_count and inter_op_thread_count; others are shown"),
    "model_warmup": ("served", "run before the version is ready"),
    "model_transaction_policy.decoupled": ("refused", "a request has one answer here"),
    "response_cache": ("ignored", "cache.enabled of the gateway counts for all models"),
    "optimization": ("ignored", "ONNX Runtime's own defaults count, on the CPU"),
    **{
        field: ("refused", REFUSED[field.rpartition(".")[2]])
        for field in (
            "batch_input",
            "batch_output",
            "sequence_batching",
            "ensemble_scheduling",
            "model_operations",
            "model_repository_agents",
            "model_metrics",
            "instance_group.rate_limiter",
            "instance_group.secondary_devices",
        )
    },
}


def standing(values: Mapping[str, Any]) -> Iterator[tuple[Standing, str, str]]:
    """Yield (standing, path, why) of every field that is set in a configuration."""
    return _standing(values, "", "$")


def _standing(
    values: Mapping[str, Any], prefix: str, path: str
) -> Iterator[tuple[Standing, str, str]]:
    for name, value in values.items():
        field, place = prefix + name, f"{path}.{name}"
        if field in FIELDS:
            how, why = FIELDS[field]
            yield how, place, why
        elif isinstance(value, Mapping):
            yield from _standing(value, f"{field}.", place)
        elif isinstance(value, Sequence):
            for index, one in enumerate(value):
                yield from _standing(one, f"{field}.", f"{place}[{index}]")
