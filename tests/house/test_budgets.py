"""Small modules, short functions, and at least as much test as code."""

import ast
import statistics

from tests.house import tree

MODULE_MAX_LINES = 300
FUNCTION_MAX_LINES = 45
FUNCTION_P90_LINES = 25


def body_lines(function: tree.Function) -> int:
    """Count the lines of a function less its docstring; decorators do not count."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def line_count(*folders: str) -> int:
    return sum(len(tree.text(name).splitlines()) for name in tree.python(*folders))


def test_no_module_is_longer_than_its_budget() -> None:
    lengths = {name: len(tree.text(name).splitlines()) for name in tree.python("gateway")}
    assert {name: count for name, count in lengths.items() if count > MODULE_MAX_LINES} == {}


def test_no_function_is_longer_than_its_budget() -> None:
    too_long = [
        f"{name}:{function.lineno}: {function.name} has {body_lines(function)} lines"
        for name in tree.python("gateway")
        for function in tree.functions(name)
        if body_lines(function) > FUNCTION_MAX_LINES
    ]
    assert too_long == []


def test_nine_functions_in_ten_are_short() -> None:
    lengths = [
        body_lines(function) for name in tree.python("gateway") for function in tree.functions(name)
    ]
    assert statistics.quantiles(lengths, n=10)[-1] <= FUNCTION_P90_LINES


def test_there_is_at_least_as_much_test_as_code() -> None:
    assert line_count("tests") >= line_count("gateway")


def test_a_docstring_does_not_count_against_a_function() -> None:
    source = 'def answer() -> int:\n    """Say it.\n\n    At length.\n    """\n    return 42\n'
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert body_lines(function) == 2
