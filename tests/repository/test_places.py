"""Places: a name is judged before it is a path."""

from pathlib import Path

import pytest

from gateway.repository.places import inside, shown


def test_a_path_is_shown_on_one_line() -> None:
    assert shown(Path("a\nb\x7fé\udcff")) == "a\\nb\\x7fé\\udcff"


@pytest.mark.parametrize("name", ["a", "./a", "b/c", "b//c"])
def test_a_name_within_is_its_file(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "b/../a", "/etc/hostname", "a\0b"])
def test_a_name_that_leads_elsewhere_is_none(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name) is None


def test_a_link_is_followed_before_it_is_judged(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc")
    (tmp_path / "in").symlink_to("real")
    assert inside(tmp_path, "out/hostname") is None
    assert inside(tmp_path, "in/a") == tmp_path / "in" / "a"


def test_a_loop_of_links_is_nowhere(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert inside(tmp_path, "loop/a") in (None, tmp_path / "loop" / "a")  # by Python's version
