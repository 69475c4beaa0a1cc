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


def broken(line: str) -> list[str]:
    """A line that is too long, broken inside the call that it ends with; others as they are.

    A bracket that groups is no call: a comma would make a tuple of it.

    >>> broken("    O = np.where(" + "a" * 50 + ", " + "b" * 50 + ")")[0]
    '    O = np.where('
    >>> len(broken("    O = " + "a" * 50 + " & (" + "b" * 50 + ")"))
    1
    """
    start = _opening(line)
    if len(line) <= WIDTH or start is None:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    parts, depth, part = [], 0, ""
    for c in line[start + 1 : -1]:
        depth += (c in "([") - (c in ")]")
        if c == "," and not depth:
            parts.append(part.strip())
            part = ""
        else:
            part += c
    parts += [part.strip()] if part.strip() else []
    return called(line[len(indent) : start], parts, "", indent)


def _opening(line: str) -> int | None:
    """Where the bracket opens that the line's last character closes."""
    depth = 0
    for at in range(len(line) - 1, -1, -1):
        depth += (line[at] in ")]") - (line[at] in "([")
        if not depth:
            called = line[at] == "(" and (line[at - 1].isalnum() or line[at - 1] == "_")
            return at if at and called else None
    return None


def listed(words: str, names: list[str], indent: str = "") -> list[str]:
    """Names after a word, in brackets on several lines where one is too short."""
    line = f"{indent}{words} {', '.join(names)}"
    if len(names) == 1:
        return broken(line)
    return [line] if len(line) <= WIDTH else called(f"{words} ", names, "", indent)


def tuple_of(names: list[str]) -> str:
    """Names as a tuple.

    >>> tuple_of(["x"])
    '(x,)'
    """
    return f"({', '.join(names)}{',' * (len(names) == 1)})"


def safe(text: str) -> str:
    """Text that may stand in a docstring: nothing in it ends the string or escapes."""
    return text.replace("\\", "\\\\").replace('"""', "'''")
