"""Bounds of functions: polynomials that are never negative, and may be taken from a difference.

What is left of a difference that is to be at least 0 has to be at least 0 then. Both are of a term
-w f with a w that is seen to be never negative, f a function that has an upper bound.
"""

from __future__ import annotations

from fractions import Fraction

from attnverify.certify.equal import equal, never_negative, never_negatives, remaining
from attnverify.certify.errors import Rejected
from attnverify.certify.functions import body_at
from attnverify.certify.kernel import UNITS, Atom, Kernel, Poly, Term
from attnverify.certify.laws import summed
from attnverify.certify.lines import Tree, exactly, items, number
from attnverify.certify.parse import read_poly, read_power, read_raw
from attnverify.certify.terms import (
    add,
    constant,
    instantiated,
    is_tidy,
    multiply,
    power,
    scaled,
    single,
)
from attnverify.certify.values import checked_absolute


def decaying(k: Kernel, parts: tuple[Tree, ...]) -> Poly:
    """`(decay T (exps) (c R))`: T less T without exps that are at most 1, where T is -w times them.

    What they are exps of adds up to -c R^2, or where that is not told to what is never positive.
    """
    if len(parts) not in (2, 3):
        raise Rejected("a term, exps and a square were due")
    argument: Poly = ()
    exps = constant(1)
    powers = [read_power(k, tree) for tree in items(parts[1])]
    for atom, exponent in powers:
        if atom.kind != "exp":
            raise Rejected("an exp was due")
        argument = add(k, argument, scaled(body_at(k, atom), exponent))
        exps = multiply(k, exps, single(atom, exponent))
    if len(parts) == 3:
        _check_square(k, argument, parts[2])
    elif not never_negatives(k, remaining(k, scaled(argument, -1))):
        raise Rejected("exp: what it is of may be positive")
    return _lowered(k, parts[0], powers, add(k, exps, constant(-1)))


def _lowered(k: Kernel, tree: Tree, powers: list[tuple[Atom, Fraction]], excess: Poly) -> Poly:
    """The sum of -w times what is never positive, where a term is -w times some powers."""
    raw = read_raw(k, tree)
    if not is_tidy(k, raw) or not powers:
        raise Rejected("a term was due in its plainest form, and what is bounded in it")
    atoms = dict(raw.atoms)
    for atom, exponent in powers:
        if atoms.pop(atom, None) != exponent:
            raise Rejected("what is bounded is no factor of the term")
    weight = {conj: -value for conj, value in raw.coef.items()}
    if not never_negative(k, Term((), atoms, weight)):
        raise Rejected("what stands beside a bound may be positive")
    own = {var: k.fresh(k.axis(var)) for var in raw.bound}
    return summed(k, raw._replace(atoms=atoms), own, instantiated(k, excess, own))


def _check_square(k: Kernel, argument: Poly, tree: Tree) -> None:
    """Reject where an argument is not -c R^2, for a positive c and a sum R."""
    size, *terms = items(tree) or ("",)
    root = read_poly(k, tuple(terms))
    if number(size) <= 0 or len(root) < 2 or any(v < 0 for v in root[0].coef.values()):
        raise Rejected("a positive number and a sum that begins with a positive term were due")
    if not equal(k, argument, scaled(multiply(k, root, root), -number(size))):
        raise Rejected("exp: what it is of is not seen to be less a square")


def bent(k: Kernel, parts: tuple[Tree, ...]) -> Poly:
    """`(tanh T |D| tanh(x) a (|x|))`: T less T with a |x|^3 / 3 for |D|, where T is -w |D|.

    D is a (tanh(x) - x) or less that, for a product a of positive factors; |tanh(x) - x| is at most
    |x|^3 / 3. What |x| is is told as for any absolute value.
    """
    term, gap_tree, bend, factor_tree, told = exactly(parts, 5)
    (gap, once), (tanh, first) = read_power(k, gap_tree), read_power(k, bend)
    if (gap.kind, gap.label, once) != ("fn", "absolute", Fraction(1)):
        raise Rejected("an absolute value was due")
    if (tanh.kind, tanh.label, first) != ("fn", "tanh", Fraction(1)):
        raise Rejected("a tanh was due")
    factor, argument = read_raw(k, factor_tree), body_at(k, tanh)
    one = set(factor.coef) == {frozenset()} and not factor.bound
    if not one or not all(a.kind in UNITS for a in factor.atoms):
        raise Rejected("a product of positive factors was due")
    if factor.coef[frozenset()] <= 0:
        raise Rejected("a positive number was due")
    line = multiply(k, (factor,), add(k, single(tanh), scaled(argument, -1)))
    if not any(equal(k, body_at(k, gap), scaled(line, sign)) for sign in (1, -1)):
        raise Rejected("an absolute value of a (tanh(x) - x) was due")
    length = checked_absolute(k, argument, read_poly(k, items(told)))
    most = scaled(multiply(k, (factor,), power(k, length, 3)), Fraction(-1, 3))
    return _lowered(k, term, [(gap, Fraction(1))], add(k, single(gap), most))


BOUNDS = {"decay": decaying, "tanh": bent}
