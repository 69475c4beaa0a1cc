"""Sums of products: arithmetic, and like terms collected up to the names of what they bind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import permutations

from attnverify.certify.coefs import coef_product, coef_sum, coef_variables, renamed_coef
from attnverify.certify.deltas import equated, fixed
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import Names, Var, variables
from attnverify.certify.kernel import (
    CLASSES,
    MOST_POWER,
    MOST_TERMS,
    ONE,
    UNITS,
    Atom,
    Coef,
    Conj,
    Kernel,
    Poly,
    Term,
)

# ---- products


def put(atoms: dict[Atom, Fraction], atom: Atom, exponent: Fraction) -> None:
    """Multiply by a power of an atom, in place.

    T T inv(T) = T for a ring element, so exponents add unless they meet at 0, where [T != 0] is
    left (kind nz), which every power of T absorbs.
    """
    if atom.kind == "nz":
        kind, _, label = atom.label.partition(" ")
        if Atom(kind, label, atom.number, atom.args) not in atoms:
            atoms[atom] = Fraction(1)
        return
    before = atoms.pop(atom, Fraction(0))
    after = before + exponent
    mark = Atom("nz", f"{atom.kind} {atom.label}", atom.number, atom.args)
    if after:
        atoms[atom] = after
        atoms.pop(mark, None)
    elif before and atom.kind not in UNITS:
        atoms[mark] = Fraction(1)


def constant(value: Fraction | int) -> Poly:
    """A number."""
    return (Term((), {}, {frozenset(): Fraction(value)}),) if value else ()


def single(atom: Atom, exponent: Fraction | int = 1) -> Poly:
    """A power of an atom."""
    return (Term((), {atom: Fraction(exponent)}, dict(ONE)),)


def scaled(poly: Poly, factor: Fraction | int) -> Poly:
    """A polynomial times a number."""
    return tuple(
        Term(t.bound, t.atoms, {c: q * factor for c, q in t.coef.items()}) for t in poly if factor
    )


def freshened(k: Kernel, term: Term) -> Term:
    """The term with variables of its own for those that it binds."""
    names = {var: k.fresh(k.axis(var)) for var in term.bound}
    return _renamed_bound(k, term, names) if names else term


def _renamed_bound(k: Kernel, term: Term, names: Names) -> Term:
    atoms: dict[Atom, Fraction] = {}
    for atom, exponent in term.atoms.items():
        moved = atom._replace(args=tuple(names.get(arg, arg) for arg in atom.args))
        put(atoms, k.canonical(moved), exponent)
    return Term(
        tuple(names.get(v, v) for v in term.bound), atoms, renamed_coef(k, term.coef, names)
    )


def multiply(k: Kernel, left: Poly, right: Poly) -> Poly:
    """The product; each factor's bound variables are made new."""
    terms: list[Term] = []
    for one in left:
        for other in right:
            first, second = freshened(k, one), freshened(k, other)
            atoms = dict(first.atoms)
            for atom, exponent in second.atoms.items():
                put(atoms, atom, exponent)
            terms.append(
                Term(first.bound + second.bound, atoms, coef_product(first.coef, second.coef))
            )
    return tidied(k, terms)


def power(k: Kernel, poly: Poly, exponent: int) -> Poly:
    """A polynomial to a whole power of at least 0."""
    if exponent > MOST_POWER:
        raise Rejected(f"a power of {exponent} is not multiplied out")
    result = constant(1)
    for _ in range(exponent):
        result = multiply(k, result, poly)
    return result


def add(k: Kernel, *polys: Poly) -> Poly:
    """The sum."""
    return tidied(k, [term for poly in polys for term in poly])


def bind(k: Kernel, poly: Poly, *over: Var) -> Poly:
    """The sum over free variables."""
    return tidied(k, [freshened(k, Term((*t.bound, *over), t.atoms, t.coef)) for t in poly])


def instantiated(k: Kernel, poly: Poly, names: Names) -> Poly:
    """A polynomial with free variables replaced."""
    found: list[Term] = []
    for term in poly:
        own = freshened(k, term)
        found += _replaced(k, Term(own.bound, own.atoms, renamed_coef(k, own.coef, names)), names)
    return tidied(k, found)


