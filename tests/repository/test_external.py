"""External data: seen wherever a model can name them, and refused unless they are its own."""

import os
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.onnx_ml_pb2 import DESCRIPTOR

from gateway.repository import external
from gateway.repository.external import Garbled, LiesOutside, inspect, refuse_outside
from gateway.repository.proof import External
from gateway.repository.reasons import brief
from tests import models_onnx
from tests.repository import outside


def tensor(location: str | None, name: str = "w") -> onnx.TensorProto:
    """One number; with a `location`, said to lie in a file."""
    made = helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0])
    if location is not None:
        made.ClearField("float_data")
        made.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "4")):
            made.external_data.add(key=key, value=value)
    return made


def sparse(location: str) -> onnx.SparseTensorProto:
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    return helper.make_sparse_tensor(tensor(location), indices, [4])


def graph(
    nodes: Sequence[onnx.NodeProto] = (), initializers: Sequence[onnx.TensorProto] = ()
) -> onnx.GraphProto:
    return helper.make_graph(nodes, "g", [], [], initializers)


def node(**attributes: object) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["y"], **attributes)


def model(made: onnx.GraphProto, *functions: onnx.FunctionProto) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8, functions=list(functions))


def save(folder: Path, content: onnx.ModelProto | bytes) -> Path:
    file = folder / "model.onnx"
    file.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return file


def test_the_messages_are_those_of_onnx() -> None:
    """The numbers were written down by hand; here they are compared with the schema."""
    kinds = DESCRIPTOR.message_types_by_name
    leads = {"StringStringEntryProto", "OperatorSetIdProto", *external.MESSAGES}
    ignored = {  # they hold names and remarks, no tensors
        ("FunctionProto", "opset_import"),
        *((kind, "metadata_props") for kind in external.MESSAGES),
        ("TrainingInfoProto", "initialization_binding"),
        ("TrainingInfoProto", "update_binding"),
    }
    for kind, fields in external.MESSAGES.items():
        expected = {
            field.number: field.message_type.name
            for field in kinds[kind].fields
            if field.message_type is not None
            and field.message_type.name in leads
            and (kind, field.name) not in ignored
        }
        assert fields == expected, kind


def test_the_head_of_a_model_is_told(tmp_path: Path) -> None:
    contents = inspect(save(tmp_path, model(graph())))
    assert (contents.ir_version, contents.opsets) == (8, {"": 17, "ai.onnx.ml": 3})
    assert contents.external.locations == ()


def test_onnx_under_its_long_name_is_onnx(tmp_path: Path) -> None:
    made = helper.make_model(graph(), opset_imports=[helper.make_opsetid("ai.onnx", 21)])
    assert inspect(save(tmp_path, made)).opsets == {"": 21}


def test_a_real_model_has_no_external_data(tmp_path: Path) -> None:
    assert inspect(models_onnx.picky(tmp_path / "picky.onnx")).external.locations == ()


def if_node(inner: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=graph())


def deep(levels: int) -> onnx.GraphProto:
    made = graph([], [tensor("deep.bin")])
    for _ in range(levels):
        made = graph([if_node(made)])
    return made


def function(*nodes: onnx.NodeProto) -> onnx.FunctionProto:
    return helper.make_function("d", "f", [], [], nodes, [helper.make_opsetid("", 17)])


def with_sparse() -> onnx.ModelProto:
    made = graph()
    made.sparse_initializer.append(sparse("sparse.bin"))
    return model(made)


def with_training() -> onnx.ModelProto:
    made = model(graph())
    made.training_info.add().algorithm.CopyFrom(graph([], [tensor("train.bin")]))
    return made


