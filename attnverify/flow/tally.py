"""Operations of a recipe, counted by their kind as its labels say how often each is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import sympy

from attnverify.algebra.terms import size_symbol
from attnverify.compile.recipe import Label, Labels, Op, holds_whole, label_axis
from attnverify.errors import SpecError

# What a function does at each place, by the name that recipes use. A table of whole numbers, a
# conversion or a view does nothing that is counted.
KINDS = {
    "add": "additions",
    "subtract": "additions",
    "negative": "additions",
    "multiply": "multiplications",
    "square": "multiplications",
    "inverse": "divisions",
    "relu": "selections",
    "step": "selections",
    "larger": "selections",
    "smaller": "selections",
    "maximum": "selections",
    "finite": "selections",
    "select": "selections",
    "absolute": "selections",
    "sign": "selections",
}
FUNCTIONS = ("exp", "log", "tanh", "logistic", "erf", "sin", "cos", "sqrt", "power")
FREE = ("as_real", "broadcast", "stop_gradient", "alibi_slope", "t5_bucket", "undefined")
PARTS = ("multiply_adds", "multiplications", "additions", "divisions", "selections")


class Space:
    """The number of places of a list of labels; a pair that a mask thins out counts as it does."""

    def __init__(self, pairs: Mapping[tuple[str, str], sympy.Expr]) -> None:
        self.pairs = pairs

    def of(self, labels: Iterable[Label]) -> sympy.Expr:
        """How many places a list of labels has; SpecError where a mask speaks of some of many."""
        once = list(dict.fromkeys(labels))
        found = sympy.Integer(1)
        for (row, column), kept in self.pairs.items():
            if sum(label_axis(x) in (row, column) for x in once) > 2:
                raise SpecError("an operation has more than two positions", found=", ".join(once))
            pair = _pair(once, row, column)
            if pair is not None:
                once = [x for x in once if x not in pair]
                found *= kept
        return found * sympy.prod(size_symbol(label_axis(x)) for x in once)


def _pair(labels: list[Label], row: str, column: str) -> tuple[Label, Label] | None:
    """Two labels along the axes of a mask."""
    first = next((x for x in labels if label_axis(x) == row), None)
    second = next((x for x in labels if label_axis(x) == column and x != first), None)
    return None if first is None or second is None else (first, second)


@dataclass
class Tally:
    """Counts as operations are read, and the labels of every result that took work."""

    space: Space
    parts: dict[str, sympy.Expr] = field(default_factory=dict)
    functions: dict[str, sympy.Expr] = field(default_factory=dict)
    results: list[tuple[str, Labels, sympy.Expr]] = field(default_factory=list)
    whole: set[str] = field(default_factory=set)
    numbers: set[str] = field(default_factory=set)

    def run(self, ops: Iterable[Op], times: sympy.Expr) -> None:
        """Count operations that are each done so many times."""
        for op in ops:
            if op.loop is not None:
                self.run(op.loop.ops, times * size_symbol(label_axis(op.loop.along)))
                continue
            if holds_whole(op, self.whole):
                self.whole.add(op.out)
            if op.kind == "scalar" or (op.kind == "map" and self._of_numbers(op)):
                self.numbers.add(op.out)
            elif op.out not in self.whole:
                self._count(op, times)

    def _of_numbers(self, op: Op) -> bool:
        return all(operand.name in self.numbers for operand in op.operands) and not op.labels

    def _count(self, op: Op, times: sympy.Expr) -> None:
        read = tuple(x for operand in op.operands for x in operand.labels)
        if op.kind == "contract":
            if set(read) != set(op.labels) or len(op.operands) > 1:
                self._add("multiply_adds", times * self.space.of((*read, *op.labels)))
        elif op.kind == "reduce":
            kind = "selections" if op.detail == "max" else "additions"
            self._add(kind, times * self.space.of(read))
        elif op.kind == "root":
            self.functions["threshold"] = self.functions.get(
                "threshold", sympy.Integer(0)
            ) + times * self.space.of(op.labels)
        elif op.kind != "map" or op.detail in FREE:
            return
        elif op.detail in FUNCTIONS:
            found = self.functions.get(op.detail, sympy.Integer(0))
            self.functions[op.detail] = found + times * self.space.of(op.labels)
        elif op.detail in KINDS:
            self._add(KINDS[op.detail], times * self.space.of(op.labels))
        else:
            raise SpecError("counting has no rule for this function", found=op.detail)
        self.results.append((op.out, op.labels, times))

    def _add(self, part: str, number: sympy.Expr) -> None:
        self.parts[part] = self.parts.get(part, sympy.Integer(0)) + number
