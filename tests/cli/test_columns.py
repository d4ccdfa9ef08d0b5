"""Columns: a table that lines up, whatever its cells say."""

from gateway.cli.columns import columns, printable


def test_columns_line_up_and_lines_end_with_their_last_word() -> None:
    assert columns(("A", "LONG", "C"), [("one", 2, ""), ("", None, "three")]) == [
        "A    LONG  C",
        "one  2",
        "           three",
    ]


def test_a_table_without_rows_is_its_head() -> None:
    assert columns(("A", "B"), []) == ["A  B"]


def test_no_cell_can_break_its_line_or_speak_to_the_terminal() -> None:
    assert columns(("A",), [("a\nb",), ("\x1b[31m",), ("\u202e",)])[1:] == [
        "a\\nb",
        "\\x1b[31m",
        "\\u202e",
    ]


def test_what_is_printed_is_one_line_of_text() -> None:
    assert printable("größer – 模型") == "größer – 模型"
    assert printable("a\r\nb\x00") == "a\\r\\nb\\x00"
