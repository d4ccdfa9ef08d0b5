"""One door per library: who may import what, beyond what the import contracts say."""

import ast
import sys
import tomllib

import pytest

from tests.house import tree

# Every library that gateway/ may import, and the rooms that may. Anything else is a fault.
DOORS: dict[str, tuple[str, ...]] = {
    "aiohttp": ("gateway.execute.client",),
    "google": ("gateway.repository.triton",),  # protobuf
    "httptools": ("gateway.wire",),
    "httpx": ("gateway.cli",),
    "numpy": ("gateway",),
    "onnxruntime": ("gateway.execute",),
    "orjson": ("gateway.execute.v2", "gateway.wire", "gateway.app", "gateway.supervise"),
    "prometheus_client": (
        "gateway.supervise.exporter",
        "gateway.supervise.outcomes",
        "gateway.supervise.routed",
    ),
    "pydantic": ("gateway.config", "gateway.control", "gateway.supervise.management"),
    "pydantic_core": ("gateway.config",),
    "redis": ("gateway.supervise.documents.redisdoor",),
    "rich": ("gateway.cli",),
    "simdjson": ("gateway.wire",),
    "starlette": ("gateway.wire", "gateway.supervise.management"),
    "typer": ("gateway.cli",),
    "uvicorn": ("gateway.wire", "gateway.app"),
    "uvloop": ("gateway.app", "gateway.supervise.supervisor"),
}


def may_import(module: str, library: str) -> bool:
    """Whether `module` may import `library`, a top-level name."""
    if library == "gateway" or library in sys.stdlib_module_names:
        return True
    return any(f"{module}.".startswith(f"{room}.") for room in DOORS.get(library, ()))


def contract(kind: str) -> dict[str, object]:
    settings = tomllib.loads(tree.text("pyproject.toml"))["tool"]["importlinter"]
    (found,) = (entry for entry in settings["contracts"] if entry["type"] == kind)
    assert isinstance(found, dict)
    return found


def test_every_library_is_imported_through_its_door() -> None:
    faults = [
        f"{name}:{line}: {imported}"
        for name in tree.python("gateway")
        for imported, line in tree.imports(name)
        if not may_import(tree.module(name), imported.partition(".")[0])
    ]
    assert faults == []


@pytest.mark.parametrize(
    ("module", "library", "expected"),
    [
        ("gateway.wire.lane", "uvicorn", True),
        ("gateway.app", "uvicorn", True),
        ("gateway.flow", "uvicorn", False),
        ("gateway.application", "uvicorn", False),
        ("gateway.core.batching", "numpy", True),
        ("gateway.core.batching", "math", True),
        ("gateway.wire.lane", "a_library_nobody_chose", False),
    ],
)
def test_a_door_is_for_its_room_alone(module: str, library: str, expected: bool) -> None:
    assert may_import(module, library) == expected


def layers() -> list[str]:
    """Return the rooms of the layers contract, from high to low, parentheses kept."""
    stated = contract("layers")["layers"]
    assert isinstance(stated, list)
    return [word.strip() for layer in stated for word in layer.replace("|", ":").split(":")]


def rooms() -> set[str]:
    modules = [tree.module(name).split(".") for name in tree.python("gateway")]
    return {parts[1] for parts in modules if len(parts) > 1}


def test_every_room_of_gateway_has_its_layer() -> None:
    assert rooms() - {room.strip("()") for room in layers()} == set()


def test_a_layer_in_parentheses_is_a_room_still_to_come() -> None:
    """Once the room stands, the parentheses go, so that it cannot vanish unnoticed."""
    assert {room.strip("()") for room in layers() if room.startswith("(")} & rooms() == set()


def test_the_core_forbids_every_library_but_numpy() -> None:
    forbidden = contract("forbidden")["forbidden_modules"]
    assert isinstance(forbidden, list)
    assert set(DOORS) - set(forbidden) == {"numpy"}


def test_no_import_is_relative() -> None:
    faults = [
        f"{name}:{node.lineno}"
        for name in tree.python()
        for node in ast.walk(tree.syntax(name))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert faults == []
