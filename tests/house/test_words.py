"""What no file may say: debts, switches that hide faults, addresses of one machine."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house import tree

# One letter of each stands in brackets, so that this file passes its own tests.
DEBTS = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b")
ADDRESSES = re.compile(
    r"pypi[.]org|pythonhosted[.]org|/[w]ork/|(?<![\w.])/[t]mp\b|/[h]ome/|/[r]oot/"
)
NOQA = re.compile(r"#\s*(?:ruff:\s*)?noqa(?!: [A-Z]+\d+(?:, [A-Z]+\d+)* - \S)", re.IGNORECASE)
IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[[a-z-]+(?:, [a-z-]+)*\]  # \S)")
UNCOVERED = re.compile(r"#\s*pragma:\s*no cover(?! - \S)")


def silenced(comment: str) -> bool:
    """Whether a comment silences a check without naming which, and why."""
    return any(pattern.search(comment) for pattern in (NOQA, IGNORE, UNCOVERED))


def spoken(name: str) -> Iterator[tuple[str, int]]:
    """Yield (owner.name, line) of all that a file imports or reaches into."""
    for node in ast.walk(tree.syntax(name)):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            yield f"{owner}.{node.attr}", node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def uses(folders: tuple[str, ...], pattern: str) -> list[str]:
    """Return "file:line: owner.name" for each name in `folders` that matches `pattern`."""
    return [
        f"{name}:{line}: {word}"
        for name in tree.python(*folders)
        for word, line in spoken(name)
        if re.fullmatch(pattern, word)
    ]


def test_no_file_carries_a_debt() -> None:
    assert tree.find(DEBTS, tree.files()) == []


def test_no_file_names_a_package_registry_or_a_folder_of_one_machine() -> None:
    assert tree.find(ADDRESSES, tree.files()) == []


def test_debts_and_addresses_are_seen() -> None:
    assert DEBTS.search("# TO" + "DO: later")
    assert ADDRESSES.search("see /wo" + "rk/notes")
    assert ADDRESSES.search("open('/tm" + "p/x')")
    assert not ADDRESSES.search("https://example.org/workers and tests/tmp")


def test_no_check_is_silenced_without_its_code_and_a_reason() -> None:
    faults = [
        f"{name}:{line}: {comment}"
        for name in tree.python()
        for comment, line in tree.comments(name)
        if silenced(comment)
    ]
    assert faults == []


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# noqa", True),
        ("# noqa: BLE001", True),
        ("# noqa: BLE001 - a model may raise anything", False),
        ("# ruff: noqa", True),
        ("# type: ignore", True),
        ("# type: ignore[arg-type]", True),
        ("# type: ignore[arg-type]  # the wrong type is the case", False),
        ("# pragma: no cover", True),
        ("# pragma: no cover - another platform", False),
        ("# a remark about nothing", False),
    ],
)
def test_a_silenced_check_needs_a_code_and_a_reason(comment: str, expected: bool) -> None:
    assert silenced(comment) == expected


def test_nobody_sleeps_by_the_wall_clock() -> None:
    assert uses(("gateway", "models", "tests"), r"time\.sleep") == []


# Where time itself is awaited: a rhythm, a delay that was promised.
CLOCKS = {
    "gateway/execute/remote.py": "a retry pauses, within its budget and its deadline",
    "gateway/app/pulse.py": "a replica shows ten times a second that it lives",
    "gateway/supervise/allotting.py": "parts of quotas follow the load, once a second",
    "gateway/supervise/documents/redisstore.py": "Redis is asked again, ever less often",
    "gateway/supervise/hosts.py": "hosts tell each other once a second what they are asked for",
    "gateway/supervise/heartbeats.py": "whoever is silent cannot say so",
    "gateway/supervise/fleet.py": "a slot waits before its next start",
    "gateway/supervise/loads.py": "what a replica could not load is tried again, ever less often",
    "gateway/supervise/sights.py": "a store that could not be asked is asked again",
    "gateway/supervise/supervisor.py": "`pre_drain_s`",
}


def test_the_gateway_does_not_poll() -> None:
    found = uses(("gateway",), r"asyncio\.sleep")
    assert sorted(one.partition(":")[0] for one in found) == sorted(CLOCKS)


def test_no_test_is_switched_off() -> None:
    assert uses(("tests",), r".*\.(skip|skipif|skipTest|xfail|importorskip)") == []


def test_no_test_uses_a_mock() -> None:
    """A fake written by hand keeps the promises of what it stands for; a mock keeps none."""
    assert uses(("tests",), r".*\bmock\b.*|.*\.(Magic|Async)?Mock|.*\.mocker") == []
