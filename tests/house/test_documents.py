"""What a user relies on is written down: codes, settings, commands, versions."""

import ast
import re
from collections.abc import Iterator

import gateway
from gateway import errors
from gateway.config import Config
from gateway.config.faults import keys
from tests.house import tree


def quoted(name: str) -> set[str]:
    """Return what a document shows in backticks."""
    return set(re.findall(r"`([^`\n]+)`", tree.text(name)))


def named_errors(kind: type[errors.GatewayError]) -> Iterator[type[errors.GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from named_errors(child)


def spoken_codes(module: ast.Module) -> set[str]:
    """Return every constant that a module gives to the name `code`, however it does."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Assign):
            targets = {target.id for target in node.targets if isinstance(target, ast.Name)}
            values = [node.value] if "code" in targets else []
        elif isinstance(node, ast.keyword):
            values = [node.value] if node.arg == "code" else []
        elif isinstance(node, ast.arguments):
            values = [
                default
                for arg, default in zip(node.kwonlyargs, node.kw_defaults, strict=True)
                if arg.arg == "code" and default is not None
            ]
        else:
            continue
        constants = [value.value for value in values if isinstance(value, ast.Constant)]
        found |= {constant for constant in constants if isinstance(constant, str)}
    return found


def test_every_error_code_is_in_the_readme() -> None:
    codes = {kind.code for kind in named_errors(errors.GatewayError)}
    codes -= {errors.ClientGone.code}  # nobody is left to read it
    assert codes - quoted("README.md") == set()


def test_every_code_that_a_room_answers_with_is_in_the_readme() -> None:
    codes = {
        code
        for name in tree.python("gateway")
        if name != "gateway/errors.py"
        for code in spoken_codes(tree.syntax(name))
    }
    assert codes - quoted("README.md") == set()


def test_every_setting_is_in_the_readme() -> None:
    assert {path for path, _ in keys(Config)} - quoted("README.md") == set()


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", tree.text("Makefile"), re.MULTILINE))
    named = {
        command
        for name in ("README.md", "CONTRIBUTING.md")
        for command in re.findall(r"\bmake ([a-z][a-z-]*)`", tree.text(name))
    }
    assert named - targets == set()


def test_the_changelog_knows_this_version() -> None:
    assert re.search(
        rf"^## \[{re.escape(gateway.__version__)}\]", tree.text("CHANGELOG.md"), re.MULTILINE
    )


def test_codes_are_found_however_they_are_given() -> None:
    source = 'class A:\n    code = "a"\n\ndef f(*, code: str = "b") -> None: ...\n\nf(code="c")\n'
    assert spoken_codes(ast.parse(source)) == {"a", "b", "c"}
