"""Positions of an axis as pairs of positions: what is claimed of an axis as long as a product.

Where a hypothesis says n = n_p n_q, the positions of the axis are n_q p + q, each of one pair;
where it says n = 1 there is one position. What a statement says of any arrays along the axis it
says of any arrays along the pairs, so the statement over pairs is the same one. A plan tells the
axis and what it is made of, `(pairs axis p q)` or `(pairs axis)`; the hypothesis has to be the
statement's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import permutations, product

import sympy

from attnverify.algebra.predicates import (
    All,
    AnyOf,
    Compare,
    Holds,
    Not,
    Predicate,
    conjunction,
    disjunction,
    negation,
)
from attnverify.algebra.rewrite import rebuild, rename
from attnverify.algebra.terms import (
    ONE,
    Axis,
    Entry,
    Expr,
    Index,
    Maximum,
    Place,
    Scalar,
    Softmax,
    Tensor,
    Threshold,
    Total,
    apply,
    as_expr,
    index_symbol,
    indicator,
    inverse,
    mul,
    size_symbol,
    symbol_axis,
    symbol_index,
    total,
)
from attnverify.certify.errors import Rejected
from attnverify.certify.lines import Tree, text
from attnverify.certify.plans.steps import needed
from attnverify.equations import Equation
from attnverify.spec import Spec
from attnverify.statement import Statement


def over_pairs(statement: Statement, parts: tuple[Tree, ...]) -> Statement:
    """The statement over pairs in place of an axis; Rejected where no hypothesis gives its size."""
    names = tuple(map(text, parts))
    if len(names) not in (1, 3) or len(set(names)) < len(names):
        raise Rejected("an axis and the two that it is made of were due, or one alone")
    if statement.relabels:
        raise Rejected("a relabelled statement is not read over pairs")
    return _Pairing(statement, names[0], names[1:]).statement()


@dataclass
class _Pairing:
    """One axis of one statement on its way to pairs."""

    source: Statement
    axis: str
    parts: tuple[str, ...]
    made: dict[Index, tuple[Index, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spec = self.source.spec
        self.axes = {axis.name: axis for axis in spec.axes}
        self.axes.update({i.axis.name: i.axis for i in self.source.indices})
        mine = self.axes.get(self.axis)
        if mine is not None and mine.follows:
            raise Rejected(f"{self.axis} has its size from elsewhere")
        if any(part.name == self.axis for axis in self.axes.values() for part in axis.addends):
            raise Rejected(f"another axis has its size from {self.axis}")
        if not set(self.parts) <= set(self.axes):
            raise Rejected(f"no such axes: {', '.join(self.parts)}")
        self.size = sympy.Mul(*map(size_symbol, self.parts))
        # No name that is made may be one that stands anywhere.
        lines = (self.source.text(), *map(str, needed(self.source)))
        self.words = {word for line in lines for word in re.findall(r"\w+", line)}

    def statement(self) -> Statement:
        """The statement without the hypothesis that is spent."""
        source, rows = self.source, needed(self.source)
        if not all(isinstance(row, Equation) for row in rows):
            raise Rejected("a recurrence is not read over pairs")
        spent = next((h for h in source.hypotheses if self._gives(h)), None)
        if spent is None:
            raise Rejected(f"no hypothesis gives the size of {self.axis}")
        given = [self._hypothesis(h) for h in source.hypotheses if h is not spent]
        equations = [
            Equation(self._entry(row.head), self.expression(row.body))
            for row in rows
            if isinstance(row, Equation)
        ]
        left, right = self.expression(source.left), self.expression(source.right)
        inputs = [self._entry(entry) for entry in source.spec.inputs]
        return replace(
            source, spec=self._spec(inputs, equations), left=left, right=right,
            hypotheses=tuple(given),
        )  # fmt: skip

    def _spec(self, inputs: list[Entry], equations: list[Equation]) -> Spec:
        spec = self.source.spec
        if not equations:
            name = max((entry.tensor.name for entry in inputs), key=len, default="") + "unit"
            equations = [Equation(Entry(Tensor(name), ()), ONE)]
        return Spec(spec.name, inputs, equations, (equations[-1].name,), parameters=spec.parameters)

    def _gives(self, hypothesis: object) -> bool:
        """Whether a hypothesis says that the axis has as many positions as there are pairs."""
        if not isinstance(hypothesis, Compare) or hypothesis.op != "==":
            return False
        one, other = hypothesis.left, hypothesis.right
        if not isinstance(one, Scalar) or not isinstance(other, Scalar):
            return False
        due = size_symbol(self.axis) - self.size
        return any(sympy.expand(sign * (one.value - other.value) - due) == 0 for sign in (1, -1))

    def _hypothesis(self, hypothesis: object) -> Predicate:
        if not isinstance(hypothesis, Predicate):
            raise Rejected("a row that sees a key is not read over pairs")
        return self._where(hypothesis)

    # ---- indices

    def _pair(self, index: Index) -> tuple[Index, ...]:
        """The indices that stand for one: of another axis itself, else a pair of new ones."""
        if index.axis.name != self.axis:
            return (index,)
        if index not in self.made:
            names = [f"{index.name}_{part}" for part in self.parts]
            if not self.words.isdisjoint(names):
                raise Rejected(f"an index is called as a part of {index.name} would be")
            self.words.update(names)
            self.made[index] = tuple(
                Index(name, self.axes[part]) for name, part in zip(names, self.parts, strict=True)
            )
        return self.made[index]

    def _places(self, places: Iterable[Place]) -> tuple[Place, ...]:
        found: list[Place] = []
        for place in places:
            mine = place if isinstance(place, tuple) else (place,)
            new = tuple(part for index in mine for part in self._pair(index))
            if len(new) == 1 and not isinstance(place, tuple):
                found.append(new[0])
            elif new:
                found.append(new if len(new) > 1 else new[0])
        return tuple(found)

    def _entry(self, entry: Entry) -> Entry:
        return Entry(entry.tensor, self._places(entry.places))

    # ---- expressions

    def expression(self, expr: Expr) -> Expr:
        """The expression over pairs."""
        match expr:
            case Scalar(value):
                return Scalar(value.xreplace(self._table(value)))
            case Entry():
                return self._entry(expr)
            case Total(body, over):
                new = tuple(part for index in over for part in self._pair(index))
                inside = self.expression(body)
                return total(inside, new) if new else inside
            case Softmax(score, over, where, at) if over.axis.name == self.axis:
                weight = mul(indicator(where), apply("exp", score))
                mass = total(weight, over)
                return self.expression(mul(rename(weight, {over: at}), inverse(mass)))
            case Maximum(_, over, _) | Threshold(_, over, _, _) if over.axis.name == self.axis:
                raise Rejected("a function of a row is not read over pairs")
        return rebuild(expr, self.expression, self._where)

    def _table(self, value: sympy.Expr) -> dict[sympy.Symbol, sympy.Expr]:
        table: dict[sympy.Symbol, sympy.Expr] = {}
        for symbol in value.free_symbols:
            index = symbol_index(symbol)
            if symbol_axis(symbol) == self.axis:
                table[symbol] = self.size
            elif index is not None and index.axis.name == self.axis:
                pair = self._pair(Index(index.name, self.axes.get(self.axis, Axis(self.axis))))
                table[symbol] = _position(pair)
        return table

    def _where(self, where: Predicate) -> Predicate:
        match where:
            case Compare():
                return self._compare(where)
            case Holds(entry):
                return Holds(self._entry(entry))
            case All(parts):
                return conjunction(*map(self._where, parts))
            case AnyOf(parts):
                return disjunction(*map(self._where, parts))
            case Not(part):
                return negation(self._where(part))
        return where

    def _compare(self, where: Compare) -> Predicate:
        """A comparison; two pairs stand at one position where both of their parts do."""
        left, right = self.expression(where.left), self.expression(where.right)
        if where.op == "==" and isinstance(left, Scalar) and isinstance(right, Scalar):
            gap = sympy.expand(left.value - right.value)
            for p, p2, q, q2 in self._pairs_in(gap):
                due = _position((p, q)) - _position((p2, q2))
                if sympy.expand(gap - due) == 0:
                    same = (Compare("==", as_expr(a), as_expr(b)) for a, b in ((p, p2), (q, q2)))
                    return conjunction(*same)
        return Compare(where.op, left, right)

    def _pairs_in(self, gap: sympy.Expr) -> Iterator[tuple[Index, Index, Index, Index]]:
        """The two indices of each part in a difference of positions, in every order."""
        found = [symbol_index(symbol) for symbol in sorted(gap.free_symbols, key=str)]
        mine = [[i for i in found if i is not None and i.axis.name == part] for part in self.parts]
        if len(mine) == 2 and all(len(indices) == 2 for indices in mine):
            for (p, p2), (q, q2) in product(*map(permutations, mine)):
                yield p, p2, q, q2


def _position(pair: tuple[Index, ...]) -> sympy.Expr:
    """The position of a pair, the second part's the finer steps; 0 for the one position."""
    if not pair:
        return sympy.Integer(0)
    coarse, fine = pair
    return index_symbol(coarse) * size_symbol(fine.axis.name) + index_symbol(fine)
