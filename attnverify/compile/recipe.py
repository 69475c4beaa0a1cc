"""The recipe: labelled single-assignment operations that every back end prints or runs.

Each operand names an array and labels its dimensions, as einsum does; a label is `index@axis`.
Since every operation says which labels it has, blocking over an axis is a rewrite of the list.
"""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import sympy

from attnverify.algebra.terms import Index

Label: TypeAlias = str
Labels: TypeAlias = tuple[Label, ...]


@dataclass(frozen=True)
class Operand:
    """An array by name, with a label for each dimension."""

    name: str
    labels: Labels


@dataclass(frozen=True)
class Op:
    """`out[labels] = kind(operands)`.

    Kinds: `input` (an array handed in, product axes split), `scalar` (a number from sizes and
    parameters, in `value`), `position` (the positions along one label), `map` (the function
    `detail`, place by place), `reduce` (`sum` or `max` over the labels left out), `contract` (sum
    of the product over the labels left out), `root` (the threshold of the scores along the label
    left out, for the exponent `detail`, which derivatives hold constant), `loop` (a recurrence, in
    `loop`), `step` (one position of an array inside a loop).
    """

    out: str
    labels: Labels
    kind: str
    operands: tuple[Operand, ...] = ()
    detail: str = ""
    value: sympy.Expr | None = None
    loop: Loop | None = None


@dataclass(frozen=True)
class Loop:
    """A recurrence: `ops` run at each position of `along`; `carried` has (state, initial, next)."""

    along: Label
    counter: str
    reverse: bool
    ops: tuple[Op, ...]
    carried: tuple[tuple[str, Operand, Operand], ...]
    kept: tuple[tuple[str, Operand], ...]


@dataclass(frozen=True)
class Recipe:
    """Operations in order, the array places of inputs, and the operand that each output reads."""

    name: str
    inputs: tuple[tuple[str, tuple[Labels, ...]], ...]
    ops: tuple[Op, ...]
    outputs: tuple[tuple[str, Operand, tuple[Labels, ...]], ...]
    parameters: tuple[str, ...]
    axes: tuple[str, ...]

    @cached_property
    def calls(self) -> Counter[tuple[str, ...]]:
        """How often operations run: for axes, how many of them run at each of their positions."""
        return Counter(along for along, _ in _runs(self.ops))

    @cached_property
    def terms(self) -> Counter[tuple[str, ...]]:
        """How many terms are computed: for axes, how many operations have one at each position."""
        return Counter(
            (*along, *sorted(label_axis(x) for x in dict.fromkeys(op_labels(op))))
            for along, op in _runs(self.ops)
        )

    def __str__(self) -> str:
        return "\n".join(op_text(op) for op in self.ops)


def _runs(ops: tuple[Op, ...], along: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Op]]:
    """Every operation that is no loop, with the axes of the loops around it."""
    for op in ops:
        if op.loop is None:
            yield along, op
        else:
            yield from _runs(op.loop.ops, (*along, label_axis(op.loop.along)))


def op_labels(op: Op) -> list[Label]:
    """The labels of an operation and of its operands."""
    return [x for labels in (op.labels, *(o.labels for o in op.operands)) for x in labels]


def op_text(op: Op) -> str:
    """One operation as a line of text."""
    names = ", ".join(f"{o.name}[{' '.join(label_name(x) for x in o.labels)}]" for o in op.operands)
    extra = op.detail or ("" if op.value is None else str(op.value))
    head = f"{op.out}[{' '.join(label_name(x) for x in op.labels)}] = {op.kind}"
    line = f"{head}{':' + extra if extra else ''}({names})"
    if op.loop is None:
        return line
    return "\n".join([line, *("    " + op_text(inner) for inner in op.loop.ops)])


def label(index: Index) -> Label:
    """The label of an index."""
    return f"{index.name}@{index.axis.name}"


