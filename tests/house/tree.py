"""The repository as its own tests see it.

Job    give the files that a clone would hold, their text, their syntax trees, their comments.
Never  looks at what git ignores: an environment, a cache, what a running gateway keeps.
"""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def files() -> tuple[str, ...]:
    """Return the path of every file that is tracked, or would be by `git add .`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(sorted(name for name in listed.split("\0") if (ROOT / name).is_file()))


def python(*folders: str) -> tuple[str, ...]:
    """Return the paths of the Python files in `folders`, in all of them if none is named."""
    inside = tuple(f"{folder}/" for folder in folders) or ("",)
    return tuple(name for name in files() if name.endswith(".py") and name.startswith(inside))


@cache
def text(name: str) -> str:
    """Return the text of a file; bytes that are no UTF-8 count as something else than words."""
    return (ROOT / name).read_bytes().decode(errors="replace")


@cache
def syntax(name: str) -> ast.Module:
    return ast.parse(text(name), name)


def module(name: str) -> str:
    """Return the dotted name of a Python file: gateway/wire/lane.py is gateway.wire.lane."""
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def functions(name: str) -> Iterator[Function]:
    return (node for node in ast.walk(syntax(name)) if isinstance(node, Function))


def imports(name: str) -> Iterator[tuple[str, int]]:
    """Yield (module, line) of every absolute import, those inside functions included."""
    for node in ast.walk(syntax(name)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno


def comments(name: str) -> Iterator[tuple[str, int]]:
    """Yield (text, line) of every comment, and of nothing that only looks like one."""
    for token in tokenize.generate_tokens(io.StringIO(text(name)).readline):
        if token.type == tokenize.COMMENT:
            yield token.string, token.start[0]


def find(pattern: re.Pattern[str], names: tuple[str, ...]) -> list[str]:
    """Return "file:line: what" for every match of `pattern` in those of `names` that are text."""
    return [
        f"{name}:{number}: {match[0]}"
        for name in names
        if "\0" not in text(name)
        for number, line in enumerate(text(name).splitlines(), start=1)
        for match in pattern.finditer(line)
    ]
