"""Every single-step corruption of a certificate: numbers, variables, words, lines, questions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from attnverify.certify.check import QUESTION

# One word of a line for another that means something else.
OTHERS = {
    "<=": "<", "<": "<=", "=": "<=", "and": "or", "or": "and", "true": "false", "false": "true",
    "exp": "inv", "inv": "exp", "fn": "inv", "x": "fn", "int": "x", "size": "positive",
    "law": "restate", "restate": "law", "value": "compared", "class": "twin", "known": "exists",
    "exists": "known", "not": "and", "v": "n", "n": "p", "p": "n", "nz": "x", "pos": "size",
    "positive": "nonzero", "nonzero": "positive", "first": "last", "last": "first",
    "threshold": "law", "narrow": "law", "times": "end", "log": "absolute", "absolute": "log",
}  # fmt: skip
TOKEN = re.compile(r"\|[^|]*\||[^\s()]+")


def corruptions(lines: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Certificates one step away, each with the words of what was changed."""
    head = next((line for line in lines if line.startswith("(variables")), "")
    declared = head[1:-1].split()[1:]
    for place, line in enumerate(lines):
        rest = (*lines[:place], *lines[place + 1 :])
        yield f"line {place} is gone: {line[:60]}", rest
        if line.startswith(QUESTION):
            changed = list(_questions(line))
        else:
            changed = list(_tokens(line, declared))
        for words, other in changed:
            yield f"line {place}, {words}", (*lines[:place], other, *lines[place + 1 :])
    questions = [n for n, line in enumerate(lines) if line.startswith(QUESTION)]
    for first, second in pairwise(questions):
        kept = list(lines)
        kept[first] = kept[second]
        yield f"question {first} is question {second}", tuple(kept)


def _tokens(line: str, declared: Sequence[str]) -> Iterator[tuple[str, str]]:
    for found in TOKEN.finditer(line):
        word = found.group()
        for other in _others(word, declared):
            yield (
                f"{word} is {other} in {line[:60]}",
                line[: found.start()] + other + line[found.end() :],
            )


def _others(word: str, declared: Sequence[str]) -> Iterator[str]:
    if re.fullmatch(r"v\d+", word):
        number = int(word[1:])
        yield from _variables(number, declared)
    elif re.fullmatch(r"-?\d+(/\d+)?", word):
        top, bar, bottom = word.partition("/")
        yield f"{int(top) + 1}{bar}{bottom}"
        if int(top):
            yield f"{-int(top)}{bar}{bottom}"
    elif word in OTHERS:
        yield OTHERS[word]
    elif word != "_":
        yield f"|{word.strip('|')}'|"


def _variables(number: int, declared: Sequence[str]) -> Iterator[str]:
    """Another variable of the same axis, and one of another axis."""
    axis = declared[number]
    near = [n for n, other in enumerate(declared) if other == axis and n != number]
    far = [n for n, other in enumerate(declared) if other not in (axis, "_")]
    yield from (f"v{found[number % len(found)]}" for found in (near, far) if found)


def _questions(line: str) -> Iterator[tuple[str, str]]:
    """The question with one number, sign or assertion changed."""
    for found in re.finditer(r"(?<= )\d+(?=[ )])|<=|\bdistinct\b|\band\b", line):
        word = found.group()
        other = {"<=": "<", "distinct": "=", "and": "or"}.get(word) or str(int(word) + 1)
        yield (
            f"{word} is {other} in a question",
            line[: found.start()] + other + line[found.end() :],
        )
    starts = [found.start() for found in re.finditer(r"\(assert |\(check-sat\)", line)]
    for start, end in pairwise(starts):
        yield "an assertion is gone from a question", line[:start] + line[end:]
