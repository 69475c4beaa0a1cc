"""What stands inside functions, simplified by what holds where their term is not 0.

[c] f(x) = [c] f(y) where x = y wherever c holds. So under a term's mask the masks inside its
exponentials, inverses and functions lose what the outer mask decides, at every depth. Only masks
are used so, which stay as factors; that a divisor is not 0 is not, for it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, TypeAlias

from attnverify.algebra.normal.core import CLASSES, Atom, Coef, Conj, Context, Poly, Term, add_coefs
from attnverify.algebra.normal.formulas import Formula, negated
from attnverify.algebra.normal.numbers import number_values
from attnverify.algebra.normal.poly import bind, collect, instantiate, multiply

# A function, its power, what it is made, and the steps inside each of its arguments.
Noted: TypeAlias = "tuple[Atom, Fraction, Poly, list[list[tuple[Any, ...]]]]"

DEEPEST = 4  # how many functions inside each other are looked into
MOST_LITERALS = 4  # a conjunction with more is left as it stands


def narrowed(ctx: Context, poly: Poly) -> Poly:
    """The polynomial with masks inside functions simplified; the same object if none changes."""
    made = _poly(ctx, poly, (), 0)
    if made is None:
        return poly
    ctx.say("a mask decides the masks inside functions that it multiplies")
    return made


def _poly(ctx: Context, poly: Poly, given: Sequence[Formula], depth: int) -> Poly | None:
    """The terms with their functions narrowed, None if nothing changes."""
    result: list[Term] = []
    changed = False
    for term in poly:
        made = _term(ctx, term, given, depth) if depth < DEEPEST else None
        changed = changed or made is not None
        result += (term,) if made is None else made
    return collect(ctx, result) if changed else None


def _term(ctx: Context, term: Term, given: Sequence[Formula], depth: int) -> Poly | None:
    atoms = [atom for atom in term.atoms if _conditional(ctx, atom)]
    if not atoms:
        return None
    result: list[Term] = []
    changed = False
    for conj, value in term.coef.items():
        part = Term(term.bound, term.atoms, {conj: value})
        inside = [*given, ctx.conjunction(conj)]
        noted: list[Noted] = []
        new: dict[Atom, Poly] = {}
        for atom in atoms:
            factor = _atom(ctx, atom, term.atoms[atom], inside, (depth, noted))
            if factor is not None:
                new[atom] = factor
        if new:
            ctx.record.step("narrow", part, noted)
        changed = changed or bool(new)
        result += _with(ctx, part, new) if new else (part,)
    return tuple(result) if changed else None


def _with(ctx: Context, term: Term, factors: dict[Atom, Poly]) -> Poly:
    """The term with some atoms replaced; its bound variables are free in them until bound again."""
    rest = {atom: e for atom, e in term.atoms.items() if atom not in factors}
    result: Poly = (Term((), rest, term.coef),)
    for factor in factors.values():
        result = multiply(ctx, result, factor)
    for var in term.bound:
        result = bind(ctx, result, var)
    return result


def _atom(
    ctx: Context,
    atom: Atom,
    exponent: Fraction,
    given: Sequence[Formula],
    at: tuple[int, list[Noted]],
) -> Poly | None:
    """A function of what its arguments are under some formulas, None if they are the same.

    What it is made, and the steps inside each argument, are noted.
    """
    depth, noted = at
    cls, before = ctx.classes[atom.number], len(ctx.record.steps)
    inside: list[list[tuple[Any, ...]]] = []
    names = dict(zip(cls.slots, atom.args, strict=True))
    ctx.step()
    bundle: list[Poly] = []
    changed = False
    for body in cls.body:
        poly = instantiate(ctx, body, names)
        simple = _simplified(ctx, poly, given)
        inner = _poly(ctx, poly if simple is None else simple, given, depth + 1)
        inside.append(ctx.record.steps[before:])
        del ctx.record.steps[before:]
        changed = changed or simple is not None or inner is not None
        bundle.append(inner if inner is not None else simple if simple is not None else poly)
    if not changed:
        return None
    if atom.kind == "fn" and atom.label.startswith("root "):
        return None  # a root is made anew from its radicand's factors, which is not done here
    if exponent.denominator != 1 and atom.kind != "exp":
        return None
    made = ctx.makers[atom.kind](ctx, atom.label, tuple(bundle), exponent)
    del ctx.record.steps[before:]
    noted.append((atom, exponent, made, inside))
    return made


def _simplified(ctx: Context, poly: Poly, given: Sequence[Formula]) -> Poly | None:
    """The terms with coefficients as they are under some formulas, None if they are the same."""
    result: list[Term] = []
    changed = False
    for term in poly:
        coef = {} if _no_number(ctx, term, given) else _coef(ctx, term.coef, given)
        changed = changed or coef != term.coef
        if coef:
            result.append(Term(term.bound, term.atoms, coef))
    return collect(ctx, result) if changed else None


def _no_number(ctx: Context, term: Term, given: Sequence[Formula]) -> bool:
    """Whether a term is 0 because a position is."""
    if term.bound or not any(atom.kind == "pos" for atom in term.atoms):
        return False
    return ctx.decider.numbers_vanish(number_values(ctx, term), given)


def _coef(ctx: Context, coef: Coef, given: Sequence[Formula]) -> Coef:
    """A coefficient without what the given formulas decide."""
    result: Coef = {}
    for conj, value in coef.items():
        kept = _conj(ctx, conj, given)
        if kept is not None:
            result = add_coefs(result, {kept: value})
    return result


def _conj(ctx: Context, conj: Conj, given: Sequence[Formula]) -> Conj | None:
    """A conjunction's literals that are not implied by the given formulas and the others."""
    if not conj or len(conj) > MOST_LITERALS:
        return conj
    if ctx.decider.holds(negated(ctx.conjunction(conj)), given):
        return None
    kept = list(conj)
    for number in conj:
        others = [ctx.literals[n] for n in kept if n != number]
        if ctx.decider.holds(ctx.literals[number], [*given, *others]):
            kept.remove(number)
    return tuple(kept)


def _conditional(ctx: Context, atom: Atom, depth: int = 0) -> bool:
    """Whether a function's arguments have masks inside."""
    if atom.kind not in CLASSES or depth > DEEPEST:
        return False
    return any(
        any(conj for conj in term.coef)
        or any(inner.kind == "pos" for inner in term.atoms)
        or any(_conditional(ctx, inner, depth + 1) for inner in term.atoms)
        for body in ctx.classes[atom.number].body
        for term in body
    )
