"""Polynomials told apart by a variable, and ends of axes as the sums that they are picked from."""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.normal.core import Context, Poly, Term
from attnverify.algebra.normal.forms import Var, lin, variable
from attnverify.algebra.normal.formulas import zero
from attnverify.algebra.normal.poly import bind, collect, instantiate, multiply, read_by


def apart(ctx: Context, poly: Poly, var: Var) -> tuple[Poly, Poly]:
    """The terms that depend on a variable, and the others."""
    inside = {
        id(term) for term in poly if var in read_by(term) or var in ctx.coef_variables(term.coef)
    }
    return (
        tuple(term for term in poly if id(term) in inside),
        tuple(term for term in poly if id(term) not in inside),
    )


def from_ends(ctx: Context, poly: Poly) -> Poly:
    """The polynomial with each end of an axis as a sum over the axis that a mask picks it from."""
    ctx.to_ends = False
    for (axis, last), var in ctx.ends.items():
        found: list[Term] = []
        for term in poly:
            if var not in read_by(term):
                found.append(term)
                continue
            new = ctx.fresh(axis)
            size = lin({("n", axis): Fraction(1)}, -1) if last else lin({})
            here = ctx.indicator(zero(variable(new) - size, ctx.decider.is_real))
            moved = instantiate(ctx, (term,), {var: new})
            found += bind(ctx, multiply(ctx, moved, ((Term((), {}, here)),)), new)
        poly = collect(ctx, found)
    return poly
