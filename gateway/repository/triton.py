"""Triton: the grammar of a `config.pbtxt`, and of the same thing as JSON.

Job    turn the text of a model's configuration into plain values, under Triton's names.
Life   called once a model; the message types are made once a process.
Never  means anything by a value: what is accepted, and what of it counts, is next door.

The types are made here, in code, from the names below: no generated file, and no more
of the configuration than can be written down by an operator. A field whose type is
`!` is known by its name alone: whatever it holds is refused, with the reason there.
An absent field, and one that holds its type's zero, are the same thing.

Source: Triton Inference Server, model_config.proto; protocol buffers' text format.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
    text_format,
)
from google.protobuf.message import Message

from gateway.repository.reasons import brief

Values = Mapping[str, Any]

_PARSE_ERRORS = (text_format.ParseError, json_format.ParseError)
_MOST_CHARS = 1 << 20
_PACKAGE = "model_config"
_OPAQUE = "!"
_PREFIX = "Opaque_"
_MOST_TOLD_CHARS = 300

# type: fields. A field is `name:type`; `*` repeats it, `%` maps texts to it, and fields
# with the same `|mark` exclude each other. A capital begins a type's name.
_TYPES = """
ModelConfig: name:string platform:string backend:string runtime:string
  version_policy:VersionPolicy max_batch_size:int32 input:Input* output:Output*
  batch_input:! batch_output:! optimization:Optimization dynamic_batching:DynamicBatching
  sequence_batching:! ensemble_scheduling:! instance_group:InstanceGroup*
  default_model_filename:string cc_model_filenames:string% metric_tags:string%
  parameters:Parameter% model_warmup:Warmup* model_operations:!
  model_transaction_policy:TransactionPolicy model_repository_agents:!
  response_cache:ResponseCache model_metrics:!
VersionPolicy: latest:Latest|choice all:All|choice specific:Specific|choice
Latest: num_versions:uint32
All:
Specific: versions:int64*
Input: name:string data_type:DataType format:Format dims:int64* reshape:Reshape
  is_shape_tensor:bool allow_ragged_batch:bool optional:bool is_non_linear_format_io:bool
Output: name:string data_type:DataType dims:int64* reshape:Reshape label_filename:string
  is_shape_tensor:bool is_non_linear_format_io:bool
Reshape: shape:int64*
DynamicBatching: preferred_batch_size:int32* max_queue_delay_microseconds:uint64
  preserve_ordering:bool priority_levels:uint64 default_priority_level:uint64
  default_queue_policy:QueuePolicy priority_queue_policy:QueuePolicy%uint64
QueuePolicy: timeout_action:TimeoutAction default_timeout_microseconds:uint64
  allow_timeout_override:bool max_queue_size:uint32
InstanceGroup: name:string kind:Kind count:int32 gpus:int32* rate_limiter:!
  secondary_devices:! profile:string* passive:bool host_policy:string
Parameter: string_value:string
Warmup: name:string batch_size:uint32 inputs:WarmupInput% count:uint32
WarmupInput: data_type:DataType dims:int64* zero_data:bool|fill random_data:bool|fill
  input_data_file:string|fill
TransactionPolicy: decoupled:bool
ResponseCache: enable:bool
Optimization: graph:Graph priority:Priority cuda:Cuda execution_accelerators:Accelerators
  input_pinned_memory:Enable output_pinned_memory:Enable
  gather_kernel_buffer_threshold:uint32 eager_batching:bool