def label_axis(text: Label) -> str:
    """The axis of a label."""
    return text.partition("@")[2]


def label_name(text: Label) -> str:
    """The index name of a label."""
    return text.partition("@")[0]


def union(parts: Iterable[Labels]) -> Labels:
    """All labels: those of the longest part in its order, then others by first appearance."""
    listed = sorted(parts, key=len, reverse=True)
    return tuple(dict.fromkeys(x for part in listed for x in part))


# Functions that always give an integer.
_TABLES = {"t5_bucket"}
# Functions that give an integer or a truth value for such operands.
_WHOLE = {
    "add",
    "subtract",
    "multiply",
    "floor_divide",
    "negative",
    "square",
    "absolute",
    "sign",
    "maximum",
    "larger",
    "smaller",
    "relu",
    "broadcast",
    "select",
    "stop_gradient",
}
_TRUTH = {
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "equal",
    "not_equal",
    "logical_and",
    "logical_or",
    "logical_not",
}


def holds_whole(op: Op, whole: set[str]) -> bool:
    """Whether an operation gives integers or truth values; `whole` names the operands that do."""
    if op.kind == "position" or (op.kind == "input" and op.detail != "real"):
        return True
    if op.kind == "scalar":
        return bool(op.detail) or (op.value is not None and bool(op.value.is_integer))
    if op.kind == "map":
        kept = all(operand.name in whole for operand in op.operands)
        return op.detail in _TRUTH | _TABLES or (op.detail in _WHOLE and kept)
    return op.kind in ("reduce", "contract", "step") and all(o.name in whole for o in op.operands)


# Functions that may give NaN or an infinity for finite operands: a selection must reach them.
LOOSE = {"log", "undefined"}


@dataclass
class Builder:
    """Collects operations, giving equal ones the same name.

    `whole` names the arrays that hold integers or truth values, `loose` those that may hold NaN or
    an infinity where inputs are finite.
    """

    ops: list[Op] = field(default_factory=list)
    seen: dict[tuple[object, ...], Operand] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)

    def name(self, hint: str) -> str:
        """A new name that is a Python identifier, close to `hint`."""
        stem = "".join(ch if ch.isalnum() or ch == "_" else "_" for ch in hint) or "x"
        name, number = stem, 1
        while name in self.names or keyword.iskeyword(name):
            number += 1
            name = f"{stem}_{number}"
        self.names.add(name)
        return name

    def emit(
        self,
        kind: str,
        labels: Labels,
        operands: tuple[Operand, ...] = (),
        detail: str = "",
        *,
        value: sympy.Expr | None = None,
        hint: str = "x",
    ) -> Operand:
        """Add an operation unless the same one stands already; return its result."""
        key = (kind, _relabelled(labels, operands), detail, value)
        known = self.seen.get(key)
        if known is not None and len(known.labels) == len(labels):
            return Operand(known.name, labels)
        out = Operand(self.name(hint), labels)
        self.append(Op(out.name, labels, kind, operands, detail, value))
        self.seen[key] = out
        return out

    def append(self, op: Op) -> None:
        """Add an operation as it is."""
        self.ops.append(op)
        if holds_whole(op, self.whole):
            self.whole.add(op.out)
        if op.detail in LOOSE or any(operand.name in self.loose for operand in op.operands):
            self.loose.add(op.out)


def _relabelled(labels: Labels, operands: tuple[Operand, ...]) -> tuple[object, ...]:
    """Operands and result with labels numbered as they appear, so that index names do not count."""
    numbers: dict[Label, int] = {}
    for x in (x for operand in operands for x in operand.labels):
        numbers.setdefault(x, len(numbers))
    for x in labels:
        numbers.setdefault(x, len(numbers))
    named = tuple((o.name, tuple((numbers[x], label_axis(x)) for x in o.labels)) for o in operands)
    return named, tuple((numbers[x], label_axis(x)) for x in labels)
