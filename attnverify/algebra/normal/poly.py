"""Arithmetic of polynomials: merge, multiply, substitute, sum; deltas go on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from attnverify.algebra.normal.core import (
    CLASSES,
    Atom,
    Coef,
    Conj,
    Context,
    GaveUp,
    Poly,
    Term,
    add_coefs,
    raise_atom,
    scale,
)
from attnverify.algebra.normal.forms import Var, form_variables, integral, lin, variable
from attnverify.algebra.normal.formulas import Formula, Zero, below, both, placed
from attnverify.algebra.normal.match import matches, signature

MOST_TERMS = 300  # a polynomial with more terms is not a proof that anybody waits for
ONE_COEF: Coef = {(): Fraction(1)}


def constant(value: Fraction | int) -> Poly:
    """A number as a polynomial."""
    return (Term((), {}, {(): Fraction(value)}),) if value else ()


def single(atom: Atom, exponent: Fraction | int = 1) -> Poly:
    """A power of one atom as a polynomial."""
    return (Term((), {atom: Fraction(exponent)}, dict(ONE_COEF)),)


def indicator_poly(coef: Coef) -> Poly:
    """A coefficient as a polynomial."""
    return (Term((), {}, coef),) if coef else ()


def collect(ctx: Context, terms: Iterable[Term]) -> Poly:
    """The sum of terms: deltas eliminated, terms equal up to their bound names merged."""
    queue, plain = list(terms), list[Term]()
    while queue:
        term = queue.pop(0)
        term = _whole(term)
        if not term.coef:
            continue
        split = _delta(ctx, term)
        if split is not None:
            queue[:0] = split
            continue
        plain.append(term)
    result = _merged(ctx, plain)
    if len(result) > MOST_TERMS:
        raise GaveUp(f"an expression grew to {len(result)} terms")
    return result


def _whole(term: Term) -> Term:
    """The term with whole powers of its prime factors moved into the coefficient."""
    large = [a for a, e in term.atoms.items() if a.kind == "number" and not 0 < e < 1]
    if not large:
        return term
    atoms, factor = dict(term.atoms), Fraction(1)
    for atom in large:
        exponent = atoms.pop(atom)
        whole = exponent.numerator // exponent.denominator
        factor *= Fraction(int(atom.label)) ** whole
        if exponent != whole:
            atoms[atom] = exponent - whole
    return Term(term.bound, atoms, scale(term.coef, factor))


def _merged(ctx: Context, terms: list[Term]) -> Poly:
    """The terms, those that are equal up to their bound names in one; most stand alone."""
    if len(terms) < 2:
        return tuple(terms)
    kept: dict[tuple[int, ...], list[Term]] = {}
    for term in terms:
        _merge(ctx, kept, term)
    return tuple(term for group in kept.values() for term in group)


def _merge(ctx: Context, kept: dict[tuple[int, ...], list[Term]], term: Term) -> None:
    group = kept.setdefault(signature(ctx, term), [])
    for place, other in enumerate(group):
        mapping = next(matches(ctx, term, other), None)
        if mapping is not None:
            coef = add_coefs(other.coef, ctx.rename_coef(term.coef, mapping))
            if coef:
                group[place] = Term(other.bound, other.atoms, coef, other.signs)
            else:
                del group[place]
            return
    group.append(term)


def _delta(ctx: Context, term: Term) -> list[Term] | None:
    """The term without one delta: a conjunction with [a = b] is split off, a replaced by b.

    The first and the last position of an axis are variables too.
    """
    for conj in term.coef:
        for number in conj:
            pair = equated(ctx, number)
            if pair is None:
                end = ended(ctx, number)
                if end is not None and (end[0] in term.bound or end[0] in read_by(term)):
                    return _at_end(ctx, term, (conj, number), end)
                fixed = _fixed(ctx, term, conj, number)
                if fixed is not None:
                    return fixed
                continue
            old, new = pair if pair[0] in term.bound else pair[::-1]
            if old not in term.bound:
                new, old = sorted(pair)
                if not _occurs(ctx, term, conj, number, old):
                    continue
            return _without(ctx, term, (conj, number), {old: new})
    return None


def _without(
    ctx: Context, term: Term, delta: tuple[Conj, int], names: Mapping[Var, Var]
) -> list[Term]:
    """The term with one conjunction's delta gone, and what other conjunctions it has."""
    (conj, number), (old,) = delta, names
    rest = {other: value for other, value in term.coef.items() if other != conj}
    reduced = tuple(n for n in conj if n != number)
    coef = ctx.rename_coef({reduced: term.coef[conj]}, names)
    if old not in term.bound:
        coef = ctx.product(coef, {(number,): Fraction(1)})
    bound = tuple(var for var in term.bound if var != old)
    made = [*_replace(ctx, Term(bound, term.atoms, coef), names)]
    # A bound variable that nothing mentions any more counts the positions of its axis.
    made = [piece for part in made for piece in _counted(ctx, part)]
    return [*made, Term(term.bound, term.atoms, rest)] if rest else made


