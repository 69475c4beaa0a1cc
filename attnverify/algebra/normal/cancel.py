"""Z inv(Z) = [Z != 0], found inside products and under sums.

For a class Z = lead + rest, a term that contains lead times inv(Z) is rewritten by

    lead inv(Z) -> [Z != 0] - rest inv(Z)

With Z a single sum there is no rest, and the term's own coefficient must be q times the sum's: z3
decides that, on the conjunctions grouped by what does not touch the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from attnverify.algebra.normal.core import (
    UNITS,
    Atom,
    Coef,
    Conj,
    Context,
    Poly,
    Term,
    add_coefs,
    raise_atom,
    scale,
)
from attnverify.algebra.normal.embed import Found, Search
from attnverify.algebra.normal.forms import Var
from attnverify.algebra.normal.formulas import Formula
from attnverify.algebra.normal.poly import (
    ONE_COEF,
    add,
    bind,
    collect,
    instantiate,
    multiply,
    scaled,
)
from attnverify.algebra.normal.support import known, known_literals, nonzero_formula


def cancelled(ctx: Context, poly: Poly) -> Poly:
    """The polynomial with every product Z inv(Z) rewritten, until none is left."""
    done: list[Term] = []
    queue = list(poly)
    while queue:
        term = _without_known(ctx, queue.pop(0))
        if not term.coef:
            continue
        changed = _cancel(ctx, term)
        if changed is None:
            done.append(term)
        else:
            ctx.step()
            queue = list(collect(ctx, [*changed, *queue]))
    return collect(ctx, done)


def _without_known(ctx: Context, term: Term) -> Term:
    """The term without literals that hold wherever it is not 0, because it divides by a sum."""
    true = known_literals(ctx, term)
    if not true:
        return term
    coef: Coef = {}
    for conj, value in term.coef.items():
        coef = add_coefs(coef, {tuple(n for n in conj if n not in true): value})
    return Term(term.bound, term.atoms, coef, term.signs)


def _cancel(ctx: Context, term: Term) -> Poly | None:
    """The term rewritten at the first inverse where the rule applies."""
    for atom in term.atoms:
        if atom.kind == "inv":
            for rule in (_lead_rule, _unit_rule):
                result = rule(ctx, term, atom)
                if result is not None:
                    return result
    return None


def lead_of(ctx: Context, number: int) -> int | None:
    """The place of the monomial that a class is rewritten by: a sum without an inverse."""
    body = ctx.classes[number].body[0]
    fit = [
        k
        for k, term in enumerate(body)
        if (term.bound or len(body) == 1) and not any(a.kind == "inv" for a in term.atoms)
    ]
    # The largest, so that what replaces it is smaller; the class's own order breaks ties.
    return max(fit, key=lambda k: (len(body[k].bound), len(body[k].atoms), -k), default=None)


def _lead_rule(ctx: Context, term: Term, inv: Atom) -> Poly | None:
    place = lead_of(ctx, inv.number)
    if place is None:
        return None
    cls = ctx.classes[inv.number]
    slots = dict(zip(cls.slots, inv.args, strict=True))
    (lead,) = instantiate(ctx, (cls.body[0][place],), slots)
    for found in Search(ctx, lead, term, frozenset(inv.args)).occurrences():
        result = _rewrite(ctx, term, _Lead(inv, lead, place), found)
        if result is not None:
            return result
    return None


@dataclass(frozen=True)
class _Lead:
    """The inverse that is rewritten, and the monomial of its class that stands beside it."""

    inv: Atom
    term: Term
    place: int


def _rewrite(ctx: Context, term: Term, lead: _Lead, found: Found) -> Poly | None:
    """Replace the conjunctions whose part under the sum is q times the lead's coefficient."""
    images = set(found.names.values())
    unit = ctx.rename_coef(lead.term.coef, found.names)
    taken, left = _split(ctx, term, unit, images)
    if not taken:
        return None
    kept: Poly = (Term(term.bound, term.atoms, left),) if left else ()
    atoms = dict(found.rest)
    power = atoms.pop(lead.inv)
    _note(ctx, term, lead.inv, (taken, found))
    # The factors stand under the term's other sums: their variables are free until bound again.
    common: Poly = (Term((), atoms, taken),)
    replaced = multiply(ctx, common, _nonzero(ctx, lead.inv, power))
    rest = _others(ctx, lead.inv, lead.place)
    if rest:
        again = dict(atoms)
        raise_atom(again, lead.inv, power)
        minus = multiply(ctx, (Term((), again, taken),), scaled(rest, -1))
        replaced = add(ctx, replaced, minus)
    for var in term.bound:
        if var not in images:
            replaced = bind(ctx, replaced, var)
    ctx.say("Z inv(Z) = [Z != 0]")
    return (*kept, *replaced)