def with_many(name: str) -> onnx.ModelProto:
    made = node(value=tensor(None))
    attribute = made.attribute.add(name="many", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.append(tensor(name))
    return model(graph([made]))


@pytest.mark.parametrize(
    ("made", "locations"),
    [
        (model(graph([], [tensor("w.bin")])), ("w.bin",)),
        (model(graph([], [tensor("a"), tensor(None, "n"), tensor("b"), tensor("a")])), ("a", "b")),
        (with_sparse(), ("sparse.bin",)),
        (model(graph([node(value=tensor("attr.bin"))])), ("attr.bin",)),
        (model(graph([node(sparse_value=sparse("s.bin"))])), ("s.bin",)),
        (with_many("many.bin"), ("many.bin",)),
        (model(deep(1)), ("deep.bin",)),
        (model(deep(20)), ("deep.bin",)),
        (model(graph(), function(node(value=tensor("f.bin")))), ("f.bin",)),
        (with_training(), ("train.bin",)),
        (model(graph([], [tensor("")])), ("",)),
    ],
)
def test_external_data_are_seen_wherever_a_tensor_can_be(
    tmp_path: Path, made: onnx.ModelProto, locations: tuple[str, ...]
) -> None:
    assert inspect(save(tmp_path, made)).external.locations == locations


def test_external_data_are_seen_behind_weights_that_speak_of_a_location(tmp_path: Path) -> None:
    loud = helper.make_tensor("location", TensorProto.UINT8, [16], b"locationlocation", raw=True)
    made = model(graph([], [loud, tensor("w.bin"), loud]))
    assert inspect(save(tmp_path, made)).external.locations == ("w.bin",)


def test_a_word_in_another_place_is_no_location(tmp_path: Path) -> None:
    made = node(value=tensor(None))
    made.metadata_props.add(key="location", value="paris")
    assert inspect(save(tmp_path, model(graph([made])))).external.locations == ()


def test_a_location_is_seen_whatever_the_tensor_says_of_it(tmp_path: Path) -> None:
    hidden = tensor("w.bin")
    hidden.ClearField("data_location")
    assert inspect(save(tmp_path, model(graph([], [hidden])))).external.locations == ("w.bin",)


def test_the_value_may_come_before_its_key(tmp_path: Path) -> None:
    entry = b"\x12\x05w.bin\x0a\x08location"
    inner = b"\x6a" + bytes([len(entry)]) + entry
    for tag in (b"\x2a", b"\x3a"):  # a tensor, in a graph, in a model
        inner = tag + bytes([len(inner)]) + inner
    assert inspect(save(tmp_path, inner)).external.locations == ("w.bin",)


def nested(levels: int) -> bytes:
    """Nest by hand: the library that makes messages has a bound of its own."""
    inner: bytes = tensor("w.bin").SerializeToString()
    for tag in (b"\x2a", *((b"\x32", b"\x2a", b"\x0a") * levels), b"\x3a"):
        inner = tag + varint(len(inner)) + inner  # graph in attribute in node in graph …
    return inner


def test_as_deep_as_protobuf_reads_is_read_and_no_deeper(tmp_path: Path) -> None:
    assert inspect(save(tmp_path, nested(30))).external.locations == ("w.bin",)
    file = save(tmp_path, nested(400))
    with pytest.raises(Garbled, match="its messages are more than 200 deep"):
        inspect(file)


def varint(value: int) -> bytes:
    made = b""
    while value > 0x7F:
        made += bytes([value & 0x7F | 0x80])
        value >>= 7
    return made + bytes([value])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\x07", "byte 0 begins no field"),
        (b"\x00\x00", "byte 0 begins no field"),
        (b"\x08", "the number before byte 1 does not end"),
        (b"\x80" * 20, "the number before byte 10 does not end"),
        (b"\x3a\x05\x00", "the field at byte 0 of 3 ends beyond its message"),
        (b"\x0d\x00", "the field at byte 0 of 2 ends beyond its message"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "ends beyond its message"),
        (b"version https://git-lfs.example/spec/v1\n", "is no ONNX model"),
    ],
)
def test_a_file_that_is_no_model_is_told_where(tmp_path: Path, content: bytes, what: str) -> None:
    file = save(tmp_path, content)
    with pytest.raises(Garbled) as caught:
        inspect(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert what in str(caught.value)


def test_a_file_cut_short_is_garbled_unless_it_ends_between_two_fields(tmp_path: Path) -> None:
    whole = model(graph([node(value=tensor("attr.bin"))], [tensor("w.bin")])).SerializeToString()
    for size in range(1, len(whole)):
        file = save(tmp_path, whole[:size])
        try:
            assert inspect(file).external.locations in ((), ("attr.bin", "w.bin"))
        except Garbled:
            continue


def test_more_fields_than_any_model_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "_MOST_FIELDS", 100)
    file = save(tmp_path, b"\x08\x01" * 101)
    with pytest.raises(Garbled, match="it has more than 100 fields"):
        inspect(file)


def test_a_name_without_end_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path, model(graph([], [tensor("w" * 4097)])))
    with pytest.raises(Garbled, match="has 4097 bytes"):
        inspect(file)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_model_or_garbled(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    read_or_garbled(tmp_path_factory.getbasetemp(), content)


@given(st.lists(st.tuples(st.integers(0, 1000), st.binary(min_size=1, max_size=4)), max_size=5))
def test_any_damage_to_a_model_is_survived(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]]
) -> None:
    content = bytearray(
        model(deep(2), function(node(value=tensor("attr.bin")))).SerializeToString()
    )
    for place, new in damage:
        content[place % len(content) : place % len(content) + len(new)] = new
    read_or_garbled(tmp_path_factory.getbasetemp(), bytes(content))


