"""The repository itself: what lies at its top, what it installs, what its gate runs."""

import re
import tomllib
from pathlib import PurePath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import gateway
from tests.house import tree

TOP = {
    *(".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"),
    *("bench", "gateway", "models", "pyproject.toml", "requirements.lock", "tests"),
}
PIN = re.compile(r"^([a-z0-9-]+)==([^ ]+)(?: ; ([^\\]+))? \\$", re.MULTILINE)


def required() -> list[Requirement]:
    """Return what the project asks for, development tools included."""
    table = tomllib.loads(tree.text("pyproject.toml"))
    lines = [*table["project"]["dependencies"], *table["build-system"]["requires"]]
    for extra in table["project"]["optional-dependencies"].values():
        lines += extra
    return [Requirement(line) for line in lines]


def pins() -> dict[str, Version]:
    found = PIN.findall(tree.text("requirements.lock"))
    assert len(found) == len({name for name, _, _ in found}), "one version for every Python"
    return {name: Version(version) for name, version, _ in found}


def test_only_what_the_design_names_lies_at_the_top() -> None:
    assert {PurePath(name).parts[0] for name in tree.files()} - TOP == set()


def test_every_dependency_is_bounded_from_below_and_above() -> None:
    unbounded = [
        str(requirement)
        for requirement in required()
        if {clause.operator for clause in requirement.specifier} != {">=", "<"}
    ]
    assert unbounded == []


def test_the_lock_holds_every_dependency_within_its_bounds() -> None:
    locked = pins()
    outside = [
        str(wanted)
        for wanted in required()
        if str(locked.get(canonicalize_name(wanted.name), "absent")) not in wanted.specifier
    ]
    assert outside == []


def test_every_locked_package_has_its_hashes() -> None:
    blocks = re.split(r"\n(?=\S)", tree.text("requirements.lock"))
    bare = [block for block in blocks if "==" in block and "--hash=sha256:" not in block]
    assert bare == []


def test_the_lock_names_no_index() -> None:
    options = [line for line in tree.text("requirements.lock").splitlines() if line.startswith("-")]
    assert options == []
    assert "://" not in tree.text("requirements.lock")


def test_there_is_one_version_and_the_package_says_it() -> None:
    table = tomllib.loads(tree.text("pyproject.toml"))["project"]
    assert table["dynamic"] == ["version"]
    assert "version" not in table
    assert str(Version(gateway.__version__)) == gateway.__version__


def test_every_recipe_is_a_line_or_two() -> None:
    recipes = re.findall(
        r"^\S[^\n]*:[^\n=]*\n((?:\t[^\n]*\n)+)", tree.text("Makefile"), re.MULTILINE
    )
    assert [recipe for recipe in recipes if recipe.count("\n") > 3] == []


def test_the_gate_is_make_test_and_nothing_cleverer() -> None:
    script = tree.ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    commands = [
        line for line in script.read_text().splitlines() if line and not line.startswith("#")
    ]
    assert commands == ["set -eu", 'cd "$(dirname "$0")/.."', "make test"]
