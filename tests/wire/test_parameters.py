"""Parameters: kinds are checked, unknown keys are not minded, some wishes are refused."""

from collections.abc import Callable

import pytest

from gateway.errors import Malformed
from gateway.wire import parameters
from gateway.wire.decode import Wanted
from tests.wire.bodies import FLOATS, body, one, read


def test_without_parameters_there_are_none() -> None:
    assert parameters.read({}, "$") == {}


def test_unknown_keys_of_every_scalar_kind_are_accepted() -> None:
    given: dict[str, object] = {"region": "eu", "tries": 3, "ratio": 0.5, "fresh": False}
    assert parameters.read({"parameters": given}, "$") == given


WHERE: list[tuple[str, Callable[[object], bytes]]] = [
    ("$", lambda given: body(parameters=given)),
    ("$.inputs[0]", lambda given: one(parameters=given)),
    ("$.outputs[0]", lambda given: body(outputs=[{"name": "label", "parameters": given}])),
]


@pytest.mark.parametrize(("path", "make"), WHERE, ids=[path for path, _ in WHERE])
@pytest.mark.parametrize(
    ("given", "text"),
    [
        pytest.param([], ".parameters: expected an object, got an array", id="an array"),
        pytest.param("a", '.parameters: expected an object, got string "a"', id="a string"),
        pytest.param({"a": {}}, "parameter 'a' has invalid type", id="an object inside"),
        pytest.param({"a": [1]}, "parameter 'a' has invalid type", id="an array inside"),
        pytest.param({"a": None}, "parameter 'a' has invalid type", id="null inside"),
        pytest.param({"triton_x": 1}, "reserved for Triton usage", id="a reserved name"),
    ],
)
def test_wrong_parameters_are_malformed_wherever_they_stand(
    path: str, make: Callable[[object], bytes], given: object, text: str
) -> None:
    with pytest.raises(Malformed) as caught:
        read(make(given), FLOATS)
    assert text in str(caught.value)
    assert f"{path}.parameters" in str(caught.value)


@pytest.mark.parametrize("where", ["parameters", "outputs"])
def test_null_parameters_and_null_outputs_are_malformed(where: str) -> None:
    with pytest.raises(Malformed, match=rf"\$\.{where}: expected an .*, got null"):
        read(body(**{where: None}))


@pytest.mark.parametrize("key", ["timeout", "priority"])
@pytest.mark.parametrize("value", [0, 1, 2**63, 2**64 - 1])
def test_a_whole_number_is_a_timeout_and_a_priority(key: str, value: int) -> None:
    reading = read(body(parameters={key: value}))
    assert (reading.timeout_us, reading.priority) == (
        (value, 0) if key == "timeout" else (0, value)
    )


@pytest.mark.parametrize("key", ["timeout", "priority"])
@pytest.mark.parametrize("value", [-1, 1.0, "1", True, 2**64])
def test_anything_else_is_neither(key: str, value: object) -> None:
    with pytest.raises(Malformed, match=rf"\$\.parameters\.{key}.*expected a whole number, got"):
        read(body(parameters={key: value}))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"sequence_id": 7}, id="a number"),
        pytest.param({"sequence_id": "abc"}, id="a string"),
        pytest.param({"sequence_id": False}, id="false for an id"),
        pytest.param({"sequence_id": 0.0}, id="a float"),
        pytest.param({"sequence_start": True}, id="a start"),
        pytest.param({"sequence_id": 0, "sequence_end": True}, id="an end"),
    ],
)
def test_a_sequence_is_not_served_in_silence(given: dict[str, object]) -> None:
    with pytest.raises(Malformed, match=r"sequences are not supported \(\$\.parameters\.seq"):
        read(body(parameters=given))


@pytest.mark.parametrize(
    "given",
    [
        {"sequence_id": 0},
        {"sequence_id": ""},
        {"sequence_id": 0, "sequence_start": False, "sequence_end": False},
    ],
)
def test_no_sequence_may_be_said_aloud(given: dict[str, object]) -> None:
    assert read(body(parameters=given)).rows == 1


@pytest.mark.parametrize("key", ["sequence_start", "sequence_end", "binary_data_output"])
@pytest.mark.parametrize("value", [0, 1, "true"])
def test_a_flag_is_a_boolean(key: str, value: object) -> None:
    with pytest.raises(Malformed, match=rf"'{key}' has invalid type .*expected true or false, got"):
        read(body(parameters={key: value}))


@pytest.mark.parametrize(("path", "make"), WHERE[1:], ids=[path for path, _ in WHERE[1:]])
def test_shared_memory_is_refused(path: str, make: Callable[[object], bytes]) -> None:
    with pytest.raises(Malformed) as caught:
        read(make({"shared_memory_region": "r", "shared_memory_byte_size": 16}))
    assert str(caught.value).startswith(f"shared memory is not supported: {path}.parameters")


@pytest.mark.parametrize("value", [True, "1", -1, 1.5])
def test_classification_takes_a_whole_number(value: object) -> None:
    wanted = [{"name": "label", "parameters": {"classification": value}}]
    with pytest.raises(Malformed, match=r"\$\.outputs\[0\]\.parameters\.classification"):
        read(body(outputs=wanted))


def test_classification_says_how_many_classes_are_wanted() -> None:
    wanted = [{"name": "label", "parameters": {"classification": 3}}]
    assert read(body(outputs=wanted)).wanted == (Wanted(0, binary=False, classes=3),)


def test_a_classification_of_zero_is_the_normal_output() -> None:
    wanted = [{"name": "label", "parameters": {"classification": 0}}]
    assert read(body(outputs=wanted)).wanted == read(body()).wanted