def read_or_garbled(folder: Path, content: bytes) -> None:
    try:
        contents = inspect(save(folder, content))
    except Garbled:
        return
    assert len(contents.external.locations) <= len(content)


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"weights")
    return folder


def refused(folder: Path, *names: str) -> str:
    with pytest.raises(LiesOutside) as caught:
        refuse_outside(folder, folder / "model.onnx", names)
    return str(caught.value)


@pytest.mark.parametrize("name", ["w.bin", "./w.bin", "deep/er/w.bin", "deep/../w.bin", "é.bin"])
def test_data_of_the_version_may_be_used(tmp_path: Path, name: str) -> None:
    put(tmp_path, "w.bin", "deep/er/w.bin", "é.bin")
    refuse_outside(tmp_path, tmp_path / "model.onnx", [name])


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("../w.bin", "lies outside the version's folder"),
        ("deep/../../w.bin", "lies outside the version's folder"),
        ("..", "lies outside the version's folder"),
        ("/etc/hostname", "is an absolute path"),
        ("", "is no name of a file"),
        ("w\0.bin", "is no name of a file"),
        (".", "is no file"),
        ("deep", "is no file"),
        ("gone.bin", "is no file"),
        ("*/_ORT_MEM_ADDR_/*", "is no file"),
        (".hidden", "is hidden: it is no part of the version"),
        (".git/w.bin", "is hidden: it is no part of the version"),
        ("w" * 5000, "cannot be read"),
    ],
)
def test_any_other_data_are_refused_by_name(tmp_path: Path, name: str, what: str) -> None:
    put(tmp_path, "w.bin")
    folder = put(tmp_path / "1", "model.onnx", "deep/w.bin", ".hidden", ".git/w.bin")
    assert refused(folder, name) == f"external data {brief(ascii(name))} {what}"


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/w.bin")
    folder = put(tmp_path / "1", "model.onnx")
    (folder / "file.bin").symlink_to(tmp_path / "elsewhere" / "w.bin")
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder / "loop")
    assert "outside" in refused(folder, "file.bin")
    assert "outside" in refused(folder, "folder/w.bin")
    assert "external data 'loop'" in refused(folder, "loop")


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    """As Kubernetes mounts files: links through a hidden folder."""
    folder = put(tmp_path / "1", "model.onnx", "..today/w.bin", "real/v.bin")
    (folder / "..data").symlink_to("..today")
    (folder / "w.bin").symlink_to("..data/w.bin")
    (folder / "linked").symlink_to("real")
    refuse_outside(folder, folder / "model.onnx", ["w.bin", "linked/v.bin"])


def test_a_version_that_is_a_link_itself_holds_its_data(tmp_path: Path) -> None:
    put(tmp_path / "real", "w.bin")
    (tmp_path / "1").symlink_to("real")
    refuse_outside(tmp_path / "1", tmp_path / "1" / "model.onnx", ["w.bin"])


def test_all_refusals_are_told_at_once_and_each_once(tmp_path: Path) -> None:
    told = refused(put(tmp_path, "w.bin"), "a", "../b", "w.bin", "a").split("; ")
    assert [words.split("'")[1] for words in told] == ["a", "../b"]


def test_data_of_a_model_in_a_folder_lie_beside_it(tmp_path: Path) -> None:
    """A location begins where the model file lies, and must not leave the version."""
    put(tmp_path, "outside.bin")
    folder = put(tmp_path / "1", "w.bin", "model.onnx/model.onnx", "model.onnx/v.bin")
    onnx = folder / "model.onnx" / "model.onnx"
    refuse_outside(folder, onnx, ["v.bin", "./v.bin", "../w.bin"])
    for name, what in (("w.bin", "is no file"), ("../../outside.bin", "lies outside")):
        with pytest.raises(LiesOutside, match=what):
            refuse_outside(folder, onnx, [name])


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.bin")
    (tmp_path / name).touch()
    assert "is no name of a file" in refused(tmp_path, name)


def test_of_many_refusals_the_first_are_told(tmp_path: Path) -> None:
    told = refused(put(tmp_path, "w.bin"), *(f"{number}.bin" for number in range(1000)))
    assert told.endswith("; and 990 more")


def test_initializers_of_the_graph_itself_are_told_from_all_others(tmp_path: Path) -> None:
    """ONNX Runtime takes those from memory, and no others."""
    for kind, write in outside.KINDS.items():
        found = inspect(write(tmp_path / kind / "model.onnx", "w.bin")).external
        assert found == External(("w.bin",), is_nested=kind != "initializer")