def equated(ctx: Context, number: int) -> tuple[Var, Var] | None:
    """The two variables of one axis that a literal says are equal, if that is what it says."""
    match ctx.literals[number]:
        case Zero(form) if len(form.terms) == 2 and form.const == 0:
            (one, p), (other, q) = form.terms
            plain = one[0] == other[0] == "v" and one[1] == other[1] == ""
            if plain and p == -q and ctx.axes[one[2]] == ctx.axes[other[2]]:
                return one[2], other[2]
    return None


def read_by(term: Term) -> set[Var]:
    """The variables that a term's atoms mention."""
    return {var for atom in term.atoms for var in atom.args}


def _at_end(ctx: Context, term: Term, delta: tuple[Conj, int], pair: tuple[Var, Var]) -> list[Term]:
    """The term with a conjunction split off whose variable stands at an end of its axis.

    Atoms read the variable that is there, masks the position as a number where they can.
    """
    (conj, number), (old, new) = delta, pair
    rest = {other: q for other, q in term.coef.items() if other != conj}
    coef: Coef = {(): term.coef[conj]}
    if old not in term.bound:
        coef = ctx.product(coef, {(number,): Fraction(1)})
    (axis, last) = next(key for key, var in ctx.ends.items() if var == new)
    value = lin({("n", axis): Fraction(1)}, -1) if last else lin({})
    for n in conj:
        if n != number:
            part = placed(ctx.literals[n], old, value, ctx.decider.is_real)
            kept = ctx.rename_coef({(n,): Fraction(1)}, {old: new})
            coef = ctx.product(coef, kept if part is None else ctx.indicator(part))
    bound = tuple(var for var in term.bound if var != old)
    made = [*_replace(ctx, Term(bound, term.atoms, coef), {old: new})]
    made = [piece for part in made for piece in _counted(ctx, part)]
    return [*made, Term(term.bound, term.atoms, rest)] if rest else made


def _fixed(ctx: Context, term: Term, conj: Conj, number: int) -> list[Term] | None:
    """The term without a bound variable that a literal gives a value, and only masks mention.

    sum_u [u = f] [p(u)] is [0 <= f < n] [p(f)].
    """
    formula = ctx.literals[number]
    if not isinstance(formula, Zero):
        return None
    keys = dict(formula.form.terms)
    for var in term.bound:
        key = ("v", "", var)
        if keys.get(key) not in (1, -1) or any(var in atom.args for atom in term.atoms):
            continue
        value = variable(var) - formula.form * keys[key]
        whole = all(q.denominator == 1 for q in (value.const, *(q for _, q in value.terms)))
        inside = var in set(form_variables(value))
        if inside or not whole or not integral(value, ctx.decider.is_real):
            continue
        real = ctx.decider.is_real
        last = lin({("n", ctx.axes[var]): Fraction(1)}, -1)
        parts: list[Formula | None] = [
            below(value * -1, strict=False, is_real=real),
            below(value - last, strict=False, is_real=real),
            *(placed(ctx.literals[n], var, value, real) for n in conj if n != number),
        ]
        kept = [part for part in parts if part is not None]
        if len(kept) < len(parts):
            continue
        rest = {other: q for other, q in term.coef.items() if other != conj}
        coef = scale(ctx.indicator(both(kept)), term.coef[conj])
        bound = tuple(other for other in term.bound if other != var)
        made = [Term(bound, term.atoms, coef)]
        made = [piece for part in made for piece in _counted(ctx, part)]
        return [*made, Term(term.bound, term.atoms, rest)] if rest else made
    return None


def ended(ctx: Context, number: int) -> tuple[Var, Var] | None:
    """The variable that a literal puts at the first or last position, and the one that is there."""
    match ctx.literals[number]:
        case Zero(form) if ctx.to_ends:
            keys = dict(form.terms)
            places = [key for key in keys if key[0] == "v" and key[1] == ""]
            if len(places) != 1 or keys[places[0]] not in (1, -1):
                return None
            (key,) = places
            axis = ctx.axes[key[2]]
            form = form * keys[key]
            if form == variable(key[2]):
                return key[2], ctx.end(axis, last=False)
            if form == variable(key[2]) - lin({("n", axis): Fraction(1)}, -1):
                return key[2], ctx.end(axis, last=True)
    return None


def _occurs(ctx: Context, term: Term, conj: Conj, number: int, var: Var) -> bool:
    return any(var in atom.args for atom in term.atoms) or any(
        var in ctx.literal_variables[n] for n in conj if n != number
    )


