"""The total inverse, and when a sum of positive terms is not 0.

inv is multiplicative and an involution (inv 0 = 0), so units, common factors and independent
components are taken out before what is left is interned.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import reduce
from itertools import product
from math import gcd, lcm

from attnverify.algebra.normal.classes import intern, lookup, simplified
from attnverify.algebra.normal.core import (
    UNITS,
    Atom,
    Coef,
    Context,
    Poly,
    Term,
    add_coefs,
    raise_atom,
)
from attnverify.algebra.normal.forms import Var
from attnverify.algebra.normal.poly import (
    constant,
    indicator_poly,
    instantiate,
    multiply,
    raised,
    scaled,
    single,
)

MOST_PIECES = 3  # a coefficient with more conjunctions is inverted as it stands, inside a class


def inverse(ctx: Context, poly: Poly) -> Poly:
    """1 over a polynomial, 0 where it is 0."""
    poly = tuple(t for t in (simplified(ctx, term) for term in poly) if t.coef)
    if not poly:
        return ()
    factor = constant(1)
    if len(poly) == 1 and not poly[0].bound and len(poly[0].coef) <= MOST_PIECES:
        common = poly[0]
    else:
        common, rest = content(ctx, poly)
        for part in _components(ctx, rest):
            factor = multiply(ctx, factor, _of_sum(ctx, part))
    result = multiply(ctx, _of_product(ctx, common), factor)
    ctx.record.split = (common, factor)
    return result


def told_inverse(ctx: Context, poly: Poly) -> Poly:
    """1 over a polynomial, noted for the certificate with the product that it came from."""
    result = inverse(ctx, poly)
    ctx.record.values.append(("inv", ctx.record.split if result else ()))
    return result


def _of_product(ctx: Context, term: Term) -> Poly:
    """The inverse of a product of atoms times a coefficient."""
    result = indicator_poly(_of_coef(ctx, term.coef))
    for atom, exponent in term.atoms.items():
        result = multiply(ctx, result, _of_atom(ctx, atom, exponent))
    return result


def _of_atom(ctx: Context, atom: Atom, exponent: Fraction) -> Poly:
    if atom.kind == "nz":
        return single(atom)
    if atom.kind == "inv":
        cls = ctx.classes[atom.number]
        places = dict(zip(cls.slots, atom.args, strict=True))
        return raised(ctx, instantiate(ctx, cls.body[0], places), int(exponent))
    return single(atom, -exponent)


def _of_coef(ctx: Context, coef: Coef) -> Coef:
    """The inverse of a coefficient, case by case over which of its conjunctions hold."""
    result: Coef = {}
    rows = list(coef.items())
    for holds in product((True, False), repeat=len(rows)):
        value = sum((q for (_, q), yes in zip(rows, holds, strict=True) if yes), Fraction(0))
        if not value:
            continue
        case: Coef = {(): Fraction(1)}
        for (conj, _), yes in zip(rows, holds, strict=True):
            one: Coef = {conj: Fraction(1)}
            case = ctx.product(case, one if yes else add_coefs({(): Fraction(1)}, one, -1))
        result = add_coefs(result, case, 1 / value)
    return result


def _of_sum(ctx: Context, poly: Poly) -> Poly:
    if len(poly) == 1 and not poly[0].bound and len(poly[0].coef) <= MOST_PIECES:
        return _of_product(ctx, poly[0])
    found, sign = lookup(ctx, (poly,)), 1
    if found is None:
        found, sign = lookup(ctx, (scaled(poly, -1),)), -1
    if found is None:
        found, sign = intern(ctx, (poly,)), 1
    return scaled(single(ctx.atom("inv", "", *found)), sign)


def content(ctx: Context, poly: Poly) -> tuple[Term, Poly]:
    """What every term has as a factor, and what is left of the polynomial."""
    bound = {var for term in poly for var in term.bound}
    atoms: dict[Atom, Fraction] = {}
    for atom in dict.fromkeys(atom for term in poly for atom in term.atoms):
        exponents = [term.atoms.get(atom, Fraction(0)) for term in poly]
        if bound.isdisjoint(atom.args):
            common = _common(atom, exponents)
            if common:
                atoms[atom] = common
    conjs = [set(conj) for term in poly for conj in term.coef]
    shared = tuple(
        n for n in sorted(set.intersection(*conjs)) if bound.isdisjoint(ctx.literal_variables[n])
    )
    number = _numeric([value for term in poly for value in term.coef.values()])
    rest = tuple(divided(term, atoms, set(shared), number) for term in poly)
    return Term((), atoms, {shared: number}), rest


def _common(atom: Atom, exponents: list[Fraction]) -> Fraction:
    """The power of an atom that every term has."""
    least = min(exponents)
    if atom.kind in UNITS:
        return least
    if atom.kind == "nz":
        return Fraction(0)
    return max(least, Fraction(0))


def _numeric(values: list[Fraction]) -> Fraction:
    """The greatest common divisor, negative where all values are."""
    bottom = reduce(lcm, (value.denominator for value in values), 1)
    top = reduce(gcd, (int(value * bottom) for value in values), 0)
    return Fraction(-top if all(value < 0 for value in values) else top, bottom)


def divided(term: Term, common: dict[Atom, Fraction], shared: set[int], number: Fraction) -> Term:
    """A term without a product of atoms, some literals and a number."""
    atoms = dict(term.atoms)
    for atom, exponent in common.items():
        left = atoms.pop(atom, Fraction(0)) - exponent
        if left:
            atoms[atom] = left
    coef: Coef = {}
    for conj, value in term.coef.items():
        kept = tuple(n for n in conj if n not in shared)
        coef[kept] = coef.get(kept, Fraction(0)) + value / number
    return Term(term.bound, atoms, coef)


def _components(ctx: Context, poly: Poly) -> list[Poly]:
    """A single sum of a product split into sums over variables that nothing connects."""
    if len(poly) != 1 or not poly[0].bound:
        return [poly]
    term = poly[0]
    groups: list[set[Var]] = []
    links: list[set[Var]] = [set(atom.args) for atom in term.atoms]
    if len(term.coef) == 1:
        links += [set(ctx.literal_variables[n]) for conj in term.coef for n in conj]
    else:
        links.append(ctx.coef_variables(term.coef))
    for link in [*links, *({var} for var in term.bound)]:
        touched = link & set(term.bound)
        if touched:
            hit = [group for group in groups if group & touched]
            groups = [group for group in groups if not group & touched]
            groups.append(touched.union(*hit))
    outside = _outside(ctx, term)
    if len(groups) + len(outside) < 2:
        return [poly]
    return [*(_component(ctx, term, group) for group in groups), *outside]


def _component(ctx: Context, term: Term, group: set[Var]) -> Poly:
    atoms = {atom: e for atom, e in term.atoms.items() if group & set(atom.args)}
    bound = tuple(var for var in term.bound if var in group)
    if len(term.coef) > 1:
        mine = bool(group & ctx.coef_variables(term.coef))
        return (Term(bound, atoms, term.coef if mine else {(): Fraction(1)}),)
    (conj,) = term.coef
    touching = tuple(n for n in conj if group & ctx.literal_variables[n])
    return (Term(bound, atoms, {touching: Fraction(1)}),)


def _outside(ctx: Context, term: Term) -> list[Poly]:
    """What of a term depends on none of its bound variables."""
    bound = set(term.bound)
    atoms = {atom: e for atom, e in term.atoms.items() if bound.isdisjoint(atom.args)}
    coef: Coef = {(): Fraction(1)}
    if len(term.coef) > 1:
        coef = term.coef if bound.isdisjoint(ctx.coef_variables(term.coef)) else coef
    else:
        ((conj, value),) = term.coef.items()
        coef = {tuple(n for n in conj if bound.isdisjoint(ctx.literal_variables[n])): value}
    return [(Term((), atoms, coef),)]


def remade_inverse(ctx: Context, label: str, bundle: tuple[Poly, ...], exponent: Fraction) -> Poly:
    """inv(bundle) ** exponent, made anew."""
    return raised(ctx, inverse(ctx, bundle[0]), int(exponent))


def powered(ctx: Context, poly: Poly, exponent: Fraction) -> Poly:
    """A polynomial to a rational power.

    Whole powers exactly, roots as opaque functions after units are out.
    """
    if exponent.denominator == 1:
        whole = int(exponent)
        if whole < 0:
            poly = told_inverse(ctx, poly)
        return raised(ctx, poly, abs(whole))
    result = _rooted(ctx, poly, exponent) if poly else ()
    ctx.record.values.append((f"power {exponent}", result))
    return result


def _rooted(ctx: Context, poly: Poly, exponent: Fraction) -> Poly:
    """A polynomial to a power that is not whole."""
    common, rest = content(ctx, poly)
    taken = {atom: e for atom, e in common.atoms.items() if atom.kind in UNITS}
    ((_, number),) = common.coef.items()
    result = _number_power(abs(number), exponent)
    if taken:
        outside: dict[Atom, Fraction] = {}
        for atom, e in taken.items():
            raise_atom(outside, atom, e * exponent)
        result = multiply(ctx, result, (Term((), outside, {(): Fraction(1)}),))
    inside = tuple(divided(term, taken, set(), abs(number)) for term in poly)
    if (len(rest) == 1 and inside == constant(1)) or is_one(inside):
        return result
    return multiply(ctx, result, _root(ctx, inside, exponent))


def is_one(poly: Poly) -> bool:
    """Whether a polynomial is 1 by its form."""
    return len(poly) == 1 and not poly[0].atoms and not poly[0].bound and poly[0].coef == {(): 1}


def _root(ctx: Context, poly: Poly, exponent: Fraction) -> Poly:
    number, args = intern(ctx, (poly,))
    atom = ctx.atom("fn", f"root {exponent.denominator}", number, args)
    return single(atom, exponent.numerator)


def _number_power(number: Fraction, exponent: Fraction) -> Poly:
    """A positive rational to a rational power, by its primes."""
    coef, atoms = Fraction(1), {}
    for base, sign in ((number.numerator, 1), (number.denominator, -1)):
        for prime, times in _primes(base):
            power = exponent * times * sign
            whole = power.numerator // power.denominator
            coef *= Fraction(prime) ** whole
            if power != whole:
                atoms[Atom("number", str(prime), -1, ())] = power - whole
    return (Term((), atoms, {(): coef}),)


def _primes(number: int) -> Iterable[tuple[int, int]]:
    prime, rest = 2, number
    while rest > 1:
        times = 0
        while rest % prime == 0:
            rest, times = rest // prime, times + 1
        if times:
            yield prime, times
        prime = prime + 1 if prime * prime <= rest else max(rest, prime + 1)