def _replaced(k: Kernel, term: Term, names: Names) -> Poly:
    """The term with variables of its atoms replaced; its coefficient has been renamed already.

    Where two arguments of a class are one now, a collapse that the certificate states is used.
    """
    atoms: dict[Atom, Fraction] = {}
    again: list[Poly] = []
    for atom, exponent in term.atoms.items():
        args = tuple(names.get(arg, arg) for arg in atom.args)
        moved = atom._replace(args=args)
        collapsed = _collapsed(k, moved, exponent) if args != atom.args else None
        if collapsed is None:
            put(atoms, k.canonical(moved), exponent)
        else:
            again.append(collapsed)
    if not again:
        return (Term(term.bound, atoms, term.coef),)
    result: Poly = (Term((), atoms, term.coef),)
    for factor in again:
        result = multiply(k, result, factor)
    return bind(k, result, *term.bound)


def _collapsed(k: Kernel, atom: Atom, exponent: Fraction) -> Poly | None:
    if atom.kind not in CLASSES or len(set(atom.args)) == len(atom.args):
        return None
    for args in k.twins(atom):
        key = (atom.kind, atom.label, atom.number, pattern(args), exponent)
        if key in k.collapses:
            k.used.add(("collapse", *key))
            variables_of, poly = k.collapses[key]
            return instantiated(k, poly, dict(zip(variables_of, args, strict=True)))
    return None


def pattern(args: tuple[Var, ...]) -> tuple[int, ...]:
    """Which arguments are one: each one's first place."""
    return tuple(args.index(arg) for arg in args)


def free(poly: Iterable[Term]) -> set[Var]:
    """The variables of a polynomial that its terms do not bind."""
    found: set[Var] = set()
    for term in poly:
        inside = {v for atom in term.atoms for v in atom.args} | coef_variables(term.coef)
        found |= inside - set(term.bound)
    return found


# ---- like terms


def tidied(k: Kernel, terms: Iterable[Term]) -> Poly:
    """The sum of terms, deltas eliminated, idle sums counted, like terms collected."""
    queue = list(terms)
    kept: dict[object, list[Term]] = {}
    while queue:
        term = _without_whole_powers(queue.pop())
        if not term.coef:
            continue
        split = _delta(k, term)
        split = fixed(k, term) if split is None else split
        split = _idle(k, term) if split is None else split
        if split is not None:
            queue += split
        else:
            _collect(k, kept, term)
        if len(queue) > MOST_TERMS:
            raise Rejected("an expression grows beyond what is checked")
    return tuple(term for group in kept.values() for term in group if term.coef)


def _without_whole_powers(term: Term) -> Term:
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
    return Term(term.bound, atoms, {c: q * factor for c, q in term.coef.items()})


def is_tidy(k: Kernel, term: Term) -> bool:
    """Whether a term has no delta to carry out and no idle sum to count."""
    return _delta(k, term) is None and fixed(k, term) is None and _idle(k, term) is None


def _delta(k: Kernel, term: Term) -> list[Term] | None:
    """The term with one delta carried out on the conjunction that has it."""
    for conj, value in term.coef.items():
        for formula in sorted(conj, key=repr):
            pair = equated(k, formula)
            if pair is None:
                continue
            old, new = pair if pair[0] in term.bound else pair[::-1]
            bound = old in term.bound
            if not bound:
                new, old = pair[::-1] if pair[1] in k.ends.values() else sorted(pair)
                if not _mentions(term, conj - {formula}, old):
                    continue
            names = {old: new}
            coef = renamed_coef(k, {conj - {formula}: value}, names)
            coef = coef if bound else coef_product(coef, {frozenset((formula,)): Fraction(1)})
            over = tuple(v for v in term.bound if v != old)
            made = list(_replaced(k, Term(over, term.atoms, coef), names))
            rest = {c: q for c, q in term.coef.items() if c != conj}
            return [*made, Term(term.bound, term.atoms, rest)] if rest else made
    return None


