"""Specs and expressions from trees of lists: every part is checked, nothing is evaluated."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

import sympy

from attnverify.algebra.predicates import (
    NEGATED,
    Compare,
    Holds,
    Predicate,
    Truth,
    conjunction,
    disjunction,
    negation,
)
from attnverify.algebra.terms import (
    Apply,
    Axis,
    Entry,
    Expr,
    Index,
    Maximum,
    Parameter,
    Place,
    Power,
    Previous,
    Scalar,
    Softmax,
    Tensor,
    Threshold,
    add,
    index_symbol,
    indicator,
    mul,
    power,
    size_symbol,
    total,
)
from attnverify.equations import Equation, Recurrence, Statement
from attnverify.errors import SpecError
from attnverify.serial.write import Tree
from attnverify.spec import Spec

# No spec needs a larger power, and a number raised to one could fill the memory.
LARGEST_EXPONENT = 64
Read = TypeVar("Read")


class Reader:
    """Reads trees; `where` says which part of the spec is being read."""

    def __init__(self, spec: str) -> None:
        self.name, self.where = spec, "the top"
        self.kinds: dict[str, str] = {}
        self.symbols: dict[str, sympy.Symbol] = {}
        self.axes: dict[str, Axis] = {}

    def spec(self, tree: dict[str, Tree]) -> Spec:
        """The whole spec."""
        self._text(tree.get("name"))
        self.axes = self._axes(self._mapping(tree, "axes"))
        parameters = self._each(tree, "parameters", self._parameter)
        self.symbols = {parameter.name: parameter.symbol for parameter in parameters}
        inputs = self._each(tree, "inputs", self._input)
        statements = self._each(tree, "equations", self._statement)
        outputs = self._each(tree, "outputs", self._text)
        announced, chosen = self._mapping(tree, "announces"), self._mapping(tree, "choices")
        return Spec(
            self.name,
            inputs,
            statements,
            outputs,
            parameters=parameters,
            description=self._text(tree.get("description", "")),
            announces={name: self._text(reason) for name, reason in announced.items()},
            choices={name: self._plain(value) for name, value in chosen.items()},
        )

    def _fail(self, message: str, found: Tree, due: str) -> SpecError:
        words = repr(found)
        words = words if len(words) < 80 else f"{words[:76]} ..."
        return SpecError(message, spec=self.name, where=self.where, found=words, due=due)

    def _each(self, tree: dict[str, Tree], part: str, read: Callable[[Tree], Read]) -> list[Read]:
        found = tree.get(part)
        if not isinstance(found, list):
            raise self._fail(f"'{part}' is a list", found, "[...]")
        result: list[Read] = []
        for number, item in enumerate(found):
            self.where = f"{part}[{number}]"
            result.append(read(item))
        self.where = "the top"
        return result

    def _mapping(self, tree: dict[str, Tree], part: str) -> dict[str, Tree]:
        found = tree.get(part, {})
        if not isinstance(found, dict):
            raise self._fail(f"'{part}' is a table", found, "{}")
        return found

    def _text(self, tree: Tree) -> str:
        if not isinstance(tree, str):
            raise self._fail("a name is text", tree, "a string")
        return tree

    def _plain(self, tree: Tree) -> object:
        if isinstance(tree, dict):
            return self._fraction(tree.get("fraction"))
        if isinstance(tree, list):
            raise self._fail(
                "a choice has a plain value", tree, "a number, a text or true or false"
            )
        return tree

    def _fraction(self, tree: Tree) -> Fraction:
        match tree:
            case [above, below] if type(above) is int and type(below) is int and below > 0:
                return Fraction(above, below)
        raise self._fail("a fraction is two integers", tree, "[numerator, denominator > 0]")

    def _parameter(self, tree: Tree) -> Parameter:
        match tree:
            case [str() as name, bool() as integer, ge, gt, le, lt, default, str() as doc, *step]:
                return Parameter(
                    name,
                    integer,
                    self._bound(ge),
                    self._bound(gt),
                    self._bound(le),
                    self._bound(lt),
                    self._bound(default),
                    doc=doc,
                    multiple_of=self._multiple(step, integer=integer),
                )
        due = "[name, integer, ge, gt, le, lt, default, doc], perhaps with multiple_of"
        raise self._fail("not a parameter", tree, due)

    def _bound(self, tree: Tree) -> Fraction | None:
        return None if tree is None else self._fraction(tree)

    def _multiple(self, tree: list[Tree], *, integer: bool) -> int | None:
        match tree:
            case []:
                return None
            case [int() as step] if type(step) is int and step > 0 and integer:
                return step
        raise self._fail("not what an integer parameter is a multiple of", tree, "a whole number")

    def _input(self, tree: Tree) -> Entry:
        match tree:
            case [str() as name, "real" | "bool" | "int" as kind, list() as places]:
                self.kinds[name] = kind
                return Entry(Tensor(name, kind), tuple(map(self._place, places)))
        raise self._fail("not an input", tree, "[name, real or bool or int, places]")

    def _statement(self, tree: Tree) -> Statement:
        match tree:
            case ["equation", _, _]:
                return self._equation(tree)
            case ["recurrence", along, bool() as reverse, list() as initial, list() as steps]:
                first = tuple(self._initial(pair) for pair in initial)
                rows = tuple(self._equation(step) for step in steps)
                return Recurrence(self._index(along), rows, first, reverse)
        raise self._fail("not a statement", tree, "an equation or a recurrence")

    def _equation(self, tree: Tree) -> Equation:
        match tree:
            case ["equation", head, body]:
                return Equation(self._entry(head), self.expression(body))
        raise self._fail("not an equation", tree, '["equation", head, body]')

    def _initial(self, tree: Tree) -> tuple[str, Expr]:
        match tree:
            case [str() as name, value]:
                return name, self.expression(value)
        raise self._fail("not an initial value", tree, "[state, expression]")

    def _axes(self, trees: dict[str, Tree]) -> dict[str, Axis]:
        """The axes that declare a size, parts before what is made of them."""
        found: dict[str, Axis] = {}
        waiting = dict(trees)
        while waiting:
            ready = [name for name, tree in waiting.items() if not self._parts(tree) & set(waiting)]
            if not ready:
                raise self._fail("an axis is a part of itself", list(waiting), "parts of others")
            for name in ready:
                found[name] = self._axis(name, waiting.pop(name), found)
        return found

    def _parts(self, tree: Tree) -> set[str]:
        return {part for part in tree if isinstance(part, str)} if isinstance(tree, list) else set()

    def _axis(self, name: str, tree: Tree, known: dict[str, Axis]) -> Axis:
        match tree:
            case int() if type(tree) is int and tree > 0:
                return Axis(name, fixed=tree)
            case [str() as first, str() as second] if first != second:
                parts = known.get(first, Axis(first)), known.get(second, Axis(second))
                return Axis(name, addends=parts)
        raise self._fail("not a size of an axis", tree, "a whole number, or [part, part]")

    def _index(self, tree: Tree) -> Index:
        match tree:
            case [str() as name, str() as axis]:
                return Index(name, self.axes.get(axis, Axis(axis)))
        raise self._fail("not an index", tree, "[name, axis]")

    def _place(self, tree: Tree) -> Place:
        match tree:
            case [list(), *_]:
                return tuple(map(self._index, tree))
        return self._index(tree)

    def _entry(self, tree: Tree) -> Entry:
        match tree:
            case ["entry", str() as name, list() as places]:
                tensor = Tensor(name, self.kinds.get(name, "real"))
                return Entry(tensor, tuple(map(self._place, places)))
        raise self._fail("not an entry", tree, '["entry", name, places]')

    def expression(self, tree: Tree) -> Expr:
        """An expression, built as the algebra builds it."""
        match tree:
            case ["scalar", value]:
                return Scalar(self._scalar(value))
            case ["entry", _, _]:
                return self._entry(tree)
            case ["previous", entry]:
                return Previous(self._entry(entry))
            case ["add", *terms]:
                return add(*map(self.expression, terms))
            case ["mul", *factors]:
                return mul(*map(self.expression, factors))
            case ["power", base, exponent]:
                return self._power(self.expression(base), self._exponent(exponent))
            case ["apply", str() as name, *arguments]:
                return Apply(name, tuple(map(self.expression, arguments)))
            case ["total", body, list() as over]:
                return total(self.expression(body), [self._index(index) for index in over])
            case ["softmax", score, over, where, at]:
                parts = self.expression(score), self._index(over), self.predicate(where)
                return Softmax(*parts, self._index(at))
            case ["maximum" | "threshold", score, over, where, *exponent]:
                parts = self.expression(score), self._index(over), self.predicate(where)
                return self._row(tree, parts, exponent)
            case ["indicator", where]:
                return indicator(self.predicate(where))
        raise self._fail("not an expression", tree, "[kind, ...]")

    def _row(self, tree: Tree, parts: tuple[Expr, Index, Predicate], exponent: list[Tree]) -> Expr:
        match tree[0], exponent:
            case "maximum", []:
                return Maximum(*parts)
            case "threshold", [power]:
                return Threshold(*parts, self._exponent(power))
        raise self._fail("not a function of a row", tree, "[kind, score, over, where, ...]")

    def _power(self, base: Expr, exponent: Fraction) -> Expr:
        # The algebra leaves a number under a power only where it has no value; it stays as it is.
        if isinstance(base, Scalar) and base.value.is_number:
            return Power(base, exponent)
        return power(base, exponent)

    def _exponent(self, tree: Tree) -> Fraction:
        exponent = self._fraction(tree)
        if max(abs(exponent.numerator), exponent.denominator) > LARGEST_EXPONENT:
            raise self._fail("an exponent is too large", tree, f"at most {LARGEST_EXPONENT}")
        return exponent

    def predicate(self, tree: Tree) -> Predicate:
        """A predicate, built as the algebra builds it."""
        match tree:
            case ["truth", bool() as value]:
                return Truth(value)
            case ["compare", str() as op, left, right] if op in NEGATED:
                return Compare(op, self.expression(left), self.expression(right))
            case ["holds", entry]:
                return Holds(self._entry(entry))
            case ["all", *parts]:
                return conjunction(*map(self.predicate, parts))
            case ["any", *parts]:
                return disjunction(*map(self.predicate, parts))
            case ["not", part]:
                return negation(self.predicate(part))
        raise self._fail("not a predicate", tree, "truth, compare, holds, all, any or not")

    def _scalar(self, tree: Tree) -> sympy.Expr:
        match tree:
            case ["number", *pair]:
                number = self._fraction(pair)
                return sympy.Rational(number.numerator, number.denominator)
            case ["size", str() as axis]:
                return size_symbol(axis)
            case ["position", str() as name, str() as axis]:
                return index_symbol(Index(name, Axis(axis)))
            case ["parameter", str() as name]:
                # An undeclared name is found by the check of the whole spec.
                return self.symbols.get(name, sympy.Symbol(name, real=True))
            case ["add", *terms]:
                return sympy.Add(*map(self._scalar, terms))
            case ["mul", *factors]:
                return sympy.Mul(*map(self._scalar, factors))
            case ["power", base, exponent]:
                return self._scalar_power(self._scalar(base), self._scalar(exponent), tree)
            case ["floor", inner]:
                return sympy.floor(self._scalar(inner))
            case ["pi"]:
                return sympy.pi
        raise self._fail(
            "not a scalar", tree, "number, size, position, parameter, add, mul, power or floor"
        )

    def _scalar_power(self, base: sympy.Expr, exponent: sympy.Expr, tree: Tree) -> sympy.Expr:
        if exponent.is_Rational and max(abs(exponent.p), exponent.q) > LARGEST_EXPONENT:
            raise self._fail("an exponent is too large", tree, f"at most {LARGEST_EXPONENT}")
        if base.is_Rational and (base == 0 or exponent.is_Integer or abs(exponent) > 1):
            raise self._fail("a power of a number is written as the number", tree, "number")
        return sympy.Pow(base, exponent)
