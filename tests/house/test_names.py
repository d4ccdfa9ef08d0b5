"""Names say what a thing is for; these say nothing."""

import ast
import re
from pathlib import PurePath

import pytest

from tests.house import tree

EMPTY_WORDS = frozenset(
    {"base", "common", "data", "helper", "helpers", "impl", "info", "manager", "misc", "service"}
    | {"util", "utils"}
)
EMPTY_VERBS = ("process_", "handle_", "do_", "manage_", "perform_")


def words(name: str) -> frozenset[str]:
    """Split snake_case and CamelCase into lower-case words."""
    return frozenset(
        word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    )


def empty_modules(name: str) -> list[str]:
    parts = PurePath(name).with_suffix("").parts
    return [f"{name}: module {part}" for part in parts if words(part) & EMPTY_WORDS]


def empty_names(module: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef) and words(node.name) & EMPTY_WORDS:
            found.append(f"{node.lineno}: class {node.name}")
        if isinstance(node, tree.Function) and node.name.lstrip("_").startswith(EMPTY_VERBS):
            found.append(f"{node.lineno}: function {node.name}")
    return found


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [fault for name in tree.python() for fault in empty_modules(name)] == []


def test_no_class_or_function_has_a_name_that_says_nothing() -> None:
    faults = [
        f"{name}:{fault}" for name in tree.python() for fault in empty_names(tree.syntax(name))
    ]
    assert faults == []


def test_a_module_of_gateway_has_no_leading_underscore() -> None:
    files = [PurePath(name).name for name in tree.python("gateway")]
    assert [name for name in files if re.match(r"_(?!_)", name)] == []


@pytest.mark.parametrize(
    ("source", "is_refused"),
    [
        ("class ModelManager: ...", True),
        ("class HTTPService: ...", True),
        ("class Batcher: ...", False),
        ("class Database: ...", False),
        ("def process_batch(): ...", True),
        ("async def _handle_it(): ...", True),
        ("def download(): ...", False),
    ],
)
def test_words_are_judged_whole(source: str, is_refused: bool) -> None:
    assert bool(empty_names(ast.parse(source))) == is_refused
