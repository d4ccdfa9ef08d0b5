"""Session: the one door to ONNX Runtime.

Job    open a model file, tell its signature, run stacked calls, check what comes out.
Life   opened once per version and shared: `execute` may run in several threads at once.
Never  guesses a batch axis: the settings declare it; a graph that contradicts them is
       refused with the tensor's name.

Threads inside ONNX Runtime do not spin: on shared cores spinning takes the event
loop's core away from it.
"""

import ctypes
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from errno import ENOMEM
from pathlib import Path

import numpy as np
import onnxruntime as ort

from gateway.core.datatypes import BY_ONNX, DATATYPES
from gateway.core.stacking import bucket, pad, stack, zeros
from gateway.errors import ModelFailed
from gateway.execute.words import what_failed, why_not_opened
from gateway.types import Array, Call, Outputs, Shape, Signature, TensorSpec

_USE_FILES_DIRECTLY = "session.use_external_initializer_file_buffers_directly"
_NO_MEMORY = re.compile(r"bad_alloc|Failed to allocate memory|Unable to allocate")
_NO_FILES: Mapping[str, memoryview] = {}
_TYPED = "ONNX Runtime makes no typed value of strings in Python"


class LoadFailed(Exception):
    """A model file cannot be served; the message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How to open a model, and how to try it.

    Shapes: `inputs` and `outputs` are what was declared of some tensors: they say how long
    the axes are that the graph leaves open. `trial_shapes` are one row of an input, by
    name, for what is open even so; without them each such axis is 1.
    """

    max_batch_rows: int = 0  # 0 = no batch axis
    intra_op_threads: int = 1
    inter_op_threads: int = 1
    pad_to: tuple[int, ...] = ()
    trial_shapes: Mapping[str, Shape] = field(default_factory=dict)
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