def _note(ctx: Context, term: Term, inv: Atom, split: tuple[Coef, Found]) -> None:
    """Note that the term changes by a cofactor times Z inv(Z) - [Z != 0]."""
    taken, found = split
    images = set(found.names.values())
    atoms = dict(found.rest)
    atoms[inv] -= 1
    atoms = {atom: exponent for atom, exponent in atoms.items() if exponent}
    bound = tuple(var for var in term.bound if var not in images)
    ctx.record.step("law", inv.number, inv.args, Term(bound, atoms, taken))


def _others(ctx: Context, inv: Atom, place: int) -> Poly:
    cls = ctx.classes[inv.number]
    body = cls.body[0]
    slots = dict(zip(cls.slots, inv.args, strict=True))
    return instantiate(ctx, body[:place] + body[place + 1 :], slots)


def _nonzero(ctx: Context, inv: Atom, power: Fraction) -> Poly:
    """Z inv(Z)^power without its Z: [Z != 0], or what is left of the inverse."""
    if power > 1:
        return (Term((), {inv: power - 1}, {(): Fraction(1)}),)
    coef = ctx.indicator(nonzero_formula(ctx, inv.number, inv.args))
    return (Term((), {}, coef),) if coef else ()


def _split(ctx: Context, term: Term, unit: Coef, images: set[Var]) -> tuple[Coef, Coef]:
    """The coefficient as `taken * unit + left`, with `taken` free of the sum's variables."""
    groups: dict[Conj, Coef] = {}
    for conj, value in term.coef.items():
        outside = tuple(n for n in conj if images.isdisjoint(ctx.literal_variables[n]))
        inside = tuple(n for n in conj if n not in outside)
        groups.setdefault(outside, {})[inside] = value
    given = known(ctx, term)
    taken: Coef = {}
    left: Coef = {}
    for outside, inside_coef in groups.items():
        q = _multiple(ctx, inside_coef, unit, [*given, ctx.conjunction(outside)])
        if q is None:
            for inside, value in inside_coef.items():
                left = add_coefs(left, {tuple(sorted((*outside, *inside))): value})
        else:
            taken = add_coefs(taken, {outside: q})
    if left and len(groups) > 1:
        q = _multiple(ctx, term.coef, unit, given)
        if q is not None:
            return {(): q}, {}
    return taken, left


def _multiple(ctx: Context, coef: Coef, unit: Coef, given: list[Formula]) -> Fraction | None:
    """The q for which `coef = q unit` wherever the given formulas hold."""
    conj = next(iter(unit))
    if conj in coef and unit[conj]:
        q = coef[conj] / unit[conj]
        if not add_coefs(coef, scale(unit, q), -1):
            return q
    return ctx.decider.ratio(ctx.pieces(coef), ctx.pieces(unit), given)


# ---- sums without a bound variable, such as 1 + exp(x)


def _unit_rule(ctx: Context, term: Term, inv: Atom) -> Poly | None:
    """Drive the exponent of one exponential to 0, with Z a sum of its powers.

    1 + e^x = Z gives e^x inv(Z) = [Z != 0] - inv(Z), and e^-x inv(Z) = e^-x [Z != 0] - inv(Z).
    """
    cls = ctx.classes[inv.number]
    body = cls.body[0]
    if len(body) < 2 or lead_of(ctx, inv.number) is not None or any(t.bound for t in body):
        return None
    base = next((a for t in body for a in t.atoms if a.kind == "exp"), None)
    if base is None:
        return None
    powers = [t.atoms.get(base, Fraction(0)) for t in body]
    slots = dict(zip(cls.slots, inv.args, strict=True))
    (image,) = (ctx.atom(base.kind, base.label, base.number, tuple(slots[v] for v in base.args)),)
    have = term.atoms.get(image, Fraction(0))
    if have >= max(powers) > 0 and powers.count(max(powers)) == 1:
        place = powers.index(max(powers))
    elif have < 0 == min(powers) and powers.count(min(powers)) == 1:
        place = powers.index(min(powers))
    else:
        return None
    (lead,) = instantiate(ctx, (body[place],), slots)
    if any(a.kind not in UNITS for a in lead.atoms) or set(lead.coef) != {()}:
        return None
    rest = Search(ctx, lead, term).divided({})
    if rest is None:
        return None
    unit = lead.coef[()]
    scaled_term = Term(term.bound, term.atoms, scale(term.coef, 1 / unit))
    monic = _Lead(inv, Term((), lead.atoms, dict(ONE_COEF)), place)
    return _rewrite(ctx, scaled_term, monic, Found({}, rest))