def _mentions(term: Term, conj: Conj, var: Var) -> bool:
    return any(var in atom.args for atom in term.atoms) or any(
        var in set(variables(f)) for f in conj
    )


def _idle(k: Kernel, term: Term) -> list[Term] | None:
    """The term with variables that a conjunction does not touch, nor any atom, made sizes."""
    mentioned = {v for atom in term.atoms for v in atom.args}
    bare = [v for v in term.bound if v not in mentioned]
    groups: dict[tuple[Var, ...], Coef] = {}
    for conj, value in term.coef.items():
        seen = {v for formula in conj for v in variables(formula)}
        groups.setdefault(tuple(v for v in bare if v not in seen), {})[conj] = value
    if set(groups) <= {()}:
        return None
    made = []
    for idle, coef in groups.items():
        atoms = dict(term.atoms)
        for var in idle:
            put(atoms, Atom("size", k.axis(var), -1, ()), Fraction(1))
        made.append(Term(tuple(v for v in term.bound if v not in idle), atoms, coef))
    return made


def _collect(k: Kernel, kept: dict[object, list[Term]], term: Term) -> None:
    group = kept.setdefault(_shape(k, term), [])
    for place, other in enumerate(group):
        names = next(matches(k, term, other), None)
        if names is not None:
            coef = coef_sum(other.coef, renamed_coef(k, term.coef, names))
            group[place] = Term(other.bound, other.atoms, coef)
            return
    group.append(term)


def _shape(k: Kernel, term: Term) -> object:
    """What equal terms share whatever their bound variables are called."""
    bound = set(term.bound)
    rows = []
    for atom, exponent in term.atoms.items():
        args = sorted((k.axis(v), -1) if v in bound else ("", v) for v in atom.args)
        rows.append((atom.kind, atom.label, atom.number, exponent, tuple(args)))
    return tuple(sorted(rows)), tuple(sorted(map(k.axis, term.bound)))


def matches(k: Kernel, left: Term, right: Term) -> Iterator[dict[Var, Var]]:
    """One-to-one renamings of bound variables that carry the atoms of one term to the other's."""
    if len(left.atoms) == len(right.atoms) and len(left.bound) == len(right.bound):
        yield from _matched(k, (left, right), list(left.atoms), frozenset(), {})


def _matched(
    k: Kernel,
    pair: tuple[Term, Term],
    rest: list[Atom],
    taken: frozenset[Atom],
    names: dict[Var, Var],
) -> Iterator[dict[Var, Var]]:
    left, right = pair
    if not rest:
        yield from _completed(k, pair, names)
        return
    atom = rest[0]
    for other, exponent in right.atoms.items():
        if other in taken or other[:3] != atom[:3] or exponent != left.atoms[atom]:
            continue
        for args in k.twins(other):
            if args != other.args:
                k.used.add(("twin", other.number))
            longer = _extended(k, pair, names, zip(atom.args, args, strict=True))
            if longer is not None:
                yield from _matched(k, pair, rest[1:], taken | {other}, longer)


def _extended(
    k: Kernel, pair: tuple[Term, Term], names: dict[Var, Var], rows: Iterable[tuple[Var, Var]]
) -> dict[Var, Var] | None:
    result = dict(names)
    for old, new in rows:
        if old not in pair[0].bound:
            if old != new:
                return None
        elif old in result:
            if result[old] != new:
                return None
        elif new not in pair[1].bound or k.axis(old) != k.axis(new) or new in result.values():
            return None
        else:
            result[old] = new
    return result


def _completed(
    k: Kernel, pair: tuple[Term, Term], names: dict[Var, Var]
) -> Iterator[dict[Var, Var]]:
    """Renamings completed on bound variables that no atom mentions."""
    old = [v for v in pair[0].bound if v not in names]
    new = [v for v in pair[1].bound if v not in names.values()]
    for order in permutations(new):
        if all(k.axis(a) == k.axis(b) for a, b in zip(old, order, strict=True)):
            yield {**names, **dict(zip(old, order, strict=True))}