class Session:
    """Runs calls of equal shapes as one execution; safe in several threads at once."""

    def __init__(
        self, path: Path, settings: SessionSettings, files: Mapping[str, memoryview] = _NO_FILES
    ) -> None:
        """Open a model.

        `files` are its external data by location, for initializers of the graph itself.
        They are used where they are, as long as the session lives: nobody may change them.

        Raises: LoadFailed.
        """
        try:
            self._ort = ort.InferenceSession(
                str(path), _options(settings, files), providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise LoadFailed(f"{path}: {why_not_opened(error)}") from error
        self._files = files  # after `_ort`: what is set last is let go last
        batches = settings.max_batch_rows > 0
        inputs = _specs(path, self._ort.get_inputs(), batches, settings.inputs)
        outputs = _specs(path, self._ort.get_outputs(), batches, settings.outputs)
        self.signature = Signature(tuple(inputs), tuple(outputs), settings.max_batch_rows)
        self.fixed_rows = _fixed_rows(self._ort.get_inputs()) if batches else None
        self._pad_to = (self.fixed_rows,) if self.fixed_rows else settings.pad_to
        self._trial_shapes = settings.trial_shapes
        # With one thread the caller's own does all the work, and its CPU time is the cost.
        alone = settings.intra_op_threads == settings.inter_op_threads == 1
        self._clock: Callable[[], float] = time.thread_time if alone else time.perf_counter
        self._bfloat16 = any(s.datatype == "BF16" for s in (*inputs, *outputs))
        strings = [spec.name for spec in inputs if spec.datatype == "BYTES"]
        if self._bfloat16 and strings:
            raise LoadFailed(
                f"{path}: tensor '{strings[0]}' is BYTES in a model with BF16: {_TYPED}"
            )
        self._output_names = [spec.name for spec in outputs]

    def execute(self, calls: Sequence[Call]) -> Outputs:
        """Run the calls together; their rows come out in the order they went in.

        Raises: ModelFailed where an output does not fit the signature; whatever ONNX
        Runtime raises.
        """
        started_ns = time.perf_counter_ns()
        return self.execute_joined(stack(calls, self.signature), len(calls), started_ns)

    def execute_joined(self, arrays: Sequence[Array], calls: int, started_ns: int) -> Outputs:
        """Run rows that were joined already, since `started_ns`. Raises: as `execute`."""
        batches = self.signature.max_batch_rows > 0
        rows = size = len(arrays[0]) if batches else 1
        if batches and self._pad_to and (size := bucket(rows, self._pad_to)) > rows:
            arrays = pad(arrays, size)
        joined_ns = time.perf_counter_ns()
        outputs = self._run(arrays)
        ran_ns = time.perf_counter_ns()
        checked = self._checked(outputs, size if batches else None)
        if size > rows:
            checked = [array[:rows] for array in checked]
        return Outputs(
            checked,
            calls,
            input_ns=joined_ns - started_ns,
            infer_ns=ran_ns - joined_ns,
            output_ns=time.perf_counter_ns() - ran_ns,
        )

    def infer(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Run whole arrays, in the order of the signature; the outputs are as callers get them.

        Raises: as `execute`.
        """
        if not self.signature.max_batch_rows:
            return self._checked(self._run(arrays), None)
        rows = len(arrays[0])
        size = bucket(rows, self._pad_to)
        return [array[:rows] for array in self._checked(self._run(pad(arrays, size)), size)]

    def time_s(self, rows: int) -> float:
        """Run `rows` rows of zeros once; return the seconds it took.

        Units: seconds of CPU where the model runs on one thread, so that what else the
        machine does is not counted; else seconds of the clock on the wall.

        Raises: as `execute`.
        """
        batches = self.signature.max_batch_rows > 0
        size = bucket(rows, self._pad_to) if batches else rows
        arrays = [self._zeros(spec, size) for spec in self.signature.inputs]
        started = self._clock()
        outputs = self._run(arrays)
        elapsed_s = self._clock() - started
        self._checked(outputs, size if batches else None)
        return elapsed_s

    def _zeros(self, spec: TensorSpec, rows: int) -> Array:
        return zeros(
            spec, rows, self.signature.max_batch_rows > 0, self._trial_shapes.get(spec.name)
        )

    def _run(self, arrays: Sequence[Array]) -> list[Array]:
        if self._bfloat16:
            return self._run_ort_values(arrays)
        feeds = {s.name: array for s, array in zip(self.signature.inputs, arrays, strict=True)}
        try:
            outputs: list[Array] = self._ort.run(self._output_names, feeds)
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise ModelFailed(what_failed(error)) from error
        return outputs

    def _run_ort_values(self, arrays: Sequence[Array]) -> list[Array]:
        """Run with typed values: numpy has no bfloat16, so its bits travel as uint16."""
        feeds = {
            spec.name: ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, 16)
            if spec.datatype == "BF16"
            else ort.OrtValue.ortvalue_from_numpy(array)
            for spec, array in zip(self.signature.inputs, arrays, strict=True)
        }
        try:
            values = self._ort.run_with_ort_values(self._output_names, feeds)
        except Exception as error:  # as above
            raise ModelFailed(what_failed(error)) from error
        return [
            _bits(value) if spec.datatype == "BF16" else value.numpy()
            for spec, value in zip(self.signature.outputs, values, strict=True)
        ]

    def _checked(self, arrays: Sequence[Array], rows: int | None) -> Sequence[Array]:
        """Refuse outputs that the signature does not allow. `rows` None: no batch axis."""
        for spec, array in zip(self.signature.outputs, arrays, strict=True):
            kind = DATATYPES[spec.datatype]
            fits = array.ndim == len(spec.shape) and (rows is None or array.shape[0] == rows)
            if not fits or (kind.size_bytes and array.dtype != kind.numpy):
                raise ModelFailed(
                    f"output '{spec.name}': expected {spec.datatype} {list(spec.shape)}"
                    f"{'' if rows is None else f' of {rows} rows'}, got {array.dtype} "
                    f"{list(array.shape)}"
                )
        return arrays


def _options(settings: SessionSettings, files: Mapping[str, memoryview]) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = settings.inter_op_threads
    if settings.inter_op_threads > 1:
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4  # a failed run is an answer; it must not fill our log
    if files:
        options.add_session_config_entry(_USE_FILES_DIRECTLY, "1")  # else they are copied
        options.add_external_initializers_from_files_in_memory(
            list(files), list(files.values()), [len(file) for file in files.values()]
        )
    return options


def is_out_of_memory(error: BaseException | None) -> bool:
    """Say whether an error, or what it came from, is that memory could not be had."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if isinstance(error, MemoryError) or number == ENOMEM or _NO_MEMORY.search(str(error)):
            return True
        error = error.__cause__
    return False


def _spec(path: Path, node: ort.NodeArg, batches: bool) -> TensorSpec:
    kind = BY_ONNX.get(node.type)
    if kind is None:
        raise LoadFailed(
            f"{path}: tensor '{node.name}' has type {node.type}, which V2 cannot carry"
        )
    shape = tuple(axis if isinstance(axis, int) and axis >= 0 else -1 for axis in node.shape)
    if batches:
        if not shape:
            raise LoadFailed(f"{path}: tensor '{node.name}' is a scalar, but max_batch_size is set")
        shape = (-1, *shape[1:])
    return TensorSpec(node.name, kind.name, shape)


def _specs(
    path: Path, nodes: Sequence[ort.NodeArg], batches: bool, declared: Sequence[TensorSpec]
) -> list[TensorSpec]:
    """Return the graph's tensors, with the axes that it leaves open as they are declared."""
    said = {spec.name: spec.shape for spec in declared}
    specs = [_spec(path, node, batches) for node in nodes]
    return [replace(one, shape=_closed(one.shape, said.get(one.name, ()))) for one in specs]


def _closed(shape: Shape, declared: Shape) -> Shape:
    if len(shape) != len(declared):
        return shape  # whoever compares the two will say so
    return tuple(b if a == -1 else a for a, b in zip(shape, declared, strict=True))


def _fixed_rows(nodes: Sequence[ort.NodeArg]) -> int | None:
    """Return the graph's own fixed batch size, if its first axis is fixed."""
    first = [node.shape[0] for node in nodes if node.shape and isinstance(node.shape[0], int)]
    return max((rows for rows in first if rows > 0), default=None)


def _bits(value: "ort.OrtValue") -> Array:
    """Copy a bfloat16 value's bits: numpy() has no type for it."""
    count = int(np.prod(value.shape()))
    raw = (ctypes.c_uint16 * count).from_address(value.data_ptr())
    return np.array(raw, dtype="<u2").reshape(value.shape())