def _counted(ctx: Context, term: Term) -> list[Term]:
    """The term with bound variables that nothing mentions turned into sizes, by conjunction."""
    mentioned = {var for atom in term.atoms for var in atom.args}
    bare = [var for var in term.bound if var not in mentioned]
    if not bare:
        return [term]
    groups: dict[tuple[Var, ...], Coef] = {}
    for conj, value in term.coef.items():
        seen = {var for n in conj for var in ctx.literal_variables[n]}
        idle = tuple(var for var in bare if var not in seen)
        groups.setdefault(idle, {})[conj] = value
    result = []
    for idle, coef in groups.items():
        atoms = dict(term.atoms)
        for var in idle:
            raise_atom(atoms, ctx.atom("size", ctx.axes[var], -1, ()), Fraction(1))
        result.append(Term(tuple(v for v in term.bound if v not in idle), atoms, coef))
    return result


def _replace(ctx: Context, term: Term, names: Mapping[Var, Var]) -> Poly:
    """The term with variables of its atoms replaced; its coefficient has been renamed already."""
    atoms: dict[Atom, Fraction] = {}
    again: list[Poly] = []
    for atom, exponent in term.atoms.items():
        args = tuple(names.get(arg, arg) for arg in atom.args)
        if args == atom.args:
            raise_atom(atoms, atom, exponent)
        elif atom.kind in CLASSES and len(set(args)) < len(args):
            cls = ctx.classes[atom.number]
            places = dict(zip(cls.slots, args, strict=True))
            bundle = tuple(instantiate(ctx, poly, places) for poly in cls.body)
            made = ctx.makers[atom.kind](ctx, atom.label, bundle, exponent)
            place = Atom(atom.kind, atom.label, atom.number, args)
            ctx.record.collapses[place, exponent] = made
            again.append(made)
        else:
            raise_atom(atoms, ctx.atom(atom.kind, atom.label, atom.number, args), exponent)
    result: Poly = (Term(term.bound, atoms, term.coef),)
    if not again:
        return result
    # The factors are made under the term's own sum: its bound variables are free in them.
    result = (Term((), atoms, term.coef),)
    for factor in again:
        result = multiply(ctx, result, factor)
    for var in term.bound:
        result = bind(ctx, result, var)
    return result


def instantiate(ctx: Context, poly: Poly, names: Mapping[Var, Var]) -> Poly:
    """A polynomial with free variables replaced at once; what it binds gets new names first."""
    result: list[Term] = []
    for term in poly:
        inner = {**names, **ctx.freshen(term.bound)}
        bound = tuple(inner[var] for var in term.bound)
        _assert_apart(bound, names)
        coef = ctx.rename_coef(term.coef, inner)
        result += _replace(ctx, Term(bound, term.atoms, coef), inner)
    return collect(ctx, result)


def _assert_apart(bound: tuple[Var, ...], names: Mapping[Var, Var]) -> None:
    if set(bound) & set(names.values()):
        raise AssertionError("a substitution would capture a bound variable")


def freshened(ctx: Context, term: Term) -> Term:
    """The same term with new names for what it binds."""
    names = ctx.freshen(term.bound)
    if not names:
        return term
    (result,) = _replace(
        ctx,
        Term(tuple(names.values()), term.atoms, ctx.rename_coef(term.coef, names)),
        names,
    )
    return result


def multiply(ctx: Context, left: Poly, right: Poly) -> Poly:
    """The product of two polynomials; both are freshened, so that nothing is captured."""
    terms: list[Term] = []
    for one in left:
        for other in right:
            first, second = freshened(ctx, one), freshened(ctx, other)
            atoms = dict(first.atoms)
            for atom, exponent in second.atoms.items():
                raise_atom(atoms, atom, exponent)
            coef = ctx.product(first.coef, second.coef)
            terms.append(Term(first.bound + second.bound, atoms, coef))
        if len(terms) > 4 * MOST_TERMS:
            raise GaveUp(f"a product grew to {len(terms)} terms")
    return collect(ctx, terms)


def add(ctx: Context, *polys: Poly) -> Poly:
    """The sum of polynomials."""
    return collect(ctx, (term for poly in polys for term in poly))


def scaled(poly: Poly, factor: Fraction | int) -> Poly:
    """A polynomial times a number."""
    if not factor:
        return ()
    return tuple(Term(t.bound, t.atoms, scale(t.coef, factor), t.signs) for t in poly)


def raised(ctx: Context, poly: Poly, exponent: int) -> Poly:
    """A polynomial to a whole power of at least 0."""
    result = constant(1)
    for _ in range(exponent):
        result = multiply(ctx, result, poly)
    return result


def bind(ctx: Context, poly: Poly, var: Var) -> Poly:
    """The sum of a polynomial over one of its free variables."""
    terms: list[Term] = []
    for place, term in enumerate(poly):
        whole = Term((*term.bound, var), term.atoms, term.coef)
        if place:  # each term binds a variable of its own
            whole = freshened(ctx, whole)
        terms += _counted(ctx, whole)
    return collect(ctx, terms)


def free_variables(ctx: Context, poly: Poly) -> set[Var]:
    """The variables of a polynomial that no term of it binds."""
    found: set[Var] = set()
    for term in poly:
        found |= term.free() | (ctx.coef_variables(term.coef) - set(term.bound))
    return found
