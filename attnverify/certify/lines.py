"""The text of certificates: one bracketed list a line, of words, numbers and further lists."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TypeAlias

from attnverify.certify.errors import Rejected

Tree: TypeAlias = "str | tuple[Tree, ...]"

_TOKEN = re.compile(r"\s*(?:(\()|(\))|\|([^|]*)\||([^\s()|]+))")


def read(line: str) -> tuple[Tree, ...]:
    """The list that a line holds.

    >>> read("(value exp (term () ((1/2 true)) (x |Q @| 1 v0)))")[1]
    'exp'
    """
    stack: list[list[Tree]] = [[]]
    at, end = 0, len(line.rstrip())
    while at < end:
        found = _TOKEN.match(line, at)
        if found is None:
            raise Rejected(f"the line breaks at {line[at : at + 20]!r}")
        at = found.end()
        opens, closes, quoted, word = found.groups()
        if opens:
            stack.append([])
        elif closes:
            if len(stack) < 2:
                raise Rejected("a bracket closes nothing")
            done = tuple(stack.pop())
            stack[-1].append(done)
        else:
            stack[-1].append(word if quoted is None else quoted)
    if len(stack) != 1 or len(stack[0]) != 1 or isinstance(stack[0][0], str):
        raise Rejected("a line is one bracketed list")
    return stack[0][0]


def text(tree: Tree) -> str:
    """A word."""
    if not isinstance(tree, str):
        raise Rejected(f"a word was due, not {tree!r}")
    return tree


def items(tree: Tree) -> tuple[Tree, ...]:
    """A list."""
    if isinstance(tree, str):
        raise Rejected(f"a list was due, not {tree!r}")
    return tree


def split(tree: Tree, least: int = 1) -> tuple[str, tuple[Tree, ...]]:
    """A list's first word and the rest, which has at least so many parts, with its word."""
    parts = items(tree)
    if len(parts) < least:
        raise Rejected(f"{parts!r} is too short")
    return text(parts[0]), parts[1:]


def exactly(parts: tuple[Tree, ...], count: int) -> tuple[Tree, ...]:
    """The parts, so many of them."""
    if len(parts) != count:
        raise Rejected(f"{count} parts were due, not {len(parts)}")
    return parts


def number(tree: Tree) -> Fraction:
    """A rational number."""
    try:
        return Fraction(text(tree))
    except (ValueError, ZeroDivisionError):
        raise Rejected(f"a number was due, not {tree!r}") from None


def whole(tree: Tree) -> int:
    """A whole number."""
    found = number(tree)
    if found.denominator != 1:
        raise Rejected(f"a whole number was due, not {tree!r}")
    return int(found)


def variable(tree: Tree) -> int:
    """A variable, written v and its number."""
    word = text(tree)
    if not re.fullmatch(r"v\d+", word):
        raise Rejected(f"a variable was due, not {word!r}")
    return int(word[1:])


def quoted(word: str) -> str:
    """A word as lines write it."""
    return word if re.fullmatch(r"[A-Za-z0-9_.^/+<=-]+", word) else f"|{word}|"
