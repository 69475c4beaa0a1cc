"""Powers of square roots of what is never negative: the root by itself, the rest without it.

For Z >= 0 and the total inverse, root(Z)^2 = Z and root(Z)^-1 = root(Z) inv(Z), at Z = 0 too. So
every power is Z or inv(Z) to a whole power, times the root or nothing, and what cancels Z meets it.
"""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.normal.core import Atom, Context, Poly, Term
from attnverify.algebra.normal.inverse import inverse
from attnverify.algebra.normal.poly import bind, collect, instantiate, multiply, raised, single
from attnverify.algebra.normal.support import never_negative

SQUARE_ROOT = "root 2"


def unrooted(ctx: Context, poly: Poly) -> Poly:
    """The polynomial with powers of roots resolved; the same object if there are none."""
    if not any(_powers(ctx, term) for term in poly):
        return poly
    ctx.say("root(Z) root(Z) is Z, and 1 / root(Z) is root(Z) / Z, where Z is not negative")
    return collect(ctx, [part for term in poly for part in _term(ctx, term)])


def _powers(ctx: Context, term: Term) -> dict[Atom, Fraction]:
    """The roots in a term that stand neither once nor not at all."""
    return {
        atom: exponent
        for atom, exponent in term.atoms.items()
        if atom.kind == "fn"
        and atom.label == SQUARE_ROOT
        and exponent != 1
        and exponent.denominator == 1
        and never_negative(ctx, ctx.classes[atom.number].body[0])
    }


def _term(ctx: Context, term: Term) -> Poly:
    found = _powers(ctx, term)
    rest = {atom: exponent for atom, exponent in term.atoms.items() if atom not in found}
    result: Poly = (Term((), rest, term.coef),)
    for atom, exponent in found.items():
        cls = ctx.classes[atom.number]
        below = instantiate(ctx, cls.body[0], dict(zip(cls.slots, atom.args, strict=True)))
        whole = exponent.numerator // 2  # towards minus infinity: what is left is 0 or 1
        power = raised(ctx, below if whole > 0 else inverse(ctx, below), abs(whole))
        result = multiply(ctx, result, power)
        if exponent - 2 * whole:
            result = multiply(ctx, result, single(atom))
    for var in term.bound:
        result = bind(ctx, result, var)
    return result
