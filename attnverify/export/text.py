"""Pieces of an exported line: results as text with brackets where needed, einsum's letters."""

from __future__ import annotations

from dataclasses import dataclass

from attnverify.compile.recipe import Op, label_name

# How tightly a form binds, and how tightly its operands must, so that they need no brackets.
ATOM = 9
_BINDS = {" + ": (1, 1, 2), " - ": (1, 1, 2), " * ": (2, 2, 3), " // ": (2, 2, 3), "-{": (3, 3, 3)}
_LOOSE = (0, ATOM, ATOM)


@dataclass(frozen=True)
class Text:
    """A result as it is written: how tightly it binds, and whether it is a Python number."""

    text: str
    level: int = ATOM
    plain: bool = False

    def within(self, level: int = ATOM) -> str:
        """The text as an operand of what binds so tightly."""
        return self.text if self.level >= level else f"({self.text})"


def filled(form: str, parts: list[Text]) -> tuple[str, int]:
    """A form with its operands, in brackets where they need them, and how tightly it binds."""
    if form == "{0}":
        return parts[0].text, parts[0].level
    level, left, right = next((rule for sign, rule in _BINDS.items() if sign in form), _LOOSE)
    if form.endswith(")") and not form.startswith("{a} "):
        level, left, right = ATOM, ATOM, ATOM
    held = {name: part.within(right if name == "b" else left) for name, part in _named(parts)}
    return form.format(*(part.text for part in parts), **held), level


def _named(parts: list[Text]) -> list[tuple[str, Text]]:
    return list(zip("abc", parts, strict=False))


def letters_of(op: Op) -> dict[str, str]:
    """A letter for each label of a contraction: that of its index where it can be."""
    letters: dict[str, str] = {}
    for x in dict.fromkeys(x for operand in op.operands for x in operand.labels):
        name = label_name(x)
        free = (c for c in [name, *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"])
        own = {label_name(y) for operand in op.operands for y in operand.labels} - {name}
        letters[x] = next(
            c for c in free if len(c) == 1 and c.isascii() and c.isalpha()
            and c not in letters.values() and c not in own
        )  # fmt: skip
    return letters
