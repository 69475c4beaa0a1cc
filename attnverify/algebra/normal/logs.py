"""Logarithms, with log 0 := 0, and absolute values: positive factors come out.

log(e^x Z) = [Z != 0] x + log Z, and exp(q log Z) = Z^q where Z is positive for all sizes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from attnverify.algebra.normal.classes import exponential as exponential_of_terms
from attnverify.algebra.normal.classes import function, intern
from attnverify.algebra.normal.classes import remade_function as remade_opaque
from attnverify.algebra.normal.core import UNITS, Atom, Context, Poly, Term, scale
from attnverify.algebra.normal.finish import counted
from attnverify.algebra.normal.formulas import TRUE
from attnverify.algebra.normal.inverse import content, divided, inverse, is_one
from attnverify.algebra.normal.poly import (
    add,
    constant,
    indicator_poly,
    instantiate,
    multiply,
    raised,
    scaled,
    single,
)
from attnverify.algebra.normal.support import never_negative, nonzero_formula


def logarithm(ctx: Context, poly: Poly) -> Poly:
    """The logarithm of a polynomial, 0 where that is 0."""
    ctx.record.split = ()
    if not poly:
        return ()
    common, _ = content(ctx, poly)
    taken = {atom: e for atom, e in common.atoms.items() if atom.kind in UNITS}
    rest = tuple(divided(term, taken, set(), Fraction(1)) for term in poly)
    logs = {atom: _log_of(ctx, atom) for atom in taken}
    outside: Poly = ()
    for atom, exponent in taken.items():
        outside = add(ctx, outside, scaled(logs[atom], exponent))
    inside = constant(1) if is_one(rest) else function(ctx, "log", (rest,))
    opaque = [log for atom, log in logs.items() if atom.kind != "exp"]
    ctx.record.split = (Term((), taken, {(): Fraction(1)}), inside, *opaque)
    if is_one(rest):
        return outside
    if not outside:
        return inside
    ctx.say("log(e^x Z) = [Z != 0] x + log Z")
    number, args = intern(ctx, (rest,))
    nonzero = indicator_poly(ctx.indicator(nonzero_formula(ctx, number, args)))
    return add(ctx, multiply(ctx, nonzero, outside), inside)


def absolute(ctx: Context, poly: Poly) -> Poly:
    """The absolute value: |u P| = u |P| for a positive factor u."""
    ctx.record.split = ()
    if not poly:
        return ()
    common, _ = content(ctx, poly)
    taken = {atom: e for atom, e in common.atoms.items() if atom.kind in UNITS}
    number = next(iter(common.coef.values()))
    rest = tuple(divided(term, taken, set(), number) for term in poly)
    inside = constant(1) if is_one(rest) else function(ctx, "absolute", (rest,))
    ctx.record.split = (Term((), taken, {(): number}), inside)
    return multiply(ctx, (Term((), taken, {(): abs(number)}),), inside)


def _log_of(ctx: Context, atom: Atom) -> Poly:
    """The logarithm of a positive factor."""
    if atom.kind != "exp":
        return function(ctx, "log", (single(atom),))
    cls = ctx.classes[atom.number]
    return instantiate(ctx, cls.body[0], dict(zip(cls.slots, atom.args, strict=True)))


def exponential(ctx: Context, poly: Poly) -> Poly:
    """Exp of a polynomial, in which exp undoes the logarithms of what is positive."""
    result, rest = constant(1), list[Term]()
    noted = len(ctx.record.steps)
    terms = [part for whole in poly for part in counted(ctx, whole)]
    told: list[tuple[Any, ...]] = ctx.record.steps[noted:]  # these are steps inside the argument
    del ctx.record.steps[noted:]
    for term in terms:
        undone = _of_log(ctx, term)
        if undone is None:
            rest.append(term)
        else:
            split = ctx.record.split if min(term.coef.values()) < 0 else ()
            told.append(("log", term, split))
            result = multiply(ctx, result, undone)
    plain = exponential_of_terms(ctx, tuple(rest))
    ctx.record.split = (plain, *told)
    return multiply(ctx, result, plain)


def _of_log(ctx: Context, term: Term) -> Poly | None:
    """Exp of a whole multiple of the logarithm of what is positive for all sizes, or None."""
    if term.bound or len(term.atoms) != 1 or set(term.coef) != {()}:
        return None
    ((atom, power),) = term.atoms.items()
    times = term.coef[()]
    if (atom.kind, atom.label, power) != ("fn", "log", Fraction(1)) or times.denominator != 1:
        return None
    cls = ctx.classes[atom.number]
    if nonzero_formula(ctx, atom.number, atom.args) != TRUE or not never_negative(ctx, cls.body[0]):
        return None
    ctx.say("exp(log Z) = Z where Z is positive")
    ctx.record.split = ()
    body = instantiate(ctx, cls.body[0], dict(zip(cls.slots, atom.args, strict=True)))
    return raised(ctx, body if times > 0 else inverse(ctx, body), abs(int(times)))


def remade_exponential(
    ctx: Context, label: str, bundle: tuple[Poly, ...], exponent: Fraction
) -> Poly:
    """exp(bundle) ** exponent, made anew."""
    (body,) = bundle
    return exponential(ctx, tuple(Term(t.bound, t.atoms, scale(t.coef, exponent)) for t in body))


def remade_function(ctx: Context, label: str, bundle: tuple[Poly, ...], exponent: Fraction) -> Poly:
    """A function's power, made anew; a negative exponent is the total inverse."""
    if label not in ("log", "absolute"):
        return remade_opaque(ctx, label, bundle, exponent)
    made = logarithm(ctx, bundle[0]) if label == "log" else absolute(ctx, bundle[0])
    if exponent < 0:
        made, exponent = inverse(ctx, made), -exponent
    return raised(ctx, made, int(exponent)) if exponent else constant(1)
