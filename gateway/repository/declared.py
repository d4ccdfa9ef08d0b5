"""Declared: from a model's configuration in Triton's words to settings in ours.

Job    check every value, and give each its meaning here.
Life   called once a model, or once a load request that brings a configuration.
Never  stops at the first fault; never reads beyond the model's folder.

Where Triton and the gateway differ:
- A model with a batch axis is batched, with `dynamic_batching` or without: a merged
  request has the same answer. `dynamic_batching` says how long one may wait.
- An instance is an execution at once on the CPU, whatever device its group names: who
  points a CPU gateway at a repository of GPU models wants them served.
- Tensors may be left out: the graph knows them. What is declared must fit the graph.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gateway.core.datatypes import DATATYPES
from gateway.core.versions import version_key
from gateway.repository.accepted import standing
from gateway.repository.beside import Beside
from gateway.repository.reasons import brief, few
from gateway.repository.settings import (
    BatchingSettings,
    ExecutionSettings,
    ModelSettings,
    VersionPolicy,
)
from gateway.repository.triton import Values
from gateway.types import TensorSpec

BACKEND, PLATFORM = "onnxruntime", "onnxruntime_onnx"
TRITON_NAMES = {name: f"TYPE_{name}" for name in DATATYPES} | {"BYTES": "TYPE_STRING"}

_DATATYPES = {triton: name for name, triton in TRITON_NAMES.items()}
_KINDS = {"KIND_AUTO", "KIND_CPU", "KIND_GPU", "KIND_MODEL"}
_MOST_INSTANCES = 1024
_MOST_THREADS = 1024
_MOST_DELAY_US = 3_600_000_000
_MOST_FILENAME_CHARS = 1024
_THREADS = {"intra": "intra_op_thread_count", "inter": "inter_op_thread_count"}


class Undeclarable(ValueError):
    """What is wrong with a configuration: each fault a path and a sentence."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{path}: {what}" for path, what in self.faults))


@dataclass(frozen=True, slots=True)
class Declared:
    """What a configuration says: settings, and how the model's file is called, if it does."""

    settings: ModelSettings
    filename: str | None = None


def declared(
    values: Values, folder: Path, origin: Literal["pbtxt", "request"], model: str
) -> Declared:
    """Return what `values` say of the `model` whose folder is `folder`.

    Raises: Undeclarable with every fault.
    """
    reading = _Reading(values)
    reading.check_fields()
    reading.check_names(model)
    policy = reading.version_policy()
    batching = reading.batching()
    settings = ModelSettings(
        batching=batching,
        execution=reading.execution(),
        origin=origin,
        version_policy=policy,
        declared_inputs=reading.tensors("input", batching.max_batch_size > 0),
        declared_outputs=reading.tensors("output", batching.max_batch_size > 0),
        parameters=reading.parameters(),
        preferred_batch_sizes=reading.preferred_batch_sizes(),
    )
    beside = Beside(folder, values, _DATATYPES, batching.max_batch_size)
    labels = beside.labels()
    settings = replace(
        settings,
        labels=labels,
        label_files={output: beside.label_files[output] for output in labels},
        warmup=beside.warmup(),
        notes=few(reading.notes),
    )
    filename = reading.filename()
    faults = reading.faults + beside.faults
    if faults:
        raise Undeclarable(faults)
    return Declared(settings, filename)


def chosen(policy: VersionPolicy, versions: Iterable[str]) -> frozenset[str]:
    """Return which of the `versions` that exist are served."""
    ascending = sorted(versions, key=version_key)
    if policy.kind == "all":
        return frozenset(ascending)
    if policy.kind == "latest":
        return frozenset(ascending[-policy.count :])
    return frozenset(ascending) & frozenset(policy.versions)


