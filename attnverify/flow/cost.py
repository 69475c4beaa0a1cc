"""What computing a spec costs: operations and entries as exact polynomials in its sizes.

They are derived from the recipe that the spec compiles to, so they are those of the code that runs.
Work on whole numbers and truth values (positions, masks) is not counted, nor are views and copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import sympy

from attnverify.algebra.predicates import Predicate
from attnverify.algebra.rewrite import free_in, predicate_entries
from attnverify.algebra.terms import AXIS_SYMBOLS, Index, size_symbol, symbol_axis
from attnverify.compile.lower import lower
from attnverify.compile.recipe import Label, Labels, Op, Recipe, holds_whole, label_axis
from attnverify.errors import ParameterError, SpecError
from attnverify.flow.graph import CHANNELS
from attnverify.flow.pairs import count
from attnverify.library import load
from attnverify.spec import Spec

ROWS = sympy.Symbol("rows", integer=True, positive=True)
CHUNK = sympy.Symbol("chunk", integer=True, positive=True)

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


@dataclass(frozen=True)
class Cost:
    """Operations and entries of one run, as polynomials in the sizes of axes.

    `multiply_adds` are those of contractions, `multiplications` and `additions` those place by
    place (a sum of m terms has m additions), `divisions` are inverses, `selections` choices between
    two values, `functions` calls of elementary functions by name. `entries_inputs` and
    `entries_outputs` are what the spec reads and gives; `entries_naive` all results on the way, the
    outputs among them, each held whole; `entries_streamed` the same where `rows` positions of the
    output at a time read `chunk` positions of what they attend to, None for a recurrence.
    """

    name: str
    multiply_adds: sympy.Expr
    multiplications: sympy.Expr
    additions: sympy.Expr
    divisions: sympy.Expr
    selections: sympy.Expr
    functions: Mapping[str, sympy.Expr]
    entries_inputs: sympy.Expr
    entries_outputs: sympy.Expr
    entries_naive: sympy.Expr
    entries_streamed: sympy.Expr | None

    @property
    def exponentials(self) -> sympy.Expr:
        """Calls of exp."""
        return self.functions.get("exp", sympy.Integer(0))

    @property
    def operations(self) -> sympy.Expr:
        """All that is counted, a multiply-add as one."""
        parts = [getattr(self, part) for part in PARTS]
        return sympy.expand(sum([*parts, *self.functions.values()], sympy.Integer(0)))

    def table(self) -> dict[str, sympy.Expr]:
        """Every count by its name."""
        entries = {
            "entries of inputs": self.entries_inputs,
            "entries of outputs": self.entries_outputs,
            "entries, naive": self.entries_naive,
        }
        if self.entries_streamed is not None:
            entries["entries, streamed"] = self.entries_streamed
        operations = {part.replace("_", "-"): getattr(self, part) for part in PARTS}
        return {**operations, **self.functions, **entries}

    def at(self, sizes: Mapping[str, int], **values: int) -> dict[str, int]:
        """Every count at sizes by axis and parameters by name (`rows` and `chunk` among them).

        Raises ParameterError where a count depends on one that is not given.

        >>> sizes = dict(batch=1, heads=1, queries=3, keys=5, key_dim=2, value_dim=4)
        >>> cost("global").at(sizes, rows=1, chunk=1)["multiply-adds"]
        90
        """
        known = {size_symbol(axis): sympy.Integer(size) for axis, size in sizes.items()}
        return {name: _number(name, expr, known, values) for name, expr in self.table().items()}

    def where(self, changes: Mapping[sympy.Expr, sympy.Expr]) -> Cost:
        """The cost with sizes or parameters replaced, such as keys by queries."""

        def changed(expr: sympy.Expr) -> sympy.Expr:
            return sympy.expand(expr.subs(changes, simultaneous=True))

        parts: dict[str, Any] = {part: changed(getattr(self, part)) for part in PARTS}
        streamed = None if self.entries_streamed is None else changed(self.entries_streamed)
        return Cost(
            name=self.name,
            **parts,
            functions=MappingProxyType({n: changed(e) for n, e in self.functions.items()}),
            entries_inputs=changed(self.entries_inputs),
            entries_outputs=changed(self.entries_outputs),
            entries_naive=changed(self.entries_naive),
            entries_streamed=streamed,
        )

    def __str__(self) -> str:
        rows = [f"  {name}: {shown(expr)}" for name, expr in self.table().items() if expr != 0]
        return "\n".join([self.name, *rows])


def cost(spec: str | Spec, *, visited: bool = False, **parameters: Any) -> Cost:
    """What one run of a spec, given by name or as itself, costs.

    The gradient's cost is `cost(gradient(spec))`. With `visited` only the pairs of positions count
    that the spec's mask keeps, as for code that skips the others; the mask must be made of integer
    bounds on the two positions and on their distance, and SpecError says where it is not. Without a
    mask every pair counts.

    >>> print(cost("causal").multiply_adds)
    n:batch*n:heads*n:key_dim*n:keys*n:queries + n:batch*n:heads*n:keys*n:queries*n:value_dim
    >>> n = size_symbol("queries")
    >>> seen = cost("causal", visited=True).where({size_symbol("keys"): n})
    >>> sympy.factor(seen.exponentials / size_symbol("batch") / size_symbol("heads"))
    n:queries*(n:queries + 1)/2
    """
    whole = load(spec, **parameters)
    recipe = lower(whole)
    space = _Space(_pairs(whole) if visited else {})
    tally = _Tally(space)
    tally.run(recipe.ops, sympy.Integer(1))
    held = _Held(recipe, whole)
    return Cost(
        name=whole.name,
        **{part: sympy.expand(tally.parts.get(part, sympy.Integer(0))) for part in PARTS},
        functions=MappingProxyType({n: sympy.expand(e) for n, e in tally.functions.items()}),
        entries_inputs=_places(whole, (entry.tensor.name for entry in whole.inputs)),
        entries_outputs=_places(whole, whole.outputs),
        entries_naive=held.naive(tally.results),
        entries_streamed=held.streamed(tally.results),
    )


def shown(expr: sympy.Expr) -> str:
    """An expression with sizes in the papers' symbols.

    >>> shown(size_symbol("queries") ** 2 * size_symbol("key_dim"))
    'd_k*n_q**2'
    """
    names = {
        s: sympy.Symbol(AXIS_SYMBOLS.get(axis, f"n_{axis}"))
        for s in expr.free_symbols
        if (axis := symbol_axis(s)) is not None
    }
    return str(expr.xreplace(names))


def _number(
    name: str, expr: sympy.Expr, known: Mapping[sympy.Symbol, sympy.Expr], values: Mapping[str, int]
) -> int:
    given = {s: sympy.Integer(values[s.name]) for s in expr.free_symbols if s.name in values}
    found = expr.subs({**known, **given})
    if not found.is_Integer:
        raise ParameterError(
            "a count depends on what is not given",
            count=name,
            found=", ".join(sorted(s.name.removeprefix("n:") for s in found.free_symbols)),
        )
    return int(found)


class _Space:
    """The number of places of a list of labels; a pair that a mask thins out counts as it does."""

    def __init__(self, pairs: Mapping[tuple[str, str], sympy.Expr]) -> None:
        self.pairs = pairs

    def __call__(self, labels: Iterable[Label]) -> sympy.Expr:
        once = list(dict.fromkeys(labels))
        found = sympy.Integer(1)
        for (row, column), kept in self.pairs.items():
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
class _Tally:
    """Counts as operations are read, and the labels of every result that took work."""

    space: _Space
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
                self._add("multiply_adds", times * self.space((*read, *op.labels)))
        elif op.kind == "reduce":
            kind = "selections" if op.detail == "max" else "additions"
            self._add(kind, times * self.space(read))
        elif op.kind == "root":
            self.functions["threshold"] = self.functions.get(
                "threshold", sympy.Integer(0)
            ) + times * self.space(op.labels)
        elif op.kind != "map" or op.detail in FREE:
            return
        elif op.detail in FUNCTIONS:
            found = self.functions.get(op.detail, sympy.Integer(0))
            self.functions[op.detail] = found + times * self.space(op.labels)
        elif op.detail in KINDS:
            self._add(KINDS[op.detail], times * self.space(op.labels))
        else:
            raise SpecError("counting has no rule for this function", found=op.detail)
        self.results.append((op.out, op.labels, times))

    def _add(self, part: str, number: sympy.Expr) -> None:
        self.parts[part] = self.parts.get(part, sympy.Integer(0)) + number


class _Held:
    """Entries that are held on the way."""

    def __init__(self, recipe: Recipe, spec: Spec) -> None:
        self.outputs = {value.name for _, value, _ in recipe.outputs}
        self.loops = any(op.kind == "loop" for op in recipe.ops)
        first = recipe.outputs[0][1].labels
        self.rows = {x for x in first if label_axis(x) not in CHANNELS}
        self.spec = spec

    def naive(self, results: Iterable[tuple[str, Labels, sympy.Expr]]) -> sympy.Expr:
        """Every result whole."""
        return sympy.expand(sum((times * _size(x) for _, x, times in results), sympy.Integer(0)))

    def streamed(self, results: Iterable[tuple[str, Labels, sympy.Expr]]) -> sympy.Expr | None:
        """Outputs whole, of everything else a block."""
        if self.loops:
            return None
        sizes = (
            _size(labels) if name in self.outputs else self._block(labels)
            for name, labels, _ in results
        )
        return sympy.expand(sum(sizes, sympy.Integer(0)))

    def _block(self, labels: Labels) -> sympy.Expr:
        return sympy.prod(
            size_symbol(label_axis(x))
            if label_axis(x) in CHANNELS
            else ROWS
            if x in self.rows
            else CHUNK
            for x in dict.fromkeys(labels)
        )


def _size(labels: Iterable[Label]) -> sympy.Expr:
    return sympy.prod(size_symbol(label_axis(x)) for x in dict.fromkeys(labels))


def _places(spec: Spec, names: Iterable[str]) -> sympy.Expr:
    """The entries of tensors."""
    sizes = (
        sympy.prod(size_symbol(index.axis.name) for index in spec.heads[name].indices)
        for name in names
    )
    return sympy.expand(sum(sizes, sympy.Integer(0)))


def _pairs(spec: Spec) -> dict[tuple[str, str], sympy.Expr]:
    """How many pairs of positions each mask of a spec keeps, by the two axes."""
    found: dict[tuple[str, str], tuple[Predicate, sympy.Expr]] = {}
    for where, row, column in _masks(spec):
        axes = (row.axis.name, column.axis.name)
        known = found.get(axes) or found.get(axes[::-1])
        kept = count(where, row, column)
        if known is not None and sympy.expand(known[1] - kept) != 0:
            raise SpecError(
                "two masks keep different pairs of the same axes",
                spec=spec.name,
                found=f"{known[0]}; {where}",
                hint="count the operations without visited=True",
            )
        found.setdefault(axes, (where, kept))
    return {axes: kept for axes, (_, kept) in found.items()}


def _masks(spec: Spec) -> Iterator[tuple[Predicate, Index, Index]]:
    """Each predicate about two positions, and them; SpecError where it asks for more."""
    for where in dict.fromkeys(spec.predicates()):
        free = tuple(free_in(where))
        seen = [index for index in free if index.axis.name not in CHANNELS]
        if len(seen) < 2 and not list(predicate_entries(where)):
            continue
        if len(free) != 2 or len(seen) != 2:
            raise SpecError(
                "the pairs that a mask keeps depend on more than two positions",
                spec=spec.name,
                mask=str(where),
                hint="count the operations without visited=True",
            )
        column, row = seen
        yield where, row, column


__all__ = ["CHUNK", "ROWS", "Cost", "cost", "shown"]
