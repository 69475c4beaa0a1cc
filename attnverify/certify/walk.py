"""From expressions to polynomials, one node after the other, as equations are read.

Sums, products and indicators are multiplied out; a name is replaced by its equation's body; what a
certificate says of a function's value is checked where the function stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import sympy

from attnverify.algebra.predicates import All, AnyOf, Compare, Holds, Not, Predicate
from attnverify.algebra.predicates import Truth as Always
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
    Scalar,
    Softmax,
    Threshold,
    Total,
    index_symbol,
)
from attnverify.certify.coefs import indicator
from attnverify.certify.equal import equal, form_poly, never_negatives, nonzero
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import (
    FALSE,
    TRUE,
    Form,
    Formula,
    Var,
    below,
    conjunction,
    disjunction,
    exists,
    form,
    negation,
    plus,
    position,
    zero,
)
from attnverify.certify.functions import body_at, check_value
from attnverify.certify.kernel import Atom, Kernel, Poly, Term
from attnverify.certify.laws import counting
from attnverify.certify.lines import Tree, split, text, variable, whole
from attnverify.certify.numbers import joined, scalar_form, symbol_form
from attnverify.certify.parse import read_poly, read_term
from attnverify.certify.spots import Env, Spot, Values
from attnverify.certify.terms import (
    add,
    bind,
    constant,
    free,
    instantiated,
    multiply,
    power,
    scaled,
    single,
)
from attnverify.certify.values import (
    checked_absolute,
    checked_exp,
    checked_inverse,
    checked_log,
)
from attnverify.statement import Relabel

# Functions whose value is told by what it is made of.
MAKERS = {"inv": checked_inverse, "log": checked_log, "absolute": checked_absolute}


@dataclass
class Walker:
    """Reads expressions; variables are numbered in the order in which indices are met."""

    k: Kernel
    definitions: Mapping[str, tuple[Entry, Expr]]
    opaque: frozenset[str]
    inputs: frozenset[str]
    values: Values
    counter: Iterator[int]
    relabels: tuple[Relabel, ...] = ()
    memo: dict[tuple[object, ...], tuple[tuple[Var, ...], Poly]] = field(default_factory=dict)

    def variable(self, axis: str) -> Var:
        """The next variable, which the certificate declares along the axis that it is due."""
        var = next(self.counter)
        if self.k.axis(self.k.spoken(var)) != axis:
            raise Rejected(f"v{var} is declared along {self.k.axis(var)}, and {axis} is due")
        if var in self.k.ends.values():
            raise Rejected(f"v{var} stands at an end, and at any position")
        return var

    def binder(self, index: Index) -> Spot:
        """A variable for an index that a sum binds.

        A sum over an axis that a bijection relabels runs over the images: what is relabelled reads
        the variable itself, all else its preimage.
        """
        var = self.variable(index.axis.name)
        for relabel in self.relabels:
            if relabel.axis == index.axis.name:
                name = relabel.name
                return Spot(var, f"{name}^-1", "") if relabel.bijection else Spot(var, "", name)
        return Spot(var)

    # ---- expressions

    def polynomial(self, expr: Expr, env: Env) -> Poly:
        """An expression as a polynomial."""
        k = self.k
        match expr:
            case Scalar(value):
                value = sympy.expand(value)
                return self._scalar(value, self._symbols(value, env))
            case Entry():
                return self._entry(expr, env)
            case Add(terms):
                return add(k, *[self.polynomial(term, env) for term in terms])
            case Mul(parts):
                result = constant(1)
                for part in parts:
                    result = multiply(k, result, self.polynomial(part, env))
                return result
            case Power(base, exponent):
                return self._power(self.polynomial(base, env), exponent)
            case Apply(name, arguments):
                return self._apply(name, tuple([self.polynomial(a, env) for a in arguments]))
            case Total(body, over):
                spots = {index: self.binder(index) for index in over}
                inner = self.polynomial(body, {**env, **spots})
                return bind(k, inner, *(spot.var for spot in spots.values()))
            case Softmax():
                return self._softmax(expr, env)
            case Indicator(where):
                return self._indicator(where, env)
            case Maximum() | Threshold():
                return self._row_function(expr, env)
        raise Rejected(f"no rule for {type(expr).__name__}")

    def _row_function(self, expr: Maximum | Threshold, env: Env) -> Poly:
        """A function of which values a row has, and how often: it is told by the sum of h(value).

        Nothing is known of h, and sums that are equal for every h are of the same values. What is
        added to every value is added to the function of them, where there are some.
        """
        k, axis, spot = self.k, expr.over.axis.name, self.binder(expr.over)
        name = "maximum" if isinstance(expr, Maximum) else f"threshold {expr.exponent}"
        where = self.formula(expr.where, {**env, expr.over: spot})
        score = self.polynomial(expr.score, {**env, expr.over: spot})
        still = tuple(term for term in score if spot.var not in free((term,)))
        moving = tuple(term for term in score if spot.var in free((term,)))
        value = self._claimed(f"value of a {name}", moving)
        mask: Poly = (Term((), {}, indicator(where)),)
        found = self._claimed(name, bind(k, multiply(k, mask, value), spot.var))
        some: Poly = (Term((), {}, indicator(exists(spot.var, axis, where, k.reals))),)
        return add(k, found, multiply(k, some, still))

    def _claimed(self, name: str, *arguments: Poly) -> Poly:
        """What the certificate says a function of polynomials is, once that is checked."""
        head, parts = split(self.values.next())
        if head != "value" or not parts or text(parts[0]) != name:
            raise Rejected(f"the value of {name} was due")
        if name == "exp":
            return self._exponential(arguments[0], parts[1:])
        claimed = read_poly(self.k, parts[1:])
        if name in MAKERS:
            return MAKERS[name](self.k, arguments[0], claimed)
        check_value(self.k, name, arguments, claimed)
        return claimed

    def _exponential(self, argument: Poly, parts: tuple[Tree, ...]) -> Poly:
        """Exp of an argument less what is counted in it; `(log T ...)` is a logarithm undone."""
        told: list[Tree] = []
        logs: list[tuple[Term, Poly]] = []
        for part in parts:
            head, rest = split(part, 2)
            if head == "count":
                argument = add(self.k, argument, scaled(counting(self.k, rest), -1))
            elif head == "log":
                logs.append((read_term(self.k, rest[0]), read_poly(self.k, rest[1:])))
            else:
                told.append(part)
        return checked_exp(self.k, argument, read_poly(self.k, tuple(told)), logs)

    def _power(self, base: Poly, exponent: Fraction) -> Poly:
        if exponent.denominator != 1:
            return self._claimed(f"power {exponent}", base)
        if exponent < 0:
            base = self._claimed("inv", base)
        return power(self.k, base, abs(int(exponent)))

    def _apply(self, name: str, arguments: tuple[Poly, ...]) -> Poly:
        if name == "stop_gradient":
            return arguments[0]
        if name == "undefined":
            return single(Atom("x", "undefined()", -1, ()))
        if name == "logistic":
            weight = self._claimed("exp", scaled(arguments[0], -1))
            return self._claimed("inv", add(self.k, constant(1), weight))
        return self._claimed(name, *arguments)

    def _softmax(self, expr: Softmax, env: Env) -> Poly:
        """exp(score) [where] over its sum, 0 where no place satisfies `where`."""
        at = {**env, expr.over: self._spot(expr.at, env)}
        spot = self.binder(expr.over)
        mass = bind(self.k, self._weight(expr, {**env, expr.over: spot}), spot.var)
        weight = self._weight(expr, at)
        return multiply(self.k, weight, self._claimed("inv", mass))

    def _weight(self, expr: Softmax, env: Env) -> Poly:
        mask = self._indicator(expr.where, env)
        return multiply(self.k, mask, self._claimed("exp", self.polynomial(expr.score, env)))

    def _indicator(self, where: Predicate, env: Env) -> Poly:
        coef = indicator(self.formula(where, env))
        return (Term((), {}, coef),) if coef else ()

    # ---- entries

    def _spot(self, index: Index, env: Env) -> Spot:
        if index not in env:
            raise Rejected(f"nothing binds the index {index.name}")
        return env[index]

    def _entry(self, entry: Entry, env: Env) -> Poly:
        name = entry.tensor.name
        if name not in self.inputs and name not in self.opaque:
            if name not in self.definitions:
                raise Rejected(f"{name} is neither defined nor taken as any array")
            return self._defined(entry, env)
        if entry.tensor.kind == "bool":
            raise Rejected(f"the boolean {entry} is read as a number")
        label, args = self._reading(entry, env)
        self.k.used.add(("opaque", name))
        kind = "int" if entry.tensor.kind == "int" else "x"
        return single(Atom(kind, label, -1, args))

    def _reading(self, entry: Entry, env: Env) -> tuple[str, tuple[Var, ...]]:
        """An entry's label and variables; the maps under which it is read stand in the label."""
        if entry.tensor.name not in self.inputs and entry.tensor.name not in self.opaque:
            raise Rejected(f"{entry.tensor.name} is no input and not taken as any array")
        marks, args = [], []
        moving = {r.axis for r in self.relabels if entry.tensor.name in r.tensors}
        for index in entry.indices:
            spot = self._spot(index, env)
            marks.append(spot.moved if index.axis.name in moving else spot.plain)
            args.append(spot.var)
        name = entry.tensor.name
        return (f"{name}@{','.join(marks)}" if any(marks) else name), tuple(args)

    def _defined(self, entry: Entry, env: Env) -> Poly:
        head, body = self.definitions[entry.tensor.name]
        if [i.axis for i in entry.indices] != [i.axis for i in head.indices]:
            raise Rejected(f"{entry} does not run along the axes of {head}")
        spots = [self._spot(index, env) for index in entry.indices]
        key = (entry.tensor.name, *((spot.plain, spot.moved) for spot in spots))
        if key not in self.memo:
            slots = tuple(self.variable(index.axis.name) for index in head.indices)
            inner = {
                index: Spot(slot, spot.plain, spot.moved)
                for index, slot, spot in zip(head.indices, slots, spots, strict=True)
            }
            self.memo[key] = slots, self.polynomial(body, inner)
        slots, poly = self.memo[key]
        names = {slot: spot.var for slot, spot in zip(slots, spots, strict=True)}
        return instantiated(self.k, poly, names)

    # ---- scalars

    def _symbols(self, value: sympy.Expr, env: Env) -> dict[sympy.Symbol, Form]:
        return {
            index_symbol(index): position(spot.var, spot.plain)
            for index, spot in env.items()
            if index_symbol(index) in value.free_symbols
        }

    def _scalar(self, value: sympy.Expr, names: Mapping[sympy.Symbol, Form]) -> Poly:
        if value.is_Rational:
            return constant(Fraction(int(value.p), int(value.q)))
        if value.is_Symbol:
            return form_poly(self.k, symbol_form(self.k, value, names))
        if value.is_Add or value.is_Mul:
            parts = [self._scalar(part, names) for part in value.args]
            result = constant(0) if value.is_Add else constant(1)
            for part in parts:
                result = (add if value.is_Add else multiply)(self.k, result, part)
            return result
        if value.is_Pow and value.exp.is_Rational:
            exponent = Fraction(int(value.exp.p), int(value.exp.q))
            return self._power(self._scalar(value.base, names), exponent)
        if value in (sympy.pi, sympy.E):
            return single(Atom("positive", f"constant {value}", -1, ()))
        raise Rejected(f"no rule for the scalar {value}")

    # ---- predicates

    def formula(self, where: Predicate, env: Env) -> Formula:
        """A predicate as a formula."""
        match where:
            case Always(value):
                return TRUE if value else FALSE
            case Compare(op, left, right):
                return self._compare(op, left, right, env)
            case Holds(entry):
                label, args = self._reading(entry, env)
                return ("known", f"input {label}", args)
            case All(parts):
                return conjunction([self.formula(part, env) for part in parts])
            case AnyOf(parts):
                return disjunction([self.formula(part, env) for part in parts])
            case Not(part):
                return negation(self.formula(part, env))
        raise Rejected(f"no rule for the predicate {where}")

    def _compare(self, op: str, left: Expr, right: Expr, env: Env) -> Formula:
        one, other = self._form(left, env), self._form(right, env)
        if one is None or other is None:
            return self._compare_reals(op, left, right, env)
        ahead, behind, reals = plus(one, other, -1), plus(other, one, -1), self.k.reals
        rules: dict[str, Callable[[], Formula]] = {
            "<=": lambda: below(ahead, reals),
            "<": lambda: below(ahead, reals, strict=True),
            ">=": lambda: below(behind, reals),
            ">": lambda: below(behind, reals, strict=True),
            "==": lambda: zero(ahead, reals),
            "!=": lambda: negation(zero(ahead, reals)),
        }
        return rules[op]()

    def _compare_reals(self, op: str, left: Expr, right: Expr, env: Env) -> Formula:
        """A comparison of reals is opaque: equal differences compare equal."""
        if op in ("<", ">", "!="):
            opposite = {"<": ">=", ">": "<=", "!=": "=="}[op]
            return negation(self._compare_reals(opposite, left, right, env))
        if op == ">=":
            left, right = right, left
        one, other = self.polynomial(left, env), self.polynomial(right, env)
        due = add(self.k, one, scaled(other, -1))
        if not due or (op == "<=" and never_negatives(self.k, scaled(due, -1))):
            return TRUE
        head, parts = split(self.values.next(), 2)
        if head != "compared":
            raise Rejected("a comparison of reals was due")
        number, args = whole(parts[0]), tuple(self.k.spoken(variable(v)) for v in parts[1:])
        return self._opaque(op, number, args, due)

    def _opaque(self, op: str, number: int, args: tuple[Var, ...], due: Poly) -> Formula:
        self.k.used.add(("class", number))
        cls = self.k.classes.get(number)
        if cls is None or [self.k.axis(v) for v in cls.slots] != [self.k.axis(v) for v in args]:
            raise Rejected(f"class {number} is not defined along the axes that it is read along")
        if not equal(self.k, due, body_at(self.k, Atom("fn", "", number, args))):
            raise Rejected(f"class {number} is not seen to be what is compared")
        if op == "==" or never_negatives(self.k, due):
            return negation(nonzero(self.k, number, args))
        least = min(tuple(args[n] for n in twin) for twin in cls.twins)
        return ("known", f"class {number} <= 0", least)

    def _form(self, expr: Expr, env: Env) -> Form | None:
        """A side of a comparison as a form, or None where it is none."""
        match expr:
            case Scalar(value):
                value = sympy.expand(value)
                return scalar_form(self.k, value, self._symbols(value, env))
            case Entry() if expr.tensor.kind == "int":
                label, args = self._reading(expr, env)
                return form({("i", label, args): Fraction(1)})
            case Add(parts) | Mul(parts):
                found = [self._form(part, env) for part in parts]
                return joined(found, adds=isinstance(expr, Add))
        return None
