"""Axes whose size is given, read as what they are made of: one position, or pairs of positions.

Where a hypothesis says that an axis is as long as the product of two others, its positions are
those of the pairs, row-major: a sum over it is a sum over both, and position j is n_q p + q. Where
one says that an axis has one position, every index of it is the same. What a statement says of its
inputs it says of arrays over pairs, for they are any arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import sympy

from attnverify.algebra.predicates import (
    All,
    AnyOf,
    Compare,
    Holds,
    Predicate,
    conjunction,
    disjunction,
)
from attnverify.algebra.rewrite import (
    entries,
    predicate_entries,
    rebuild,
    rebuild_in,
    rename,
    with_scalars,
)
from attnverify.algebra.terms import (
    ONE,
    Entry,
    Expr,
    Index,
    Maximum,
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
    symbols_of,
    total,
)
from attnverify.equations import Equation, Recurrence
from attnverify.provers.induction.plan import told
from attnverify.provers.induction.steps import Names, needed_rows
from attnverify.spec import Spec
from attnverify.statement import Hypothesis, Statement, inline


@dataclass(frozen=True)
class Fold:
    """An axis and the axes that its positions are pairs of; of none where it has one position."""

    axis: str
    parts: tuple[str, ...]


class NoRuleError(Exception):
    """An expression uses an axis in a way that has no rule here."""


def unfolded(statement: Statement) -> tuple[Statement, tuple[str, ...]] | None:
    """The statement over pairs in place of axes that are products, or None where there is nothing.

    With it, the lines that tell which axes these are, and what they are made of.

    Names are put in place of their definitions, so there must be no recurrence.
    """
    if statement.relabels or any(isinstance(r, Recurrence) for r in needed_rows(statement)):
        return None
    for hypothesis in statement.hypotheses:
        fold = _fold(hypothesis)
        if fold is not None:
            try:
                work = _Unfolding(statement, fold)
                made = work.statement(hypothesis)
            except NoRuleError:
                continue
            line = told("pairs", fold.axis, *work.parts)
            rest = unfolded(made)
            return (made, (line,)) if rest is None else (rest[0], (line, *rest[1]))
    return None


def _fold(hypothesis: Hypothesis) -> Fold | None:
    """The axis that a hypothesis gives the size of, and what it is made of."""
    if not isinstance(hypothesis, Compare) or hypothesis.op != "==":
        return None
    sides = (hypothesis.left, hypothesis.right)
    for one, other in (sides, sides[::-1]):
        if not isinstance(one, Scalar) or not isinstance(other, Scalar):
            return None
        axis = symbol_axis(one.value) if one.value.is_Symbol else None
        if axis is None:
            continue
        if other.value == 1:
            return Fold(axis, ())
        parts = tuple(map(symbol_axis, symbols_of(other.value)))
        names = tuple(part for part in parts if part is not None)
        product = sympy.Mul(*(size_symbol(name) for name in names))
        if len(names) == 2 == len(parts) and axis not in names and other.value == product:
            return Fold(axis, names)
    return None


@dataclass
class _Unfolding:
    """One statement in which one axis is unfolded."""

    source: Statement
    fold: Fold
    pairs: dict[Index, tuple[Index, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = Names.of(self.source)
        self.axes = {axis.name: axis for axis in self.source.spec.axes}
        known = {i.axis.name: i.axis for i in self.source.indices}
        self.axes = {**known, **self.axes}
        sides = (self._inline(self.source.left), self._inline(self.source.right))
        self.left, self.right = sides
        if any(part not in self.axes for part in self.fold.parts):
            raise NoRuleError
        if self.fold.axis in self.axes and self.axes[self.fold.axis].follows:
            raise NoRuleError
        # Which part comes first is read off how positions are compared.
        self.parts = self._order()

    def _inline(self, side: Expr) -> Expr:
        rows = needed_rows(self.source)
        spec = self.source.spec
        if rows:
            spec = spec.replace(equations=rows, outputs=(_last(rows),))
            return inline(spec, side)
        return side

    def _order(self) -> tuple[str, ...]:
        """The parts, that of the coarser steps first."""
        if not self.fold.parts:
            return ()
        first, second = self.fold.parts
        for coarse, fine in ((first, second), (second, first)):
            for side in (self.left, self.right):
                if _steps_by(side, coarse, fine):
                    return (coarse, fine)
        return (first, second)

    def statement(self, spent: Hypothesis) -> Statement:
        """The statement without the hypothesis that gave the axis's size."""
        source = self.source
        left, right = self._expr(self.left, {}), self._expr(self.right, {})
        given = tuple(self._given(h) for h in source.hypotheses if h is not spent)
        spec = Spec(
            source.spec.name,
            self._inputs((left, right), given),
            [Equation(Entry(Tensor("unit__"), ()), ONE)],
            ["unit__"],
            parameters=source.spec.parameters,
        )
        return Statement(source.name, source.kind, spec, left, right, given, (), source.words)

    def _given(self, hypothesis: Hypothesis) -> Predicate:
        if not isinstance(hypothesis, Predicate):
            raise NoRuleError
        return self._where(hypothesis, {})

    def _inputs(self, sides: Iterable[Expr], given: Iterable[Predicate]) -> list[Entry]:
        read = [e for side in sides for e in entries(side)]
        read += [e for where in given for e in predicate_entries(where)]
        found: dict[str, Entry] = {}
        for entry in read:
            if entry.tensor.name not in found:
                places = tuple(
                    tuple(Index(f"p{n}_{m}", i.axis) for m, i in enumerate(place))
                    if isinstance(place, tuple)
                    else Index(f"p{n}", place.axis)
                    for n, place in enumerate(entry.places)
                )
                found[entry.tensor.name] = Entry(entry.tensor, places)
        return list(found.values())

    # ---- indices

    def _mine(self, index: Index) -> bool:
        return index.axis.name == self.fold.axis

    def _pair(self, index: Index) -> tuple[Index, ...]:
        """The pair of indices that a free index stands for."""
        if index not in self.pairs:
            self.pairs[index] = self._new(index)
        return self.pairs[index]

    def _new(self, index: Index) -> tuple[Index, ...]:
        return tuple(
            self.names.index(Index("", self.axes[part]), f"{index.name}_{part}")
            for part in self.parts
        )

    def _at(self, index: Index, bound: Mapping[Index, tuple[Index, ...]]) -> tuple[Index, ...]:
        return bound[index] if index in bound else self._pair(index)

    def _position(self, pair: tuple[Index, ...]) -> sympy.Expr:
        if not pair:
            return sympy.Integer(0)
        one, other = pair
        return index_symbol(one) * size_symbol(other.axis.name) + index_symbol(other)

    # ---- expressions

    def _expr(self, expr: Expr, bound: Mapping[Index, tuple[Index, ...]]) -> Expr:
        match expr:
            case Scalar():
                return self._scalar(expr, bound)
            case Entry(tensor, places):
                return Entry(tensor, self._places(places, bound))
            case Total(body, over):
                return self._total(body, over, bound)
            case Softmax(score, over, where, at) if self._mine(over):
                return self._softmax(score, over, where, at, bound)
            case Maximum(_, over, _) | Threshold(_, over, _, _) if self._mine(over):
                raise NoRuleError
        return rebuild(
            expr, lambda child: self._expr(child, bound), lambda where: self._where(where, bound)
        )

    def _scalar(self, expr: Scalar, bound: Mapping[Index, tuple[Index, ...]]) -> Expr:
        table: dict[sympy.Symbol, sympy.Expr] = {
            size_symbol(self.fold.axis): sympy.Mul(*map(size_symbol, self.parts))
        }
        for symbol in expr.value.free_symbols:
            index = symbol_index(symbol)
            if index is not None and self._mine(index):
                table[symbol] = self._position(self._at(_same(index, bound), bound))
        return with_scalars(expr, table)

    def _places(
        self,
        places: tuple[Index | tuple[Index, ...], ...],
        bound: Mapping[Index, tuple[Index, ...]],
    ) -> tuple[Index | tuple[Index, ...], ...]:
        found: list[Index | tuple[Index, ...]] = []
        for place in places:
            parts = place if isinstance(place, tuple) else (place,)
            new = [q for p in parts for q in (self._at(p, bound) if self._mine(p) else (p,))]
            if isinstance(place, tuple) and len(new) > 1:
                found.append(tuple(new))
            else:
                found += new
        return tuple(found)

    def _total(
        self, body: Expr, over: tuple[Index, ...], bound: Mapping[Index, tuple[Index, ...]]
    ) -> Expr:
        mine = {index: self._new(index) for index in over if self._mine(index)}
        inner = {**{i: p for i, p in bound.items() if i not in over}, **mine}
        new = tuple(q for i in over for q in mine.get(i, (i,)))
        made = self._expr(body, inner)
        return total(made, new) if new else made

    def _softmax(
        self,
        score: Expr,
        over: Index,
        where: Predicate,
        at: Index,
        bound: Mapping[Index, tuple[Index, ...]],
    ) -> Expr:
        """exp(score) [where] over its sum, as the total inverse has it."""
        weight = mul(indicator(where), apply("exp", score))
        mass = self._total(weight, (over,), bound)
        return mul(self._expr(rename(weight, {over: at}), bound), inverse(mass))

    # ---- predicates

    def _where(self, where: Predicate, bound: Mapping[Index, tuple[Index, ...]]) -> Predicate:
        def held(leaf: Holds) -> Predicate:
            return Holds(Entry(leaf.entry.tensor, self._places(leaf.entry.places, bound)))

        made = rebuild_in(where, lambda side: self._expr(side, bound), held)
        return _digits(made, self.parts)


