"""Lines that are not too long: calls and tuples."""

from __future__ import annotations

WIDTH = 96


def called(head: str, parts: list[str], tail: str, indent: str = "") -> list[str]:
    """A call on one line, or where it is too long on several."""
    line = f"{indent}{head}({', '.join(parts)}){tail}"
    if len(line) <= WIDTH:
        return [line]
    rows, row = [], ""
    for part in parts:
        if row and len(indent) + 4 + len(row) + len(part) + 2 > WIDTH:
            rows.append(row.rstrip())
            row = ""
        row += f"{part}, "
    rows.append(row.rstrip())
    return [f"{indent}{head}(", *(f"{indent}    {row}" for row in rows), f"{indent}){tail}"]


def tuple_of(names: list[str]) -> str:
    """Names as a tuple.

    >>> tuple_of(["x"])
    '(x,)'
    """
    return f"({', '.join(names)}{',' * (len(names) == 1)})"
