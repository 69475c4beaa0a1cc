"""From expressions to polynomials.

Every binder gets a new variable, every definition is read at its entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import sympy

from attnverify.algebra.normal.classes import function, intern
from attnverify.algebra.normal.core import Atom, Context, GaveUp, Poly
from attnverify.algebra.normal.ends import apart
from attnverify.algebra.normal.forms import Lin, Var, lin, times, variable
from attnverify.algebra.normal.formulas import (
    Formula,
    Known,
    Truth,
    below,
    both,
    either,
    negated,
    zero,
)
from attnverify.algebra.normal.inverse import powered, remade_inverse, told_inverse
from attnverify.algebra.normal.linear import scalar_form, scalar_polynomial
from attnverify.algebra.normal.logs import (
    absolute,
    exponential,
    logarithm,
    remade_exponential,
    remade_function,
)
from attnverify.algebra.normal.poly import (
    add,
    bind,
    constant,
    indicator_poly,
    instantiate,
    multiply,
    scaled,
    single,
)
from attnverify.algebra.normal.spots import Env, Move, Spot
from attnverify.algebra.normal.support import exists, never_negative, nonzero_formula
from attnverify.algebra.predicates import All, AnyOf, Compare, Holds, Not, Predicate
from attnverify.algebra.predicates import Truth as Always
from attnverify.algebra.primitives import primitive
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
    index_symbol,
)

MAKERS = {"exp": remade_exponential, "inv": remade_inverse, "fn": remade_function}


@dataclass(eq=False)
class Builder:
    """Turns expressions over a spec's names into polynomials of one proof."""

    ctx: Context
    definitions: Mapping[str, tuple[Entry, Expr]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()

    def __post_init__(self) -> None:
        self.memo: dict[tuple[object, ...], tuple[tuple[Var, ...], Poly]] = {}
        self.ctx.makers.update(MAKERS)

    def _told(self, name: str, poly: Poly) -> Poly:
        """The value of a function, noted for the certificate."""
        self.ctx.record.values.append((name, poly))
        return poly

    def polynomial(self, expr: Expr, env: Env) -> Poly:
        """An expression as a polynomial.

        Raises GaveUp for a node that has no rule, or an index that nothing binds.
        """
        ctx = self.ctx
        match expr:
            case Scalar(value):
                return self._scalar(value, env)
            case Entry():
                return self._entry(expr, env)
            case Add(terms):
                return add(ctx, *(self.polynomial(term, env) for term in terms))
            case Mul(factors):
                result = constant(1)
                for factor in factors:
                    result = multiply(ctx, result, self.polynomial(factor, env))
                return result
            case Power(base, exponent):
                return powered(ctx, self.polynomial(base, env), exponent)
            case Apply(name, arguments):
                return self._apply(name, [self.polynomial(a, env) for a in arguments])
            case Total(body, over):
                return self._total(body, over, env)
            case Softmax():
                return self._softmax(expr, env)
            case Indicator(where):
                return indicator_poly(ctx.indicator(self.formula(where, env)))
        return self._row_function(expr, env)

    # ---- leaves

    def _scalar(self, value: sympy.Expr, env: Env) -> Poly:
        return scalar_polynomial(self.ctx, sympy.expand(value), self._symbols(value, env))

    def _symbols(self, value: sympy.Expr, env: Env) -> dict[sympy.Symbol, Lin]:
        found = {}
        for index, spot in env.items():
            symbol = index_symbol(index)
            if symbol in value.free_symbols:
                found[symbol] = variable(spot.var, spot.plain)
        return found

    def _spot(self, index: Index, env: Env) -> Spot:
        if index not in env:
            raise GaveUp(f"nothing binds the index {index.name}")
        return env[index]

    def _entry(self, entry: Entry, env: Env) -> Poly:
        name = entry.tensor.name
        if name in self.refused:
            raise GaveUp(self.refused[name])
        if name in self.definitions:
            return self._defined(entry, env)
        if entry.tensor.kind == "bool":
            raise GaveUp(f"the boolean {entry} is read as a number")
        label, args = self._reading(entry, env)
        kind = "int" if entry.tensor.kind == "int" else "x"
        return single(Atom(kind, label, -1, args))

    def _reading(self, entry: Entry, env: Env) -> tuple[str, tuple[Var, ...]]:
        """The label and arguments of an input's entry; maps of places are told in the label."""
        marks: list[str] = []
        args: list[Var] = []
        for index in entry.indices:
            spot = self._spot(index, env)
            moved = any(
                entry.tensor.name in move.tensors and move.axis == index.axis.name
                for move in self.moves
            )
            marks.append(spot.moved if moved else spot.plain)
            args.append(spot.var)
        name = entry.tensor.name
        return (f"{name}@{','.join(marks)}" if any(marks) else name), tuple(args)

    def _defined(self, entry: Entry, env: Env) -> Poly:
        """A definition's polynomial, built once per name and read at the entry's places."""
        head, body = self.definitions[entry.tensor.name]
        if [i.axis for i in entry.indices] != [i.axis for i in head.indices]:
            raise GaveUp(f"{entry} does not run along the axes of {head}")
        spots = [self._spot(index, env) for index in entry.indices]
        key = (head.tensor.name, *((spot.plain, spot.moved) for spot in spots))
        if key not in self.memo:
            meet = self.ctx.record.meet
            slots = tuple(meet(self.ctx.fresh(index.axis.name)) for index in head.indices)
            inner = {
                index: Spot(slot, spot.plain, spot.moved)
                for index, slot, spot in zip(head.indices, slots, spots, strict=True)
            }
            self.memo[key] = slots, self.polynomial(body, inner)
        slots, poly = self.memo[key]
        names = {slot: spot.var for slot, spot in zip(slots, spots, strict=True)}
        return instantiate(self.ctx, poly, names)

    # ---- binders

    def binder(self, index: Index, name: str = "") -> Spot:
        """A new variable for an index that a sum binds."""
        var = self.ctx.record.meet(self.ctx.fresh(index.axis.name, name or index.name))
        return self.spot(var, bound=True)

    def spot(self, var: Var, *, bound: bool) -> Spot:
        """Where a variable stands for plain and for relabelled readers."""
        for move in self.moves:
            if move.axis == self.ctx.axes[var]:
                if bound and move.bijection:
                    self.ctx.say(f"a sum over {move.axis} is renamed by the bijection {move.name}")
                    return Spot(var, f"{move.name}^-1", "")
                return Spot(var, "", move.name)
        return Spot(var)

    def _total(self, body: Expr, over: tuple[Index, ...], env: Env) -> Poly:
        spots = {index: self.binder(index) for index in over}
        result = self.polynomial(body, {**env, **spots})
        for spot in spots.values():
            result = bind(self.ctx, result, spot.var)
        return result

    def _softmax(self, expr: Softmax, env: Env) -> Poly:
        """exp(score)[where] over its sum: inv is total, so a row without places gives 0."""
        ctx = self.ctx
        at = {**env, expr.over: self._spot(expr.at, env)}
        spot = self.binder(expr.over)
        mass = bind(ctx, self._weight(expr, {**env, expr.over: spot}), spot.var)
        ctx.say("softmax is exp(score) [where] inv(sum of exp(score) [where])")
        weight = self._weight(expr, at)
        return multiply(ctx, weight, told_inverse(ctx, mass))

    def _weight(self, expr: Softmax, env: Env) -> Poly:
        mask = indicator_poly(self.ctx.indicator(self.formula(expr.where, env)))
        return multiply(self.ctx, mask, self._exponential(self.polynomial(expr.score, env)))

    def _exponential(self, poly: Poly) -> Poly:
        return self._split("exp", exponential(self.ctx, poly))

    def _split(self, name: str, poly: Poly) -> Poly:
        """The value of a function, noted with what it was made of."""
        self.ctx.record.values.append((name, self.ctx.record.split))
        return poly

    def _row_function(self, expr: Expr, env: Env) -> Poly:
        """A maximum or a threshold: of which values there are, and how often, and of nothing else.

        They are told by the sum of h(value) for a function h of which nothing is known: two such
        sums that are equal for every h have the same values equally often.
        """
        if isinstance(expr, Previous):
            raise GaveUp("a recurrence is proved by induction, not by the normal form")
        if not isinstance(expr, Maximum | Threshold):
            raise GaveUp(f"no rule for {type(expr).__name__}")
        name = "maximum" if isinstance(expr, Maximum) else f"threshold {expr.exponent}"
        ctx, spot = self.ctx, self.binder(expr.over)
        inner = {**env, expr.over: spot}
        where = self.formula(expr.where, inner)
        mask = indicator_poly(ctx.indicator(where))
        moving, still = apart(ctx, self.polynomial(expr.score, inner), spot.var)
        kind = f"value of a {name}"
        value = self._told(kind, function(ctx, kind, (moving,)))
        told = function(ctx, name, (bind(ctx, multiply(ctx, mask, value), spot.var),))
        result = self._told(name, told)
        if not still:
            return result
        ctx.say(f"a constant added to every value is added to their {name.split(maxsplit=1)[0]}")
        some = indicator_poly(ctx.indicator(exists(ctx, spot.var, where)))
        return add(ctx, result, multiply(ctx, some, still))

    # ---- functions

    def _apply(self, name: str, arguments: list[Poly]) -> Poly:
        ctx = self.ctx
        primitive(name)  # a name that is not on the list raises
        rules: dict[str, Callable[[], Poly]] = {
            "exp": lambda: self._exponential(arguments[0]),
            "log": lambda: self._split(name, logarithm(ctx, arguments[0])),
            "absolute": lambda: self._split(name, absolute(ctx, arguments[0])),
            "stop_gradient": lambda: arguments[0],
            # A number nobody knows, the same wherever it stands; its label is no tensor's name.
            "undefined": lambda: single(Atom("x", "undefined()", -1, ())),
            "logistic": lambda: self._logistic(arguments[0]),
        }
        rule = rules.get(name)
        return rule() if rule else self._told(name, function(ctx, name, tuple(arguments)))

    def _logistic(self, argument: Poly) -> Poly:
        weight = self._exponential(scaled(argument, -1))
        return told_inverse(self.ctx, add(self.ctx, constant(1), weight))

    # ---- predicates

    def formula(self, where: Predicate, env: Env) -> Formula:
        """A predicate as a formula, linear over integers or opaque where it compares reals."""
        match where:
            case Always(value):
                return Truth(value)
            case Compare(op, left, right):
                return self._compare(op, left, right, env)
            case Holds(entry):
                label, args = self._reading(entry, env)
                return Known(f"input {label}", args)
            case All(parts):
                return both(self.formula(part, env) for part in parts)
            case AnyOf(parts):
                return either(self.formula(part, env) for part in parts)
            case Not(part):
                return negated(self.formula(part, env))
        raise GaveUp(f"no rule for the predicate {where}")

    def _compare(self, op: str, left: Expr, right: Expr, env: Env) -> Formula:
        one, other = self._form(left, env), self._form(right, env)
        if one is None or other is None:
            return self._compare_reals(op, left, right, env)
        is_real = self.ctx.decider.is_real
        rules: dict[str, Callable[[Lin, Lin], Formula]] = {
            "<=": lambda a, b: below(a - b, strict=False, is_real=is_real),
            "<": lambda a, b: below(a - b, strict=True, is_real=is_real),
            ">=": lambda a, b: below(b - a, strict=False, is_real=is_real),
            ">": lambda a, b: below(b - a, strict=True, is_real=is_real),
            "==": lambda a, b: zero(a - b, is_real),
            "!=": lambda a, b: negated(zero(a - b, is_real)),
        }
        return rules[op](one, other)

    def _form(self, expr: Expr, env: Env) -> Lin | None:
        """An expression of positions, sizes, parameters and integer entries as a linear form."""
        match expr:
            case Scalar(value):
                value = sympy.expand(value)
                return scalar_form(self.ctx, value, self._symbols(value, env))
            case Entry() if expr.tensor.kind == "int":
                label, args = self._reading(expr, env)
                return lin({("i", label, args): Fraction(1)})
            case Add(parts) | Mul(parts):
                forms = [self._form(part, env) for part in parts]
                result = lin({}, 0 if isinstance(expr, Add) else 1)
                for form in forms:
                    if form is None:
                        return None
                    result = result + form if isinstance(expr, Add) else times(result, form)
                return result
        return None

    def _compare_reals(self, op: str, left: Expr, right: Expr, env: Env) -> Formula:
        """A comparison of reals is opaque: equal arguments give equal truth values."""
        if op in ("<", ">", "!="):
            opposite = {"<": ">=", ">": "<=", "!=": "=="}[op]
            return negated(self._compare_reals(opposite, left, right, env))
        if op == ">=":
            left, right = right, left
        difference = add(
            self.ctx, self.polynomial(left, env), scaled(self.polynomial(right, env), -1)
        )
        return self._sign(difference, equal=op == "==")

    def _sign(self, poly: Poly, *, equal: bool) -> Formula:
        """Where a polynomial is 0, or at most 0."""
        ctx = self.ctx
        if not poly:
            return Truth(value=True)
        if not equal and never_negative(ctx, scaled(poly, -1)):
            return Truth(value=True)
        number, args = intern(ctx, (poly,))
        ctx.record.values.append(("compared", number, args))
        if equal or never_negative(ctx, poly):
            return negated(nonzero_formula(ctx, number, args))
        cls = ctx.classes[number]
        least = min(tuple(args[k] for k in twin) for twin in cls.twins)
        return Known(f"class {number} <= 0", least)
