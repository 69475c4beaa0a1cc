"""Bounds of functions, by which a difference is at least another that has them no more.

|tanh(x) - x| <= |x|^3 / 3 for every x: for x >= 0 the derivative of x - tanh(x) is tanh(x)^2, which
lies between 0 and x^2, and both sides are even.
"""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.normal.core import UNITS, Atom, Context, Poly, Term
from attnverify.algebra.normal.logs import absolute
from attnverify.algebra.normal.poly import add, bind, instantiate, multiply, raised, scaled, single
from attnverify.algebra.normal.support import term_never_negative


def lowered(ctx: Context, poly: Poly) -> Poly:
    """A polynomial that is at most the given one, without |a tanh(x) - a x| where that is taken."""
    result: Poly = ()
    for term in poly:
        part: Poly = (term,)
        for atom, exponent in term.atoms.items():
            if (atom.kind, atom.label, exponent) == ("fn", "absolute", Fraction(1)):
                part = _taken(ctx, term, atom) or part
                break
        result = add(ctx, result, part)
    return result


def _taken(ctx: Context, term: Term, atom: Atom) -> Poly | None:
    """-w |a tanh(x) - a x| is at least -w a |x|^3 / 3, for a w that is not negative."""
    rest = Term(
        term.bound,
        {a: e for a, e in term.atoms.items() if a != atom},
        {conj: -value for conj, value in term.coef.items()},
    )
    size = _gap(ctx, atom)
    if size is None or not term_never_negative(ctx, rest):
        return None
    ctx.say("|tanh(x) - x| <= |x|^3 / 3")
    result = multiply(ctx, (Term((), rest.atoms, rest.coef),), scaled(size, -1))
    for var in term.bound:
        result = bind(ctx, result, var)
    return result


def _gap(ctx: Context, atom: Atom) -> Poly | None:
    """A |x|^3 / 3 where an absolute value is of a tanh(x) - a x, with a a positive factor."""
    cls = ctx.classes[atom.number]
    body = instantiate(ctx, cls.body[0], dict(zip(cls.slots, atom.args, strict=True)))
    for term in body:
        found = [a for a in term.atoms if (a.kind, a.label) == ("fn", "tanh")]
        if len(found) != 1 or term.bound or term.atoms[found[0]] != 1 or set(term.coef) != {()}:
            continue
        others = {a: e for a, e in term.atoms.items() if a is not found[0]}
        if any(a.kind not in UNITS for a in others):
            continue
        inner = ctx.classes[found[0].number]
        argument = instantiate(
            ctx, inner.body[0], dict(zip(inner.slots, found[0].args, strict=True))
        )
        factor: Poly = (Term((), others, term.coef),)
        line = multiply(ctx, factor, argument)
        tanh = multiply(ctx, factor, single(found[0]))
        if not add(ctx, body, scaled(tanh, -1), line):
            size = abs(term.coef[()])
            cube = raised(ctx, absolute(ctx, argument), 3)
            return multiply(ctx, (Term((), others, {(): size * Fraction(1, 3)}),), cube)
    return None
