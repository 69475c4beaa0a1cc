"""The last steps on left minus right: what is left vanishes, counts, or equates variables."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import TypeAlias

from attnverify.algebra.normal.cancel import cancelled
from attnverify.algebra.normal.core import (
    Atom,
    Coef,
    Conj,
    Context,
    GaveUp,
    Poly,
    Term,
    add_coefs,
)
from attnverify.algebra.normal.ends import from_ends
from attnverify.algebra.normal.forms import Lin, Var, lin, variable
from attnverify.algebra.normal.formulas import TRUE, Formula, below, both, negated, zero
from attnverify.algebra.normal.linear import polynomial
from attnverify.algebra.normal.match import MOST_MATCHES, matches
from attnverify.algebra.normal.narrow import narrowed
from attnverify.algebra.normal.numbers import is_number, number_values
from attnverify.algebra.normal.poly import (
    add,
    bind,
    collect,
    instantiate,
    multiply,
    raised,
)
from attnverify.algebra.normal.roots import unrooted
from attnverify.algebra.normal.support import bound_on, halves, known, nonzero_formula
from attnverify.algebra.normal.thresholds import summed

Case: TypeAlias = tuple[Formula, Lin, Lin]  # where, the first position counted and the last

ROUNDS = 3
MOST_DENOMINATORS = 3
MOST_BOUNDS = 3  # a count between more bounds than this is left as it stands


def residue(ctx: Context, poly: Poly) -> Poly:
    """What is left of a polynomial after every rule: nothing, if it is 0 for all values."""
    rest = _reduced(ctx, poly)
    narrow = narrowed(ctx, rest) if rest else rest
    rest = rest if narrow is rest else _reduced(ctx, narrow)
    ends = {var for term in rest for atom in term.atoms for var in atom.args}
    if rest and not ends.isdisjoint(ctx.ends.values()):
        # What stands at an end may be a term of a sum that is left.
        rest = _reduced(ctx, from_ends(ctx, rest))
    noted = len(ctx.record.steps)
    if rest and _vanishes_without_roots(ctx, rest):
        return ()
    del ctx.record.steps[noted:]
    try:
        whole = _over_one_denominator(ctx, rest)
        if whole is not None and not _reduced(ctx, whole):
            return ()
    except GaveUp:
        # What is too large over one denominator is left as it stands, which proves nothing.
        pass
    del ctx.record.steps[noted:]  # laws on the way to something else than what is left
    return rest


def _vanishes_without_roots(ctx: Context, poly: Poly) -> bool:
    """Whether nothing is left once powers of square roots are resolved."""
    said = dict(ctx.words)
    try:
        plain = unrooted(ctx, poly)
        if plain is not poly and not _reduced(ctx, plain):
            return True
    except GaveUp:
        pass  # what grows too large is left as it stands, which proves nothing
    ctx.words = said
    return False


def _over_one_denominator(ctx: Context, poly: Poly) -> Poly | None:
    """The polynomial times the sums that it divides by, where these are positive for all sizes."""
    powers: dict[Atom, Fraction] = {}
    for term in poly:
        for atom, exponent in term.atoms.items():
            if atom.kind == "inv" and not set(atom.args) & set(term.bound):
                powers[atom] = max(powers.get(atom, exponent), exponent)
    below = [a for a in powers if nonzero_formula(ctx, a.number, a.args) == TRUE]
    if not 0 < len(below) <= MOST_DENOMINATORS:
        return None
    for atom in below:
        ctx.record.step("times", (atom, powers[atom]))
    result: Poly = ()
    for term in poly:
        atoms = {atom: e for atom, e in term.atoms.items() if atom not in below}
        part: Poly = (Term((), atoms, term.coef),)
        for atom in below:
            cls = ctx.classes[atom.number]
            body = instantiate(ctx, cls.body[0], dict(zip(cls.slots, atom.args, strict=True)))
            left = powers[atom] - term.atoms.get(atom, Fraction(0))
            part = multiply(ctx, part, raised(ctx, body, int(left)))
        for var in term.bound:
            part = bind(ctx, part, var)
        result = add(ctx, result, part)
    ctx.say("what is positive may be multiplied by")
    return result


def _reduced(ctx: Context, poly: Poly) -> Poly:
    for _ in range(ROUNDS):
        poly = cancelled(ctx, poly)
        poly = _left(ctx, poly)
        if not poly:
            return ()
        finer = collect(ctx, (part for term in poly for part in _finer(ctx, term)))
        if len(finer) == len(poly) and all(a is b for a, b in zip(finer, poly, strict=True)):
            return poly
        poly = finer
    return _left(ctx, cancelled(ctx, poly))


def _left(ctx: Context, poly: Poly) -> Poly:
    """The terms that do not vanish, by themselves or together as numbers."""
    poly = tuple(term for term in poly if not vanishes(ctx, term))
    groups: dict[frozenset[tuple[Atom, Fraction]], list[Term]] = {}
    for term in poly:
        if not term.bound:
            rest = frozenset((a, e) for a, e in term.atoms.items() if not is_number(a, e))
            groups.setdefault(rest, []).append(term)
    gone: set[int] = set()
    for group in groups.values():
        if any(is_number(a, e) for term in group for a, e in term.atoms.items()):
            gone.update(map(id, group) if _numbers_vanish(ctx, group) else ())
    return tuple(term for term in poly if id(term) not in gone)


def _numbers_vanish(ctx: Context, group: list[Term]) -> bool:
    """Whether terms that differ by positions and sizes alone sum to 0, as z3 sees whole numbers."""
    values = [value for term in group for value in number_values(ctx, term)]
    vanish = ctx.decider.numbers_vanish(values, known(ctx, group[0]))
    if vanish:
        ctx.say("z3: whole numbers cancel for all sizes and positions")
    return vanish


def vanishes(ctx: Context, term: Term) -> bool:
    """Whether a term is 0 by its coefficient, summed over the symmetries of its atoms."""
    coef = {conj: value for conj, value in term.coef.items() if value}
    if not coef:
        return True
    if set(coef) == {()}:
        return False
    given = known(ctx, term)
    if ctx.decider.vanishes(ctx.pieces(coef), given):
        ctx.say("z3: a coefficient is 0 for all sizes and positions")
        return True
    return len(coef) > 1 and _vanishes_by_symmetry(ctx, term, given)


def _vanishes_by_symmetry(ctx: Context, term: Term, given: list[Formula]) -> bool:
    total = _symmetric(ctx, term)
    if total != term.coef and (not total or ctx.decider.vanishes(ctx.pieces(total), given)):
        ctx.say("a sum is unchanged by renaming what it binds")
        return True
    return False


def _finer(ctx: Context, term: Term) -> Iterator[Term]:
    """The term, its conjunctions split off where they equate a variable or count positions."""
    picked = summed(ctx, term) or _pick(ctx, term)
    if picked is not None:
        yield picked
        return
    rest: Coef = {}
    made: list[Term] = []
    for conj, value in term.coef.items():
        part = Term(term.bound, term.atoms, {conj: value})
        changed = _equate(ctx, part, conj)
        if changed is None:
            changed = _count(ctx, part, conj)
        if changed is None:
            rest[conj] = value
        else:
            made += changed
    if not made:
        yield term
        return
    yield from made
    if rest:
        yield Term(term.bound, term.atoms, rest)


def _pick(ctx: Context, term: Term) -> Term | None:
    """The term with a delta made explicit where its whole coefficient is 0 off one position."""
    if len(term.coef) < 2:
        return None
    coef = _symmetric(ctx, term)
    mentioned = sorted(ctx.coef_variables(coef))
    # A free variable too, where an entry reads it: that the two are equal is kept in the mask.
    inside = {*term.bound, *(var for atom in term.atoms for var in atom.args)}
    for old in mentioned:
        for new in mentioned:
            if old not in inside or new == old or ctx.axes[old] != ctx.axes[new]:
                continue
            if old not in term.bound and (new in term.bound or new > old):
                continue
            same = zero(variable(old) - variable(new), ctx.decider.is_real)
            if ctx.decider.vanishes(ctx.pieces(coef), [*known(ctx, term), negated(same)]):
                ctx.say("a mask that holds at one position only picks that position")
                picked = ctx.product(coef, ctx.indicator(same))
                ctx.record.step("restate", term, picked)
                return Term(term.bound, term.atoms, picked)
    return None


def _symmetric(ctx: Context, term: Term) -> Coef:
    """The mean of a coefficient over the symmetries of the atoms; the term stays what it is."""
    names = list(islice(matches(ctx, term, term), MOST_MATCHES))
    total: Coef = {}
    for mapping in names:
        total = add_coefs(total, ctx.rename_coef(term.coef, mapping), Fraction(1, len(names)))
    return total


def _equate(ctx: Context, term: Term, conj: Conj) -> list[Term] | None:
    """The term with a delta made explicit where its conjunction holds only at one position."""
    given = [*known(ctx, term), ctx.conjunction(conj)]
    mentioned = sorted({var for n in conj for var in ctx.literal_variables[n]})
    for old in mentioned:
        for new in mentioned:
            if old not in term.bound or new == old or ctx.axes[old] != ctx.axes[new]:
                continue
            same = zero(variable(old) - variable(new), ctx.decider.is_real)
            if ctx.decider.holds(same, given):
                ctx.say("a mask that holds at one position only picks that position")
                coef = ctx.product(term.coef, ctx.indicator(same))
                ctx.record.step("restate", term, coef)
                return [Term(term.bound, term.atoms, coef)]
    return None


def counted(ctx: Context, term: Term) -> Poly:
    """The term with positions that no atom mentions counted where masks bound them."""
    mentioned = {var for atom in term.atoms for var in atom.args}
    if mentioned.issuperset(term.bound):
        return (term,)
    made: list[Term] = []
    for conj, value in term.coef.items():
        part = Term(term.bound, term.atoms, {conj: value})
        made += _count(ctx, part, conj) or (part,)
    return collect(ctx, made)


def _count(ctx: Context, term: Term, conj: Conj) -> list[Term] | None:
    """The term with a bound variable that no atom mentions counted between its bounds."""
    mentioned = {var for atom in term.atoms for var in atom.args}
    for var in term.bound:
        if var in mentioned:
            continue
        found = _positions(ctx, var, conj)
        if found is None:
            continue
        counted, cases = found
        kept = tuple(n for n in conj if var not in ctx.literal_variables[n])
        bound = tuple(other for other in term.bound if other != var)
        said = both(ctx.literals[n] for n in conj if n not in kept)
        cofactor = Term(bound, term.atoms, {kept: term.coef[conj]})
        ctx.record.step("count", var, said, cofactor, cases)
        poly: Poly = (Term((), term.atoms, {kept: term.coef[conj]}),)
        poly = multiply(ctx, poly, counted)
        for other in bound:
            poly = bind(ctx, poly, other)
        ctx.say("positions between two bounds are counted")
        return list(poly)
    return None


def _positions(ctx: Context, var: Var, conj: Conj) -> tuple[Poly, list[Case]] | None:
    """How many positions of `var` satisfy a conjunction: last minus first plus 1, case by case."""
    said = [ctx.literals[n] for n in conj if var in ctx.literal_variables[n]]
    touching = [half for part in said for half in halves(part)]
    bounds = [bound_on(ctx, var, part) for part in touching]
    if not touching or any(bound is None for bound in bounds):
        return None
    low = [lin({}), *(form for b in bounds if b for side, form in [b] if side < 0)]
    high = [lin({("n", ctx.axes[var]): Fraction(1)}, -1)]
    high += [form for b in bounds if b for side, form in [b] if side > 0]
    low = _needed(ctx, low, 1)
    high = _needed(ctx, high, -1)
    if max(len(low), len(high)) > MOST_BOUNDS:
        return None
    terms: list[Term] = []
    cases: list[Case] = []
    for a, first in enumerate(low):
        for b, last in enumerate(high):
            fits = below(first - last, strict=False, is_real=ctx.decider.is_real)
            case = [*_largest(ctx, low, a, 1), *_largest(ctx, high, b, -1), fits]
            where = both(part for part in case if not ctx.decider.holds(part))
            coef = ctx.indicator(where)
            if coef:
                cases.append((where, first, last))
                length = polynomial(ctx, last - first + lin({}, 1))
                terms += multiply(ctx, (Term((), {}, coef),), length)
    return collect(ctx, terms), cases


def _needed(ctx: Context, forms: list[Lin], sign: int) -> list[Lin]:
    """Lower bounds (upper for sign -1) without those that another one always implies."""
    kept = list(dict.fromkeys(forms))
    for form in list(kept):
        for other in kept:
            stronger = below((form - other) * sign, strict=False, is_real=ctx.decider.is_real)
            if other != form and ctx.decider.holds(stronger):
                kept.remove(form)
                break
    return kept


def _largest(ctx: Context, forms: list[Lin], place: int, sign: int) -> Iterator[Formula]:
    """The conditions under which a form is the first of the largest (smallest for sign -1)."""
    for k, other in enumerate(forms):
        if k != place:
            difference = (other - forms[place]) * sign
            formula = below(difference, strict=k < place, is_real=ctx.decider.is_real)
            if formula != TRUE:
                yield formula
