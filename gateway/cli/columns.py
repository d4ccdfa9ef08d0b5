"""Columns: rows as a table of plain text."""

from collections.abc import Sequence


def columns(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return one line a row, the head first; what cannot be printed is escaped."""
    texts = [
        ["" if cell is None else printable(str(cell)) for cell in row] for row in (head, *rows)
    ]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    ]


def printable(text: str) -> str:
    """Return a text on one line, what cannot be printed escaped."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
