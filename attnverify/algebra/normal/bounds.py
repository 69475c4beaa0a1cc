"""Bounds of functions, by which a difference is at least another that has them no more.

|tanh(x) - x| <= |x|^3 / 3 for every x: for x >= 0 the derivative of x - tanh(x) is tanh(x)^2, which
lies between 0 and x^2, and both sides are even. And exp(x) <= 1 where x is never positive: less a
square, or less a sum of what is never negative.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, product
from math import isqrt

from attnverify.algebra.normal.core import UNITS, Atom, Context, Poly, Term
from attnverify.algebra.normal.logs import absolute
from attnverify.algebra.normal.poly import add, bind, instantiate, multiply, raised, scaled, single
from attnverify.algebra.normal.support import never_negative, term_never_negative

MOST_EXPS, MOST_SQUARES = 6, 4


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
    tanh, factor, length, told = size
    ctx.record.step("tanh", term, atom, tanh, factor, told)
    size_of = multiply(ctx, _third(factor), raised(ctx, length, 3))
    result = multiply(ctx, (Term((), rest.atoms, rest.coef),), scaled(size_of, -1))
    for var in term.bound:
        result = bind(ctx, result, var)
    return result


def _third(factor: Term) -> Poly:
    """A / 3."""
    return (Term((), factor.atoms, {(): factor.coef[()] * Fraction(1, 3)}),)


def _gap(ctx: Context, atom: Atom) -> tuple[Atom, Term, Poly, Poly] | None:
    """Tanh(x), a, |x| and how that is told, for |a tanh(x) - a x| with a positive factor a."""
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
            length = absolute(ctx, argument)
            size = Term((), others, {(): abs(term.coef[()])})
            return found[0], size, length, ctx.record.split
    return None


def decayed(ctx: Context, poly: Poly) -> Poly:
    """A polynomial that is at most the given one, without exps of what is never positive.

    -w exp(x) is at least -w, for a w that is not negative and an x that is not positive.
    """
    result: Poly = ()
    waiting = list(poly)
    while waiting:
        term = waiting.pop()
        left = _without_decay(ctx, term)
        if left is None:
            result = add(ctx, result, (term,))
        else:
            waiting += left  # each time with less exps
    return result


def _without_decay(ctx: Context, term: Term) -> Poly | None:
    exps = [(a, e) for a, e in term.atoms.items() if a.kind == "exp"]
    if not 0 < len(exps) <= MOST_EXPS:
        return None
    weight = {conj: -value for conj, value in term.coef.items()}
    if not term_never_negative(ctx, Term(term.bound, term.atoms, weight)):
        return None
    for count in dict.fromkeys((len(exps), 3, 2, 1)):
        for some in combinations(exps, count):
            argument: Poly = ()
            for atom, exponent in some:
                argument = add(ctx, argument, scaled(_argument(ctx, atom), exponent))
            square = _less_a_square(ctx, argument)
            if square is None and not never_negative(ctx, scaled(argument, -1)):
                continue
            ctx.say("exp(x) <= 1 where x is never positive")
            ctx.record.step("decay", term, some, square)
            atoms = {a: e for a, e in term.atoms.items() if (a, e) not in some}
            left: Poly = (Term((), atoms, term.coef),)
            for var in term.bound:
                left = bind(ctx, left, var)
            return left
    return None


def _argument(ctx: Context, atom: Atom) -> Poly:
    cls = ctx.classes[atom.number]
    return instantiate(ctx, cls.body[0], dict(zip(cls.slots, atom.args, strict=True)))


def _less_a_square(ctx: Context, poly: Poly) -> tuple[Fraction, Poly] | None:
    """The c and the R of a polynomial that is -c R^2, for a sum R of at least two products."""
    roots = list(_roots(poly))
    if not 2 <= len(roots) <= MOST_SQUARES:
        return None
    size, first = roots[0]
    lengths = [_root(value / size) for value, _ in roots[1:]]
    if any(length is None for length in lengths):
        return None
    for signs in product((1, -1), repeat=len(lengths)):
        whole: Poly = (first,)
        for sign, length, (_, root) in zip(signs, lengths, roots[1:], strict=True):
            whole = add(ctx, whole, scaled((root,), sign * (length or 0)))
        if not add(ctx, poly, scaled(multiply(ctx, whole, whole), size)):
            return size, whole
    return None


def _roots(poly: Poly) -> Iterator[tuple[Fraction, Term]]:
    """The terms -q m^2 of a polynomial, as q and m."""
    for term in poly:
        whole = all(e % 2 == 0 or a.kind in UNITS for a, e in term.atoms.items())
        value = term.coef.get((), Fraction(0))
        if whole and set(term.coef) == {()} and value < 0 and not term.bound:
            atoms = {atom: exponent / 2 for atom, exponent in term.atoms.items()}
            yield -value, Term((), atoms, {(): Fraction(1)})


def _root(value: Fraction) -> Fraction | None:
    """The square root of a number, where it is rational."""
    found = Fraction(isqrt(value.numerator), isqrt(value.denominator))
    return found if found * found == value else None
