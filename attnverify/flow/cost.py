"""What computing a spec costs: operations and entries as exact polynomials in its sizes.

They are derived from the recipe that the spec compiles to, so they are those of the code that runs.
Work on whole numbers and truth values (positions, masks) is not counted, nor are views and copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import sympy

from attnverify.algebra.terms import (
    AXIS_SYMBOLS,
    size_symbol,
    symbol_axis,
)
from attnverify.compile.lower import lower
from attnverify.compile.recipe import Label, Labels, Recipe, label_axis
from attnverify.errors import ParameterError
from attnverify.flow.edges import CHANNELS
from attnverify.flow.tally import PARTS, Space, Tally
from attnverify.flow.visited import visited_pairs
from attnverify.library import load
from attnverify.spec import Spec

ROWS = sympy.Symbol("rows", integer=True, positive=True)
CHUNK = sympy.Symbol("chunk", integer=True, positive=True)


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
    space = Space(visited_pairs(whole) if visited else {})
    tally = Tally(space)
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
    """An expression with sizes in the papers' symbols, as text.

    >>> shown(size_symbol("queries") ** 2 * size_symbol("key_dim"))
    'd_k*n_q**2'
    """
    return str(printed(expr))


def printed(expr: sympy.Expr) -> sympy.Expr:
    """An expression with sizes in the papers' symbols.

    >>> printed(size_symbol("queries") ** 2)
    n_q**2
    """
    names = {
        s: sympy.Symbol(AXIS_SYMBOLS.get(axis, f"n_{axis}"))
        for s in expr.free_symbols
        if (axis := symbol_axis(s)) is not None
    }
    return expr.xreplace(names)


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


__all__ = ["CHUNK", "ROWS", "Cost", "cost", "printed", "shown"]