def _same(index: Index, bound: Mapping[Index, tuple[Index, ...]]) -> Index:
    """The index as it is bound: what a symbol tells of an axis is its name alone."""
    return next((other for other in bound if other == index), index)


def _last(rows: Iterable[object]) -> str:
    found = [row for row in rows if isinstance(row, Equation)]
    return found[-1].name


def _steps_by(side: Expr, coarse: str, fine: str) -> bool:
    """Whether some position is that of a coarse index times the fine axis's size, plus more."""
    found: list[bool] = []

    def look(node: Expr) -> Expr:
        if isinstance(node, Scalar):
            size = size_symbol(fine)
            for symbol in node.value.free_symbols:
                index = symbol_index(symbol)
                if index is not None and index.axis.name == coarse:
                    found.append(sympy.expand(node.value).coeff(symbol * size) != 0)
            return node
        return rebuild(node, look, lambda where: rebuild_in(where, look))

    look(side)
    return any(found)


def _digits(where: Predicate, parts: tuple[str, ...]) -> Predicate:
    """Equal positions of pairs as equal pairs: n p + q = n p' + q' where p = p' and q = q'."""
    if not isinstance(where, Compare) or where.op != "==" or len(parts) != 2:
        return _digits_in(where, parts)
    if not isinstance(where.left, Scalar) or not isinstance(where.right, Scalar):
        return where
    gap = sympy.expand(where.left.value - where.right.value)
    coarse, fine = parts
    size = size_symbol(fine)
    found = {axis: [i for i in _indices(gap) if i.axis.name == axis] for axis in parts}
    if any(len(indices) != 2 for indices in found.values()):
        return where
    (one, two), (p, q) = found[coarse], found[fine]
    for a, b in ((one, two), (two, one)):
        for c, d in ((p, q), (q, p)):
            due = size * (index_symbol(a) - index_symbol(b)) + index_symbol(c) - index_symbol(d)
            if sympy.expand(gap - due) == 0:
                return conjunction(
                    Compare("==", as_expr(a), as_expr(b)), Compare("==", as_expr(c), as_expr(d))
                )
    return where


def _digits_in(where: Predicate, parts: tuple[str, ...]) -> Predicate:
    """The predicate with each comparison inside it changed."""
    if isinstance(where, All):
        return conjunction(*(_digits(part, parts) for part in where.parts))
    if isinstance(where, AnyOf):
        return disjunction(*(_digits(part, parts) for part in where.parts))
    return where


def _indices(value: sympy.Expr) -> list[Index]:
    found = (symbol_index(symbol) for symbol in symbols_of(value))
    return [index for index in found if index is not None]
