"""When a polynomial is 0, and when it is never negative, as the checker sees it, with z3."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import islice

from attnverify.certify.coefs import coef_sum, renamed_coef
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import (
    TRUE,
    Form,
    Formula,
    Key,
    conjunction,
    factors,
    form,
    negation,
    renamed,
    times,
    whole_valued,
)
from attnverify.certify.kernel import MOST_MATCHES, UNITS, Atom, Class, Coef, Kernel, Poly, Term
from attnverify.certify.query import Question
from attnverify.certify.terms import add, constant, matches, multiply, scaled, single

# Functions of the list that are never negative.
NEVER_NEGATIVE = frozenset({"relu", "absolute", "root 2", "root 4"})


def question(k: Kernel) -> Question:
    """An empty question about what a certificate speaks of."""
    return Question(k.axis, k.parameters, k.declared, k.bijections, k.maps, k.quotients)


def holds(k: Kernel, formula: Formula, given: Iterable[Formula] = ()) -> bool:
    """Whether a formula is true wherever the hypotheses and the given ones are."""
    asked = question(k)
    claims = [asked.formula(f) for f in (*k.hypotheses, *given, negation(formula))]
    return "false" in claims or k.asker.impossible(asked.texts(claims))


def sum_is(
    k: Kernel, rows: Iterable[tuple[Formula, Form]], sign: str, given: Iterable[Formula]
) -> bool:
    """Whether a sum of forms times indicators is never what `sign` says: "distinct" 0, or "<" 0."""
    asked = question(k)
    claims = [asked.formula(f) for f in (*k.hypotheses, *given)]
    body, is_real = asked.total(list(rows))
    return k.asker.impossible(
        asked.texts([*claims, f"({sign} {body} {'0.0' if is_real else '0'})"])
    )


def rows_of(coef: Coef) -> list[tuple[Formula, Form]]:
    """A coefficient as forms times indicators."""
    rows = [(conjunction(conj), form({}, value)) for conj, value in coef.items()]
    return sorted(rows, key=repr)


def nonzero(k: Kernel, number: int, args: tuple[int, ...]) -> Formula:
    """[Z != 0] of a class at some variables: where its sum is positive if that is known."""
    cls = k.classes[number]
    k.used.add(("support", number))
    return opaque_nonzero(k, number, args) if cls.support is None else _support(cls, args, k)


def opaque_nonzero(k: Kernel, number: int, args: tuple[int, ...]) -> Formula:
    """[Z != 0] of a class at some variables, as a predicate of them."""
    least = min(tuple(args[n] for n in twin) for twin in k.classes[number].twins)
    return ("known", f"nonzero {number}", least)


def positive(k: Kernel, number: int, args: tuple[int, ...]) -> Formula:
    """Where a class is not 0, which the certificate has to state."""
    cls = k.classes[number]
    if cls.support is None:
        raise Rejected(f"where class {number} is not 0 is not stated")
    k.used |= {("support", number), ("stated", "support", number)}
    return _support(cls, args, k)


def _support(cls: Class, args: tuple[int, ...], k: Kernel) -> Formula:
    return renamed(cls.support or TRUE, dict(zip(cls.slots, args, strict=True)), k.reals)


def known(k: Kernel, term: Term) -> list[Formula]:
    """What holds wherever a term is not 0: what it divides by is not 0."""
    found = [
        nonzero(k, a.number, a.args) for a, e in term.atoms.items() if a.kind == "inv" and e > 0
    ]
    return sorted(set(found), key=repr)


def remaining(k: Kernel, poly: Poly) -> Poly:
    """The terms of a polynomial that are not seen to vanish."""
    left = tuple(term for term in poly if not _vanishes(k, term))
    groups: dict[frozenset[tuple[Atom, Fraction]], list[Term]] = {}
    for term in left:
        if not term.bound:
            rest = frozenset(row for row in term.atoms.items() if not is_number(*row))
            groups.setdefault(rest, []).append(term)
    gone: set[int] = set()
    for group in groups.values():
        numbers = any(is_number(a, e) for term in group for a, e in term.atoms.items())
        if numbers and _numbers_vanish(k, group):
            gone.update(map(id, group))
    return tuple(term for term in left if id(term) not in gone)


def equal(k: Kernel, left: Poly, right: Poly) -> bool:
    """Whether two polynomials are seen to be equal."""
    return not remaining(k, add(k, left, scaled(right, -1)))


def _vanishes(k: Kernel, term: Term) -> bool:
    facts = known(k, term)
    told = {part for fact in facts for part in (fact[1] if fact[0] == "and" else (fact,))}
    coef: Coef = {}
    for conj, value in term.coef.items():
        coef = coef_sum(coef, {conj - told: value})
    if not coef:
        return True
    if set(coef) == {frozenset()}:
        return False
    if sum_is(k, rows_of(coef), "distinct", facts):
        return True
    mean = _mean(k, Term(term.bound, term.atoms, coef))
    return mean != coef and (not mean or sum_is(k, rows_of(mean), "distinct", facts))


def _mean(k: Kernel, term: Term) -> Coef:
    """The mean of a coefficient over renamings of bound variables that leave the atoms alone."""
    names = list(islice(matches(k, term, term), MOST_MATCHES))
    total: Coef = {}
    for mapping in names:
        total = coef_sum(total, renamed_coef(k, term.coef, mapping), Fraction(1, len(names)))
    return total


def is_number(atom: Atom, exponent: Fraction) -> bool:
    """Whether a factor is a power of a position, a size, a parameter or an integer entry."""
    named = atom.kind in ("pos", "size", "parameter", "int") or (
        atom.kind == "positive" and not atom.label.startswith("constant ")
    )
    return named and exponent > 0 and exponent.denominator == 1


def _numbers_vanish(k: Kernel, group: list[Term]) -> bool:
    return sum_is(k, _number_rows(group), "distinct", known(k, group[0]))


def _number_rows(terms: Iterable[Term]) -> list[tuple[Formula, Form]]:
    """Terms of positions, sizes and parameters, as forms times indicators."""
    rows: list[tuple[Formula, Form]] = []
    for term in terms:
        value = form({}, 1)
        for atom, exponent in term.atoms.items():
            for _ in range(int(exponent) if is_number(atom, exponent) else 0):
                value = times(value, atom_form(atom))
        for conj, q in term.coef.items():
            rows.append((conjunction(conj), times(value, form({}, q))))
    return sorted(rows, key=repr)


def atom_form(atom: Atom) -> Form:
    """A position, size, parameter or integer entry as a form."""
    match atom.kind:
        case "pos":
            return form({("v", atom.label, atom.args[0]): Fraction(1)})
        case "size":
            return form({("n", atom.label): Fraction(1)})
        case "int":
            return form({("i", atom.label, atom.args): Fraction(1)})
    return form({("p", atom.label): Fraction(1)})


def form_poly(k: Kernel, found: Form) -> Poly:
    """A form as a polynomial."""
    result = constant(found.const)
    for key, value in found.terms:
        part = constant(value)
        for factor in factors(key):
            part = multiply(k, part, single(_number(k, factor)))
        result = add(k, result, part)
    return result


def _number(k: Kernel, key: Key) -> Atom:
    match key[0]:
        case "v":
            return Atom("pos", key[1], -1, (key[2],))
        case "n":
            return Atom("size", key[1], -1, ())
        case "p":
            kind = "positive" if k.parameters[key[1]].positive else "parameter"
            return Atom(kind, key[1], -1, ())
        case "i":
            return Atom("int", key[1], -1, key[2])
    raise Rejected("a whole part stands outside a comparison")


def integral(found: Form, k: Kernel) -> bool:
    """Whether a form is a whole number by its keys and coefficients."""
    values = [found.const, *(value for _, value in found.terms)]
    return whole_valued(found, k.reals) and all(value.denominator == 1 for value in values)


def never_negative(k: Kernel, term: Term) -> bool:
    """Whether a term is a sum of products of factors that are never negative."""
    if not all(_factor_never_negative(k, atom, e) for atom, e in term.atoms.items()):
        return False
    if all(value > 0 for value in term.coef.values()):
        return True
    return sum_is(k, rows_of(term.coef), "<", known(k, term))


def never_negatives(k: Kernel, poly: Poly) -> bool:
    """Whether no term of a polynomial is negative, or it is a number that is not."""
    return all(never_negative(k, term) for term in poly) or _number_never_negative(k, poly)


def _number_never_negative(k: Kernel, poly: Poly) -> bool:
    """Whether a polynomial of sizes, positions and parameters alone is not negative."""
    factors_ = [row for term in poly for row in term.atoms.items()]
    if not factors_ or any(term.bound for term in poly) or not all(is_number(*r) for r in factors_):
        return False
    return sum_is(k, _number_rows(poly), "<", ())


def _factor_never_negative(k: Kernel, atom: Atom, exponent: Fraction) -> bool:
    if atom.kind in UNITS or atom.kind in ("nz", "pos"):
        return True
    if exponent.denominator == 1 and exponent % 2 == 0:
        return True
    if atom.kind == "inv":
        return never_negatives(k, k.classes[atom.number].body[0])
    return atom.kind == "fn" and atom.label in NEVER_NEGATIVE