Graph: level:int32
Enable: enable:bool
Cuda: graphs:bool busy_wait_events:bool graph_spec:GraphSpec* output_copy_stream:bool
GraphSpec: batch_size:int32 input:GraphShape% graph_lower_bound:LowerBound
LowerBound: batch_size:int32 input:GraphShape%
GraphShape: dim:int64*
Accelerators: gpu_execution_accelerator:Accelerator* cpu_execution_accelerator:Accelerator*
Accelerator: name:string parameters:string%
"""
_ENUMS = {
    "DataType": """TYPE_INVALID TYPE_BOOL TYPE_UINT8 TYPE_UINT16 TYPE_UINT32 TYPE_UINT64 TYPE_INT8
        TYPE_INT16 TYPE_INT32 TYPE_INT64 TYPE_FP16 TYPE_FP32 TYPE_FP64 TYPE_STRING TYPE_BF16""",
    "Format": "FORMAT_NONE FORMAT_NHWC FORMAT_NCHW",
    "Kind": "KIND_AUTO KIND_GPU KIND_CPU KIND_MODEL",
    "TimeoutAction": "REJECT DELAY",
    "Priority": "PRIORITY_DEFAULT PRIORITY_MAX PRIORITY_MIN",
}
# What the type `!` stands for: never served, whatever it holds.
REFUSED = {
    "batch_input": "no tensor is made from the shape of a batch here",
    "batch_output": "no output is cut by the shape of a batch here",
    "sequence_batching": "requests keep no state between them here",
    "ensemble_scheduling": "a model is one ONNX file here: pipelines are not served",
    "model_operations": "libraries of custom operators are not loaded",
    "model_repository_agents": "no agent is run; put checksums into manifest.sha256",
    "model_metrics": "buckets are the same for all models here",
    "rate_limiter": "instances share no resources here",
    "secondary_devices": "models run on the CPU here",
}
_SCALARS = {"string": 9, "bool": 8, "int32": 5, "int64": 3, "uint32": 13, "uint64": 4}
_FIELD = re.compile(r"(\w+):(\w+|!)(\*|%(\w*))?(?:\|(\w+))?")
_NO_FIELD = re.compile(rf'Message type "{_PACKAGE}\.(\w+)" has no field named "([^"]*)"')
_POSITION = re.compile(r"(\d+):(\d+) : ", re.DOTALL)


class Unreadable(ValueError):
    """The text is no configuration; the message says where, and what was expected."""


def read_text(text: str) -> Values:
    """Return what a `config.pbtxt` says: fields that are set, by name.

    Raises: Unreadable with the line.
    """
    return _read(text, lambda message: text_format.Parse(text, message))


def read_json(text: str) -> Values:
    """Return what a configuration in JSON says; numbers may be texts.

    Raises: Unreadable.
    """

    def parse(message: Message) -> None:
        if not isinstance(json.loads(text), dict):
            raise Unreadable("expected an object")
        json_format.Parse(text, message)

    return _read(text, parse)


def _read(text: str, parse: Any) -> Values:
    if len(text) > _MOST_CHARS:
        raise Unreadable(f"has {len(text)} characters, of at most {_MOST_CHARS}")
    message = message_class()()
    try:
        parse(message)
    except RecursionError:
        raise Unreadable("is nested too deeply") from None
    except (*_PARSE_ERRORS, ValueError, TypeError, AttributeError) as error:
        raise Unreadable(_told(str(error))) from None
    return _values(message)


def _told(words: str) -> str:
    """Say in our words what a parser said in its own."""
    place = _POSITION.match(words)
    line = f"line {place[1]}: " if place else ""
    unknown = _NO_FIELD.search(words)
    if unknown and unknown[1].startswith(_PREFIX):
        field = unknown[1].removeprefix(_PREFIX)
        return f"{line}{field}: {REFUSED[field]}"
    if unknown:
        owner = "" if unknown[1] == "ModelConfig" else f" in {unknown[1]}"
        return f"{line}unknown field '{brief(unknown[2])}'{owner}"
    what = words[place.end() :] if place else words
    what = " ".join(what.replace(f"{_PACKAGE}.", "").split())
    # What was read comes first, and what is wrong with it last.
    return line + ("…" * (len(what) > _MOST_TOLD_CHARS) + what[-_MOST_TOLD_CHARS:])


def _values(message: Message) -> dict[str, Any]:
    """Return the fields of `message` that are set; enumerations by name."""
    values: dict[str, Any] = {}
    for field, value in message.ListFields():
        kind, enum = field.message_type, field.enum_type
        if kind is not None and kind.GetOptions().map_entry:
            values[field.name] = {key: _plain(value[key]) for key in sorted(value)}
        elif enum is not None:
            values[field.name] = _called(enum, value)
        elif isinstance(value, (str, int, Message)):
            values[field.name] = _plain(value)
        else:
            values[field.name] = [_plain(one) for one in value]
    return values


def _plain(value: Any) -> Any:
    return _values(value) if isinstance(value, Message) else value


def _called(enum: Any, number: int) -> str:
    # Any number may be written where a name is expected.
    known = enum.values_by_number.get(number)
    return str(number) if known is None else str(known.name)


@cache
def message_class() -> type[Message]:
    """Return the type of a whole configuration, made from the table above."""
    file = descriptor_pb2.FileDescriptorProto(
        name="config.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    for row in re.split(r"\n(?=\w)", _TYPES.strip()):
        name, _, fields = row.partition(":")
        _add_type(file, name, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.ModelConfig"))


def _add_type(file: Any, name: str, fields: str) -> None:
    kind = file.message_type.add(name=name)
    unions: dict[str, int] = {}
    for number, match in enumerate(_FIELD.finditer(fields), start=1):
        label, type_name, repeat, key, union = match.groups()
        if type_name == _OPAQUE:
            type_name = _PREFIX + label
            file.message_type.add(name=type_name)
        field = kind.field.add(name=label, number=number, label=3 if repeat else 1)
        if repeat and repeat.startswith("%"):
            entry = "".join(part.capitalize() for part in label.split("_")) + "Entry"
            _add_entry(kind, entry, key or "string", type_name)
            field.type, field.type_name = 11, f".{_PACKAGE}.{name}.{entry}"
            continue
        _give_type(field, type_name)
        if union:
            if union not in unions:
                unions[union] = len(unions)
                kind.oneof_decl.add(name=union)
            field.oneof_index = unions[union]


def _add_entry(owner: Any, name: str, key: str, value: str) -> None:
    entry = owner.nested_type.add(name=name)
    entry.options.map_entry = True
    _give_type(entry.field.add(name="key", number=1, label=1), key)
    _give_type(entry.field.add(name="value", number=2, label=1), value)


def _give_type(field: Any, name: str) -> None:
    if name in _SCALARS:
        field.type = _SCALARS[name]
    else:
        field.type = 14 if name in _ENUMS else 11
        field.type_name = f".{_PACKAGE}.{name}"
