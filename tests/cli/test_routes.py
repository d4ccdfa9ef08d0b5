"""The routes commands, against a real management port before an office that is none."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.program import app
from gateway.observe.counts import Counts
from gateway.supervise.ledger import RowKey
from tests.cli.managing import managing
from tests.cli.test_models import GUARDED, saying
from tests.cli.test_program import run as run_program
from tests.supervise.management.offices import SEEN_AT, FakeOffice
from tests.supervise.management.requests import PROPOSED

SHOWN = [
    f"digits revision 2, by ann at {SEEN_AT}: compare",
    "shared by each call, 0 rules, fallback stable",
    "KIND     NAME    VERSION  SHARE",
    "variant  stable  2        100 %",
    "shadow   next    1        50 %",
]
WHY = ("--reason", "try 1")


def command(*arguments: str, stdin: str | bytes | None = None, **environment: str) -> Result:
    """Run `gateway routes` in this process."""
    unset: dict[str, str | None] = {"GATEWAY_ADMIN_TOKEN": None}
    return CliRunner().invoke(app, ["routes", *arguments], input=stdin, env=unset | environment)


def done(*arguments: str, stdin: str | bytes | None = None) -> list[str]:
    result = command(*arguments, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()


def refused(*arguments: str, stdin: str | bytes | None = None, **environment: str) -> list[str]:
    """Return the lines of a run that must fail."""
    result = command(*arguments, stdin=stdin, **environment)
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert all(line.startswith("gateway: ") for line in lines)
    return [line.removeprefix("gateway: ") for line in lines]


def in_force(office: FakeOffice) -> dict[str, tuple[str, int]]:
    document = office.traffic.document("digits")
    return {one.name: (one.version, one.weight_bp) for one in document.variants}


def revision(office: FakeOffice) -> int:
    return office.traffic.document("digits").revision


# show


def test_a_document_is_shown_as_a_table_or_as_json() -> None:
    with managing(FakeOffice()) as url:
        assert done("show", "digits", "--gateway", url) == SHOWN
        shown = json.loads("\n".join(done("show", "digits", "--gateway", url, "--json")))
    assert (shown["revision"], shown["shadows"][0]["name"]) == (2, "next")


def test_a_model_that_is_not_known_is_one_line() -> None:
    with managing(FakeOffice()) as url:
        for arguments in (["show", "x"], ["history", "x"], ["rollback", "x", *WHY]):
            expected = "Request for unknown model: 'x' is not found"
            assert refused(*arguments, "--gateway", url) == [expected]


# set


def put(url: str, file: str, *more: str, stdin: str | bytes | None = None) -> list[str]:
    return done("set", "digits", file, "--gateway", url, *more, stdin=stdin)


def test_what_was_shown_is_edited_and_put(tmp_path: Path) -> None:
    office, file = FakeOffice(), tmp_path / "digits.json"
    with managing(office) as url:
        shown = json.loads("\n".join(done("show", "digits", "--gateway", url, "--json")))
        file.write_text(json.dumps({**shown, "variants": PROPOSED["variants"]}))
        lines = put(url, str(file), *WHY)
        assert lines == done("show", "digits", "--gateway", url)
    assert lines[0].startswith("digits revision 3, by local at ")
    assert lines[0].endswith(": try 1")
    assert in_force(office) == {"stable": ("2", 9500), "canary": ("1", 500)}


def test_a_document_comes_from_standard_input_too() -> None:
    office = FakeOffice()
    with managing(office) as url:
        text = json.dumps({**PROPOSED, "reason": "größer"}, ensure_ascii=False)
        put(url, "-", "--revision", "2", stdin=text.encode())
    assert office.traffic.document("digits").reason == "größer"


def test_a_document_that_was_overtaken_is_not_put(tmp_path: Path) -> None:
    office, file = FakeOffice(), tmp_path / "digits.json"
    file.write_text(json.dumps({**PROPOSED, "revision": 1}))
    with managing(office) as url:
        (line,) = refused("set", "digits", str(file), "--gateway", url)
        assert 'expected "2", which is the current revision' in line
        assert revision(office) == 2
        put(url, str(file), "--revision", "2")  # whoever knows may say so
    assert revision(office) == 3


def test_every_fault_of_a_document_is_a_line(tmp_path: Path) -> None:
    variants = [{"name": "stable", "version": "9", "weight": 50}]
    raw = {"variants": variants, "reason": "\n", "revision": 2, "more": 1}
    file = tmp_path / "digits.json"
    file.write_text(json.dumps(raw))
    with managing(FakeOffice()) as url:
        lines = refused("set", "digits", str(file), "--gateway", url)
    paths = {line.partition(": ")[0] for line in lines}
    assert paths == {"$.more", "$.variants", "$.variants[0].version", "$.reason"}
    assert len(lines) == 4


def test_a_version_that_cannot_be_prepared_is_the_gateways_own_sentence() -> None:
    office = FakeOffice()
    office.traffic.steered.inventory.refuses["1"] = "opset 99 is not known"
    with managing(office) as url:
        lines = refused(
            *("set", "digits", "-", "--revision", "2", "--gateway", url),
            stdin=json.dumps(PROPOSED),
        )
    assert (lines, revision(office)) == (["opset 99 is not known"], 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{", "-: is no JSON: "),
        (b"\xff", "-: is no JSON: "),
        (b"", "-: is no JSON: "),
        (b"[]", "-: expected a JSON object"),
        (b"{}", "-: names no revision: give --revision"),
    ],
)
def test_what_is_no_document_is_sent_to_nobody(text: bytes, expected: str) -> None:
    (line,) = refused("set", "digits", "-", "--gateway", "http://127.0.0.1:1", stdin=text)
    assert line.startswith(expected)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "digits.json"
    assert refused("set", "digits", str(file)) == [f"{file}: No such file or directory"]


# split, shadow


def test_a_split_changes_weights_and_leaves_the_rest() -> None:
    office = FakeOffice()
    with managing(office) as url:
        lines = done("split", "digits", "stable=95", "canary:1=5", *WHY, "--gateway", url)
        assert lines == done("show", "digits", "--gateway", url)
        done("split", "digits", "stable=100", "--reason", "it is bad", "--gateway", url)
    assert in_force(office) == {"stable": ("2", 10_000), "canary": ("1", 0)}
    document = office.traffic.document("digits")
    assert (document.reason, [one.name for one in document.shadows]) == ("it is bad", ["next"])


def test_a_split_that_does_not_add_up_is_refused_by_the_gateway() -> None:
    office = FakeOffice()
    with managing(office) as url:
        (line,) = refused("split", "digits", "stable=95", *WHY, "--gateway", url)
    assert line.startswith("$.variants: ")
    assert revision(office) == 2


def test_a_new_variant_needs_a_version() -> None:
    with managing(FakeOffice()) as url:
        (line,) = refused(
            *("split", "digits", "stable=95", "canary=5", *WHY, "--gateway", url),
        )
    assert line == "there is no variant 'canary' yet: say canary:VERSION=5"


def test_who_is_overtaken_between_reading_and_writing_changes_nothing() -> None:
    office = FakeOffice()
    kept = office.traffic.steered.store.kept["digits"]
    kept.append(kept[-1])  # elsewhere; nobody has told us yet
    with managing(office) as url:
        (line,) = refused("split", "digits", "stable=100", *WHY, "--gateway", url)
    assert "has another routing document by now" in line
    assert revision(office) == 2


def test_shadows_are_replaced_and_keep_what_is_not_said_of_them() -> None:
    office = FakeOffice()
    compare = {"y": {"kind": "label"}}
    shadows = [{"name": "next", "version": "1", "sample_ratio": 0.5, "compare": compare}]
    raw = {**PROPOSED, "shadows": shadows, "reason": "compare labels"}
    asyncio.run(office.traffic.put(office.traffic.document("digits"), raw, "ann"))
    with managing(office) as url:
        lines = done("shadow", "digits", "next:2=1", "more:1=0.1", *WHY, "--gateway", url)
    assert lines[-2:] == ["shadow   next    2        100 %", "shadow   more    1        10 %"]
    next_one, more = office.traffic.document("digits").shadows
    assert (list(next_one.compare), list(more.compare)) == (["y"], [])
    assert in_force(office) == {"stable": ("2", 9500), "canary": ("1", 500)}


def test_no_shadow_takes_all_shadows_away() -> None:
    office = FakeOffice()
    with managing(office) as url:
        done("shadow", "digits", *WHY, "--gateway", url)
    assert office.traffic.document("digits").shadows == ()


def test_what_shadows_have_said_is_shown_where_no_reason_for_a_change_is_given() -> None:
    office = FakeOffice()
    key = RowKey("digits", "1", "digits-1", "next", 2)
    office.counted = {key: Counts(shadowed=(5, 2, 0, 1), disagreements=(3, *(0,) * 15))}
    with managing(office) as url:
        lines = done("shadow", "digits", "--gateway", url)
        told = json.loads("\n".join(done("shadow", "digits", "--gateway", url, "--json")))
    assert lines == [
        "SHADOW  VERSION  AGREED  DISAGREED  FAILED  DROPPED  ROWS APART",
        "next    1        5       2          0       1        y:3",
    ]
    assert told["shadows"][0]["calls"] == {"agreed": 5, "disagreed": 2, "failed": 0, "dropped": 1}
    assert revision(office) == 2


# rollback, history


def test_a_rollback_puts_an_old_revision_in_force() -> None:
    office = FakeOffice()
    with managing(office) as url:
        lines = done("rollback", "digits", "--reason", "it is bad", "--gateway", url)
        assert lines[0].endswith(": it is bad")
        assert office.traffic.document("digits").shadows == ()
        arguments = ("rollback", "digits", "--to", "2", *WHY, "--gateway", url, "--json")
        assert json.loads("\n".join(done(*arguments)))["revision"] == 4
    assert len(office.traffic.document("digits").shadows) == 1


def test_a_rollback_to_what_is_not_kept_says_what_is() -> None:
    with managing(FakeOffice()) as url:
        (line,) = refused("rollback", "digits", "--to", "9", *WHY, "--gateway", url)
    assert line == "$.revision: expected one that is kept, 1 to 2, got 9"


def test_the_history_is_a_line_a_revision() -> None:
    with managing(FakeOffice()) as url:
        head, newest, first = done("history", "digits", "--gateway", url)
        assert head == "REVISION  AT                             WHO          SPLIT         WHY"
        assert newest == f"2         {SEEN_AT}  ann          stable:2=100  compare"
        assert first.startswith(f"1         {SEEN_AT}  the gateway  stable:2=100  first sight: ")
        told = json.loads("\n".join(done("history", "digits", "--gateway", url, "--json")))
    assert [one["revision"] for one in told["revisions"]] == [2, 1]


# usage


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["show"],
        ["nonsense"],
        ["set", "digits"],
        ["set", "digits", "-", "--revision", "x"],
        ["split", "digits", *WHY],
        ["split", "digits", "stable=100"],
        ["split", "digits", "stable", *WHY],
        ["split", "digits", "stable=many", *WHY],
        ["split", "digits", "stable=nan", *WHY],
        ["shadow", "digits", "next=1", *WHY],
        ["shadow", "digits", "next:2=1"],
        ["rollback", "digits"],
        ["rollback", "digits", "--to", "first", *WHY],
        ["show", "digits", "--gateway", "127.0.0.1:8081"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2_and_asks_nobody(arguments: list[str]) -> None:
    assert command(*arguments).exit_code == 2


def test_a_viewer_sees_and_does_not_change(tmp_path: Path) -> None:
    office, file = FakeOffice(), tmp_path / "token"
    file.write_text("v-secret")
    with managing(office, **GUARDED) as url:
        given: tuple[Any, ...] = ("--gateway", url, "--token-file", str(file))
        assert done("show", "digits", *given) == SHOWN
        (line,) = refused("split", "digits", "stable=100", *WHY, *given)
        assert line == "grafana is a viewer: this needs an operator"
        (line,) = refused("show", "digits", "--gateway", url)
        assert line.endswith("(give --token-file, or set GATEWAY_ADMIN_TOKEN)")
    assert revision(office) == 2


@pytest.mark.parametrize(
    "arguments",
    [["show", "m"], ["history", "m"], ["split", "m", "stable=100", *WHY], ["shadow", "m", *WHY]],
    ids=" ".join,
)
def test_who_is_no_gateway_is_found_out(arguments: list[str]) -> None:
    with saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") as url:
        expected = f"{url} answered, and not as a gateway does"
        assert refused(*arguments, "--gateway", url) == [expected]


def test_the_program_itself_says_the_same(tmp_path: Path) -> None:
    with managing(FakeOffice()) as url:
        result = run_program(tmp_path, "routes", "show", "digits", "--gateway", url)
    assert (result.returncode, result.stdout.splitlines(), result.stderr) == (0, SHOWN, "")
