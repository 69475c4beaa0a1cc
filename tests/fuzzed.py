"""Spec files and command lines as a tired person or a broken disk writes them."""

from __future__ import annotations

import io
import json
import keyword
import random
import tokenize
from collections.abc import Callable
from pathlib import Path

import attnverify as av
from tests.house import ROOT

SPECS = sorted((ROOT / "specs").glob("*.py"))
# What is put where something else was: wrong kinds, sizes, names and signs.
STRANGE = (
    "None", "True", "-1", "0", "1.5", "10**40", "'x'", "b''", "()", "[]", "{}", "...", "i", "Q",
    "lambda: 0", "object()", "float('nan')", "exit()", "1/0", "spec", "attention", "causal()",
    "raise", "\u202e", "\x00", "\ud800", "é", "'" + "x" * 10_000 + "'", "(" * 200, "not", "==",
)  # fmt: skip
NAMES = (*av.catalog(), "gobal", "", " ", "../x", "x" * 10_000, "\u202e", "<b>", "\x1b[31m", "-1")
VALUES = ("", "1", "-1", "x", "nan", "1e9", "[1]", "{", "None", "top_left", "0.5", "\u202e")


def tokens(text: str) -> list[tokenize.TokenInfo]:
    """The tokens of a spec file that carry meaning."""
    found = tokenize.generate_tokens(io.StringIO(text).readline)
    kinds = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
    return [token for token in found if token.type in kinds]


def _placed(text: str, token: tokenize.TokenInfo, new: str) -> str:
    """The text with one token replaced."""
    lines = text.splitlines(keepends=True)
    starts = [sum(map(len, lines[:n])) for n in range(len(lines) + 1)]
    begin = starts[token.start[0] - 1] + token.start[1]
    return text[:begin] + new + text[starts[token.end[0] - 1] + token.end[1] :]


def replaced(text: str, rng: random.Random) -> str:
    """Something strange in the place of a token."""
    return _placed(text, rng.choice(tokens(text)), rng.choice(STRANGE))


def swapped(text: str, rng: random.Random) -> str:
    """A token in the place of another."""
    found = tokens(text)
    return _placed(text, rng.choice(found), rng.choice(found).string)


def dropped(text: str, rng: random.Random) -> str:
    """A token left out."""
    return _placed(text, rng.choice(tokens(text)), "")


def renamed(text: str, rng: random.Random) -> str:
    """A name that is another everywhere."""
    names = [t.string for t in tokens(text) if t.type == tokenize.NAME]
    names = [name for name in names if not keyword.iskeyword(name)]
    return text.replace(rng.choice(names), rng.choice(names))


def truncated(text: str, rng: random.Random) -> str:
    """The beginning of a file."""
    return text[: rng.randrange(len(text))]


def without_a_line(text: str, rng: random.Random) -> str:
    """A line left out."""
    lines = text.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return "".join(lines)


def garbled(text: str, rng: random.Random) -> str:
    """A few characters that are others."""
    found = list(text)
    for _ in range(rng.randint(1, 3)):
        found[rng.randrange(len(found))] = chr(rng.choice([0, 9, 34, 40, 41, 46, 61, 955, 0x202E]))
    return "".join(found)


WAYS: tuple[Callable[[str, random.Random], str], ...] = (
    replaced, swapped, dropped, renamed, truncated, without_a_line, garbled,
)  # fmt: skip


def spec_file(rng: random.Random) -> bytes:
    """A spec file with one or two faults."""
    text = rng.choice(SPECS).read_text(encoding="utf-8")
    for _ in range(rng.randint(1, 2)):
        try:
            text = rng.choice(WAYS)(text, rng)
        except (tokenize.TokenError, IndentationError, SyntaxError, IndexError, ValueError):
            break
    return text.encode("utf-8", "surrogatepass")


def report_file(rng: random.Random) -> bytes:
    """A report with a fault."""
    whole = {
        "schema": 1, "reports": [{"spec": "causal", "verdicts": [{"name": "x", "status": "HELD"}]}],
    }  # fmt: skip
    return garbled(json.dumps(whole), rng).encode("utf-8", "surrogatepass")


def command(rng: random.Random, folder: Path) -> list[str]:
    """A command line that takes no long time, its files written."""
    name = rng.choice(NAMES)
    told = ["--set", f"{rng.choice(['align', 'window', 'x', '', 'heads'])}={rng.choice(VALUES)}"]
    made = folder / "fuzzed.py"
    made.write_bytes(spec_file(rng))
    report = folder / "fuzzed.json"
    report.write_bytes(report_file(rng))
    lines: tuple[list[str], ...] = (
        ["show", str(made)],
        ["show", str(made)],
        ["show", str(made), "--gradient"],
        ["show", name, *told],
        ["show", name, rng.choice(["--source", "--latex", "--gradient", "--nonsense"])],
        ["explain", rng.choice([name, "MSK-01", "MSK-99"])],
        ["export", str(made), "--to", rng.choice([*VALUES, "numpy", "torch", "jax", "latex"])],
        ["export", name, *told, "--to", "numpy"],
        ["report", str(report)],
        ["report", rng.choice([str(made), str(folder), "nowhere.json"])],
        ["verify", name + "?", *told],
        ["verify", str(made), "--seed", rng.choice(VALUES), "--examples", "x"],
        ["check", rng.choice([name, "m:f", f"{made}:attention"]), "--spec", name + "?"],
        ["list", rng.choice(["--json", "--nonsense", name])],
        [name, *told],
    )
    return rng.choice(lines)
