"""From an expression to operations: one rule per node."""

from __future__ import annotations

from fractions import Fraction

import sympy

from attnverify.algebra.predicates import (
    TRUE,
    All,
    AnyOf,
    Compare,
    Holds,
    Not,
    Predicate,
    conjunction,
)
from attnverify.algebra.primitives import primitive
from attnverify.algebra.rewrite import free, free_in, rename, rename_in, unknown
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Indicator,
    Maximum,
    Mul,
    Power,
    Previous,
    Scalar,
    Softmax,
    Threshold,
    Total,
    indicator,
    mul,
    power,
    symbol_index,
    total,
)
from attnverify.algebra.text import split_minus
from attnverify.compile.pairs import Arithmetic, Lowered, Pair
from attnverify.compile.recipe import Builder, Label, Labels, Operand, label
from attnverify.compile.thresholds import Row, row_value

COMPARISONS = {
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "==": "equal",
    "!=": "not_equal",
}


class Lowering(Arithmetic):
    """The operations so far, and what each tensor's name stands for.

    Inside a recurrence `along` is its index, `counter` the variable that holds its position, and
    `earlier` has the states one step before.
    """

    def __init__(self, build: Builder) -> None:
        super().__init__(build)
        self.values: dict[str, tuple[tuple[Index, ...], Lowered]] = {}
        self.earlier: dict[str, tuple[tuple[Index, ...], Operand]] = {}
        self.along: Index | None = None
        self.counter = ""

    def expr(self, expr: Expr, hint: str = "x", want: Labels = ()) -> Lowered:
        """Lower an expression; `want` is the order in which its labels are wanted."""
        match expr:
            case Scalar(value):
                return self.scalar(value)
            case Entry():
                return self.read(expr)
            case Previous(entry):
                return self._read_earlier(entry)
            case Add(terms):
                return self._add(terms, hint, want)
            case Mul(factors):
                return self._product(factors, (), hint, want)
            case Total(body, over):
                body, over = self._apart(body, over)
                factors = body.factors if isinstance(body, Mul) else (body,)
                return self._product(factors, over, hint, want)
            case Power(base, exponent):
                return self.power(self.expr(base, hint), exponent, hint)
            case Apply(name, arguments):
                return self._apply(name, arguments, hint)
            case Softmax():
                return self._softmax(expr, hint, want)
            case Maximum(score, over, where) | Threshold(score, over, where, _):
                row = self._row(score, over, where)
                return row_value(self, expr, row, hint)
            case Indicator(where):
                return self.map("as_real", self.predicate(where), hint=hint)
        raise unknown(expr, "compiling")

    # Reading

    def read(self, entry: Entry) -> Lowered:
        """A tensor's value with its dimensions labelled by the entry's indices."""
        head, value = self.values[entry.tensor.name]
        to = {label(old): label(new) for old, new in zip(head, entry.indices, strict=True)}
        if isinstance(value, Pair):
            sides = (value.mantissa, value.up, value.down)
            return Pair(
                *(None if side is None else self._at_step(_relabel(side, to)) for side in sides)
            )
        return self._at_step(_relabel(value, to))

    def loose(self, entry: Entry) -> bool:
        """Whether a tensor's value may be NaN or infinite where the inputs are finite."""
        known = self.values.get(entry.tensor.name)
        return known is not None and self._loose(known[1])

    def _read_earlier(self, entry: Entry) -> Operand:
        """A state's value one step earlier."""
        head, value = self.earlier[entry.tensor.name]
        to = {label(old): label(new) for old, new in zip(head, entry.indices, strict=True)}
        return self._diagonal(_relabel(value, to))

    def _at_step(self, value: Operand) -> Operand:
        """Inside a loop, an array along the recurrence's index is read at the current position."""
        value = self._diagonal(value)
        if self.along is None or label(self.along) not in value.labels:
            return value
        rest = tuple(x for x in value.labels if x != label(self.along))
        return self.build.emit("step", rest, (value,), label(self.along), hint=f"{value.name}_now")

    def _diagonal(self, value: Operand) -> Operand:
        once = tuple(dict.fromkeys(value.labels))
        if once == value.labels:
            return value
        return self.build.emit("contract", once, (value,), hint=f"{value.name}_diagonal")

    def _apart(self, body: Expr, over: tuple[Index, ...]) -> tuple[Expr, tuple[Index, ...]]:
        """Inside a loop, a sum over the recurrence's own index is renamed: it is not the step."""
        if self.along is None or self.along not in over:
            return body, over
        fresh = Index(f"{self.along.name}'", self.along.axis)
        while fresh in over or fresh in free(body):
            fresh = Index(f"{fresh.name}'", fresh.axis)
        to = {self.along: fresh}
        return rename(body, to), tuple(to.get(index, index) for index in over)

    # Scalars and predicates

    def scalar(self, value: sympy.Expr) -> Operand:
        """Numbers, sizes and parameters as one scalar; positions as arrays."""
        if all(symbol_index(s) is None for s in value.free_symbols):
            return self.number(value)
        if value.is_Symbol:
            return self._position(value)
        if value.is_Add or value.is_Mul:
            return self._scalar_parts(value)
        if isinstance(value, sympy.floor):
            above, below = value.args[0].as_numer_denom()
            return self.map("floor_divide", self.scalar(above), self.scalar(below))
        if value.is_Pow and value.exp.is_Rational:
            exponent = Fraction(int(value.exp.p), int(value.exp.q))
            return self.raised(self.scalar(value.base), exponent, "x")
        raise unknown(Scalar(value), "compiling a position")

    def _position(self, symbol: sympy.Symbol) -> Operand:
        """The positions of an index, or inside a loop the position of the step."""
        index = symbol_index(symbol)
        if index is None:
            return self.number(symbol)
        if index == self.along:
            return self.build.emit("scalar", (), value=symbol, detail=self.counter, hint="c")
        return self.build.emit("position", (label(index),), hint=index.name)

    def _scalar_parts(self, value: sympy.Expr) -> Operand:
        """A sum or product of positions, and one scalar of all that has none."""
        function, neutral = ("add", 0) if value.is_Add else ("multiply", 1)
        positions = [s for s in value.free_symbols if symbol_index(s) is not None]
        plain, rest = value.as_independent(*positions)
        kind = sympy.Add if value.is_Add else sympy.Mul
        parts = [self.scalar(part) for part in sorted(kind.make_args(rest), key=str)]
        if plain != neutral:
            parts.append(self.number(plain))
        return self.fold(function, parts)

    def predicate(self, where: Predicate) -> Operand:
        """A predicate as a boolean array."""
        match where:
            case Compare(op, left, right):
                sides = [self.plain(self.expr(side)) for side in (left, right)]
                return self.map(COMPARISONS[op], *sides, hint="keep")
            case Holds(entry):
                return self.plain(self.read(entry))
            case All(parts) | AnyOf(parts):
                word = "logical_and" if isinstance(where, All) else "logical_or"
                result = self.predicate(parts[0])
                for part in parts[1:]:
                    result = self.map(word, result, self.predicate(part), hint="keep")
                return result
            case Not(part):
                return self.map("logical_not", self.predicate(part), hint="keep")
        raise TypeError(f"compiling has no rule for the predicate {where}")

    # Functions, sums and products

    def _row(self, score: Expr, over: Index, where: Predicate) -> Row:
        """A row's scores, where they are seen, and the label that they run along."""
        bound = over
        if over == self.along:  # inside a loop the step's own index is another
            bound = Index(f"{over.name}'", over.axis)
            while bound in {**free(score), **free_in(where)}:
                bound = Index(f"{bound.name}'", over.axis)
            score, where = rename(score, {over: bound}), rename_in(where, {over: bound})
        keep = None if where == TRUE else self.predicate(where)
        return Row(self.plain(self.expr(score)), keep, label(bound))

    def _softmax(self, expr: Softmax, hint: str, want: Labels) -> Lowered:
        to = {expr.over: expr.at}
        grown = mul(Apply("exp", (expr.score,)), indicator(expr.where))
        quotient = mul(rename(grown, to), power(total(grown, expr.over), -1))
        return self.expr(quotient, hint, want)

    def _apply(self, name: str, arguments: tuple[Expr, ...], hint: str) -> Lowered:
        values = [self.expr(argument, hint) for argument in arguments]
        if not values or primitive(name).whole:  # whole numbers are taken as they are
            return self.map(name, *map(self.plain, values), hint=hint)
        first = values[0]
        if name == "exp" and not never_positive(arguments[0]):
            return Pair(None, self.real(self.plain(first, hint)))
        if name == "log" and isinstance(first, Pair):
            return self.logarithm(first, hint)
        return self.map(name, *(self.real(self.plain(value)) for value in values), hint=hint)

    def _add(self, terms: tuple[Expr, ...], hint: str, want: Labels) -> Lowered:
        signs = [split_minus(term) for term in terms]
        values = [self.expr(body, hint, want) for _, body in signs]
        if any(isinstance(value, Pair) for value in values):
            return self.sum([self.expr(term, hint, want) for term in terms], hint)
        first = self.plain(values[0])
        result = self.map("negative", first, hint=hint) if signs[0][0] == "-" else first
        for (sign, _), value in zip(signs[1:], values[1:], strict=True):
            function = "add" if sign == "+" else "subtract"
            result = self.map(function, result, self.plain(value), hint=hint)
        return result

    def _product(
        self, factors: tuple[Expr, ...], over: tuple[Index, ...], hint: str, want: Labels
    ) -> Lowered:
        """The sum over `over` of a product, of the places where its indicators hold."""
        factors = factors if over else _scalars_inside(factors)
        if not over and len(factors) == 1 and not isinstance(factors[0], Indicator):
            return self.expr(factors[0], hint, want)
        where = conjunction(*(f.where for f in factors if isinstance(f, Indicator)))
        values = [self.expr(f, hint) for f in factors if not isinstance(f, Indicator)]
        keep = None if where == TRUE else self.predicate(where)
        return self.product(values, keep, tuple(label(i) for i in over), hint=hint, want=want)


def never_positive(expr: Expr) -> bool:
    """Whether an exponent is at most zero by its form: its exponential needs no log-scale."""
    if not isinstance(expr, Apply) or expr.primitive != "smaller":
        return False
    return any(isinstance(a, Scalar) and a.value.is_nonpositive for a in expr.arguments)


def _scalars_inside(factors: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """A number times one sum as a sum: the number may then scale a small array."""
    sums = [factor for factor in factors if isinstance(factor, Total)]
    rest = [factor for factor in factors if not isinstance(factor, Total)]
    if len(sums) != 1 or not rest or not all(map(_is_number, rest)):
        return factors
    return (Total(mul(*rest, sums[0].body), sums[0].over),)


def _is_number(expr: Expr) -> bool:
    """Whether an expression is a scalar without positions."""
    if not isinstance(expr, Scalar):
        return False
    return all(symbol_index(symbol) is None for symbol in expr.value.free_symbols)


def _relabel(value: Operand, to: dict[Label, Label]) -> Operand:
    return Operand(value.name, tuple(to.get(x, x) for x in value.labels))