@dataclass(slots=True)
class _Reading:
    """One configuration, and what was found wrong with it so far."""

    values: Values
    faults: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fault(self, path: str, what: str) -> None:
        self.faults.append((path, what))

    def check_fields(self) -> None:
        for how, path, why in standing(self.values):
            if how == "refused":
                self.fault(path, f"is not served: {why}")
            elif how == "ignored":
                self.notes.append(f"{path} has no effect: {why}")

    def check_names(self, model: str) -> None:
        for key, expected in (("name", model), ("platform", PLATFORM), ("backend", BACKEND)):
            if self.values.get(key, expected) != expected:
                got = brief(repr(self.values[key]))
                self.fault(f"$.{key}", f"expected '{expected}', got {got}")

    def filename(self) -> str | None:
        name: str | None = self.values.get("default_model_filename")
        if name is None:
            return None
        if "/" in name or "\0" in name or name.startswith("."):
            what = f"must name a file, not hidden, got {brief(repr(name))}"
            self.fault("$.default_model_filename", what)
        elif len(name) > _MOST_FILENAME_CHARS:
            self.fault("$.default_model_filename", f"has {len(name)} characters: too many")
        return name

    def version_policy(self) -> VersionPolicy:
        policy: Mapping[str, Any] = self.values.get("version_policy", {})
        if "all" in policy:
            return VersionPolicy("all")
        if "specific" not in policy:
            return VersionPolicy("latest", policy.get("latest", {}).get("num_versions", 1))
        versions = policy["specific"].get("versions", [])
        if not versions or min(versions) < 0:
            path = "$.version_policy.specific.versions"
            self.fault(path, f"expected numbers of versions, got {brief(versions)}")
        return VersionPolicy("specific", versions=tuple(str(version) for version in versions))

    def batching(self) -> BatchingSettings:
        rows = self.values.get("max_batch_size", 0)
        if rows < 0:
            self.fault("$.max_batch_size", f"must be at least 0, got {rows}")
        delay_us = None
        if "dynamic_batching" in self.values:
            delay_us = self.values["dynamic_batching"].get("max_queue_delay_microseconds", 0)
            if delay_us > _MOST_DELAY_US:
                path = "$.dynamic_batching.max_queue_delay_microseconds"
                self.fault(path, f"must be at most {_MOST_DELAY_US}, got {delay_us}")
        return BatchingSettings(max(rows, 0), None if delay_us is None else delay_us / 1000)

    def preferred_batch_sizes(self) -> tuple[int, ...]:
        return tuple(self.values.get("dynamic_batching", {}).get("preferred_batch_size", ()))

    def execution(self) -> ExecutionSettings:
        instances = 0
        for index, group in enumerate(self.values.get("instance_group", ())):
            path = f"$.instance_group[{index}]"
            kind, count = group.get("kind", "KIND_AUTO"), group.get("count", 1)
            if kind not in _KINDS:
                self.fault(f"{path}.kind", f"expected one of {sorted(_KINDS)}, got {kind}")
            elif kind not in ("KIND_AUTO", "KIND_CPU"):
                self.notes.append(f"{path}.kind: {kind} runs on the CPU here")
            if count < 1:
                self.fault(f"{path}.count", f"must be at least 1, got {count}")
            instances += 0 if group.get("passive") else count
        if instances > _MOST_INSTANCES:
            self.fault("$.instance_group", f"at most {_MOST_INSTANCES} instances, got {instances}")
        threads = {key: self._threads(name) for key, name in _THREADS.items()}
        return ExecutionSettings("auto", max(instances, 1), threads["intra"], threads["inter"])

    def _threads(self, name: str) -> int:
        text = self.parameters().get(name, "1")
        digits = text.lstrip("0") or text[:1]  # a number of any length may be written down
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= len(str(_MOST_THREADS))
        if not is_number or int(digits) > _MOST_THREADS:
            what = f"expected 0 to {_MOST_THREADS}, got {brief(repr(text))}"
            self.fault(f"$.parameters.{name}", what)
            return 1
        if int(digits) == 0:
            self.notes.append(f"$.parameters.{name}: 0 is 1 here, not every core")
        return max(int(digits), 1)

    def parameters(self) -> dict[str, str]:
        given: Mapping[str, Mapping[str, str]] = self.values.get("parameters", {})
        return {key: value.get("string_value", "") for key, value in given.items()}

    def tensors(
        self, noun: Literal["input", "output"], batches: bool
    ) -> tuple[TensorSpec, ...] | None:
        specs: dict[str, TensorSpec] = {}
        for index, one in enumerate(self.values.get(noun, ())):
            path = f"$.{noun}[{index}]"
            name, dims = one.get("name", ""), one.get("dims", [])
            kind = _DATATYPES.get(one.get("data_type", "TYPE_INVALID"))
            if not name or name in specs:
                what = f"'{brief(name)}' is there twice" if name else "is missing"
                self.fault(f"{path}.name", what)
            if kind is None:
                got = one.get("data_type", "none")
                self.fault(f"{path}.data_type", f"expected a type of the protocol, got {got}")
            if any(axis == 0 or axis < -1 for axis in dims):
                self.fault(f"{path}.dims", f"an axis is -1 or at least 1, got {brief(dims)}")
            specs[name] = TensorSpec(name, kind or "", ((-1,) if batches else ()) + tuple(dims))
        return tuple(specs.values()) or None
