"""Functions of polynomials as atoms.

The argument is interned as a class with slots, so every level stays flat.
"""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.normal.core import Class, Coef, Context, Poly, Term, add_coefs, scale
from attnverify.algebra.normal.forms import Var, variable
from attnverify.algebra.normal.formulas import below
from attnverify.algebra.normal.match import bundle_matches, bundle_signature, twins
from attnverify.algebra.normal.poly import (
    add,
    constant,
    equated,
    free_variables,
    indicator_poly,
    instantiate,
    multiply,
    raised,
    single,
)


def lookup(ctx: Context, bundle: tuple[Poly, ...]) -> tuple[int, tuple[Var, ...]] | None:
    """The class that a bundle belongs to and the variables in its slots, if the class is known."""
    free = frozenset(_free(ctx, bundle))
    for cls in ctx.classes_by_sign.get(bundle_signature(ctx, bundle), ()):
        slots = (free, frozenset(cls.slots))
        found = next(bundle_matches(ctx, bundle, cls.body, slots), None)
        if found is not None and len(found) == len(cls.slots) == len(free):
            back = {slot: var for var, slot in found.items()}
            return cls.number, tuple(back[slot] for slot in cls.slots)
    return None


def _free(ctx: Context, bundle: tuple[Poly, ...]) -> list[Var]:
    return sorted(set[Var]().union(*(free_variables(ctx, poly) for poly in bundle)))


def intern(ctx: Context, bundle: tuple[Poly, ...]) -> tuple[int, tuple[Var, ...]]:
    """The class that a bundle of polynomials belongs to, and the variables in its slots."""
    bundle = tuple(tuple(simplified(ctx, term) for term in poly) for poly in bundle)
    bundle = tuple(tuple(term for term in poly if term.coef) for poly in bundle)
    found = lookup(ctx, bundle)
    if found is not None:
        return found
    names = ctx.freshen(_free(ctx, bundle))
    body = tuple(instantiate(ctx, poly, names) for poly in bundle)
    cls = Class(len(ctx.classes), tuple(names.values()), body)
    cls.twins = twins(ctx, cls)
    ctx.classes.append(cls)
    ctx.classes_by_sign.setdefault(bundle_signature(ctx, bundle), []).append(cls)
    return cls.number, tuple(names)


def simplified(ctx: Context, term: Term) -> Term:
    """The term, its coefficient simpler where z3 sees that it is 0 or q times one conjunction."""
    if len(term.coef) < 2:
        return term
    pieces = ctx.pieces(term.coef)
    if ctx.decider.vanishes(pieces):
        return Term(term.bound, term.atoms, {})
    candidates: list[Coef] = [{(): Fraction(1)}]
    candidates += [{conj: Fraction(1)} for conj in term.coef if conj]
    for candidate in candidates:
        q = ctx.decider.ratio(pieces, ctx.pieces(candidate))
        if q is not None:
            return Term(term.bound, term.atoms, scale(candidate, q))
    return term


def exponential(ctx: Context, poly: Poly) -> Poly:
    """Exp of a polynomial: the product over its terms of exp(term), each a positive factor."""
    result = constant(1)
    for term in (simplified(ctx, part) for part in poly):
        if not term.coef:
            continue
        at_one = _equality(ctx, term)
        if at_one is not None:
            result = multiply(ctx, result, _by_cases(ctx, term, at_one))
            continue
        factor, coef = Fraction(1), term.coef
        if len(coef) == 1:
            ((conj, factor),) = coef.items()
            if len(conj) > 1 and ctx.decider.vanishes(ctx.pieces(coef)):
                continue
            coef = {conj: Fraction(1)}
        number, args = intern(ctx, ((Term(term.bound, term.atoms, coef),),))
        result = multiply(ctx, result, single(ctx.atom("exp", "", number, args), factor))
    return result


def _equality(ctx: Context, term: Term) -> int | None:
    """A literal that two free variables are equal, on which a coefficient depends."""
    free = {v for atom in term.atoms for v in atom.args} - set(term.bound)
    for number in sorted({n for conj in term.coef for n in conj}):
        pair = equated(ctx, number)
        if pair is not None and not set(pair) & set(term.bound) and set(pair) & free != set(pair):
            return number
    return None


def _by_cases(ctx: Context, term: Term, number: int) -> Poly:
    """exp(term) as [a = b] exp(term where they are) + [a != b] exp(term where they are not)."""
    true: Coef = {}
    false: Coef = {}
    for conj, value in term.coef.items():
        true = add_coefs(true, {tuple(n for n in conj if n != number): value})
        if number not in conj:
            false = add_coefs(false, {conj: value})
    ctx.say("exp of a masked term, by cases of the mask")
    same: Coef = {(number,): Fraction(1)}
    pair = equated(ctx, number)
    if pair is None:
        raise AssertionError("the cases are of an equality")
    # Unequal is less or more: masks are inequalities, and two of them make one.
    gap, real = variable(pair[0]) - variable(pair[1]), ctx.decider.is_real
    other: Coef = {}
    for form in (gap, gap * -1):
        other = add_coefs(other, ctx.indicator(below(form, strict=True, is_real=real)))
    return add(
        ctx,
        multiply(
            ctx, indicator_poly(same), exponential(ctx, (Term(term.bound, term.atoms, true),))
        ),
        multiply(
            ctx, indicator_poly(other), exponential(ctx, (Term(term.bound, term.atoms, false),))
        ),
    )


def function(ctx: Context, name: str, bundle: tuple[Poly, ...]) -> Poly:
    """A function about which nothing is known but that equal arguments give equal values."""
    number, args = intern(ctx, bundle)
    return single(ctx.atom("fn", name, number, args))


def remade_function(ctx: Context, label: str, bundle: tuple[Poly, ...], exponent: Fraction) -> Poly:
    """name(bundle) ** exponent, made anew; a negative exponent is the total inverse."""
    (term,) = function(ctx, label, bundle)
    (atom,) = term.atoms
    if exponent < 0:
        return single(atom, exponent)
    return raised(ctx, single(atom), int(exponent))
