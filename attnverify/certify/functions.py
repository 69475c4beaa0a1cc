"""What a certificate says of functions, and how each claim is checked by multiplying out.

exp of a sum is the product of the exps; inv of a product is the product of the invs, and inv of inv
is nothing; equal arguments give equal values. So each claim about a function becomes one about its
arguments, which are polynomials.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import product

from attnverify.certify.coefs import coef_product, coef_sum
from attnverify.certify.equal import (
    equal,
    holds,
    never_negative,
    opaque_nonzero,
    positive,
    rows_of,
)
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import (
    FALSE,
    Formula,
    conjunction,
    disjunction,
    exists,
    negation,
)
from attnverify.certify.kernel import ONE, UNITS, Atom, Coef, Kernel, Poly, Term
from attnverify.certify.terms import (
    add,
    constant,
    instantiated,
    multiply,
    power,
    put,
    scaled,
    single,
)

MOST_CASES = 6  # conjunctions of a coefficient that is taken case by case


def check_value(k: Kernel, name: str, arguments: tuple[Poly, ...], claimed: Poly) -> None:
    """Reject a claim that a function of some polynomials is another polynomial."""
    if name in ("exp", "inv"):
        if len(arguments) != 1:
            raise Rejected(f"{name} has one argument")
        right = (is_exp if name == "exp" else _is_inverse)(k, arguments[0], claimed)
    elif name.startswith("power "):
        right = _is_power(k, arguments[0], Fraction(name[6:]), claimed)
    else:
        right = _is_function(k, name, arguments, claimed)
    if not right:
        raise Rejected(f"{name}: the value that is claimed is not seen to be the function's")


def body_at(k: Kernel, atom: Atom, place: int = 0) -> Poly:
    """What a class is a function of, at an atom's variables."""
    cls = k.classes[atom.number]
    return instantiated(k, cls.body[place], dict(zip(cls.slots, atom.args, strict=True)))


def one_product(claimed: Poly) -> Term | None:
    """The one term without a sum that a polynomial is, if it is."""
    if len(claimed) == 1 and not claimed[0].bound:
        return claimed[0]
    return None


def is_exp(k: Kernel, argument: Poly, claimed: Poly) -> bool:
    """Whether a polynomial is a product of exps whose arguments add up to one."""
    term = one_product(claimed)
    if term is None or term.coef != ONE or any(a.kind != "exp" for a in term.atoms):
        return False
    logs = [scaled(body_at(k, atom), e) for atom, e in term.atoms.items()]
    return equal(k, argument, add(k, *logs))


def _is_inverse(k: Kernel, argument: Poly, claimed: Poly) -> bool:
    """One of the two sides is a product, whose inverse is the other: inv inv is nothing."""
    for one, other in ((claimed, argument), (argument, claimed)):
        if not one or not other:
            return equal(k, one, other)
        term = one_product(one)
        if term is not None and len(term.coef) <= MOST_CASES:
            return equal(k, other, inverse_of(k, term))
    return False


def inverse_of(k: Kernel, term: Term) -> Poly:
    """The inverse of a product: the product of the inverses."""
    if len(term.coef) > MOST_CASES:
        raise Rejected("a coefficient has too many cases")
    result: Poly = (Term((), {}, _inverse_coef(term.coef)),)
    for atom, exponent in term.atoms.items():
        if atom.kind == "inv" and exponent > 0:
            factor = power(k, body_at(k, atom), int(exponent))
        else:
            factor = single(atom) if atom.kind == "nz" else single(atom, -exponent)
        result = multiply(k, result, factor)
    return result


def _inverse_coef(coef: Coef) -> Coef:
    """The inverse of a coefficient, case by case over which of its conjunctions hold."""
    result: Coef = {}
    rows = list(coef.items())
    for truths in product((True, False), repeat=len(rows)):
        value = sum((q for (_, q), yes in zip(rows, truths, strict=True) if yes), Fraction(0))
        if not value:
            continue
        case = dict(ONE)
        for (conj, _), yes in zip(rows, truths, strict=True):
            one: Coef = {conj: Fraction(1)}
            case = coef_product(case, one if yes else coef_sum(ONE, one, -1))
        result = coef_sum(result, case, 1 / value)
    return result


def _is_power(k: Kernel, argument: Poly, exponent: Fraction, claimed: Poly) -> bool:
    """A rational power: positive factors come out of it, what is left is an opaque root."""
    if not claimed:
        return equal(k, argument, ())
    term = one_product(claimed)
    if term is None or set(term.coef) != {frozenset()} or exponent.denominator == 1:
        return False
    label = f"root {exponent.denominator}"
    base = constant(1)
    (value,) = term.coef.values()
    primes = _factorised(value)
    for atom, e in term.atoms.items():
        if atom.kind == "number":
            primes[int(atom.label)] = primes.get(int(atom.label), Fraction(0)) + e
        elif atom.kind in UNITS:
            base = multiply(k, base, single(atom, e / exponent))
        elif atom.kind == "fn" and atom.label == label and e == exponent.numerator:
            base = multiply(k, base, body_at(k, atom))
        else:
            return False
    if sum(atom.kind == "fn" for atom in term.atoms) > 1:
        return False  # the root of a product is no product of roots where two factors are negative
    whole = Fraction(1)
    for prime, e in primes.items():
        raised = e / exponent
        if raised.denominator != 1:
            return False
        whole *= Fraction(prime) ** int(raised)
    return value > 0 and equal(k, argument, scaled(base, whole))


def _factorised(value: Fraction) -> dict[int, Fraction]:
    found: dict[int, Fraction] = {}
    for rest, sign in ((abs(value.numerator), 1), (value.denominator, -1)):
        prime, left = 2, rest
        while left > 1:
            if left % prime:
                prime = prime + 1 if prime * prime <= left else left
                continue
            left //= prime
            found[prime] = found.get(prime, Fraction(0)) + sign
    return found


def _is_function(k: Kernel, name: str, arguments: tuple[Poly, ...], claimed: Poly) -> bool:
    term = one_product(claimed)
    if term is None or term.coef != ONE or len(term.atoms) != 1:
        return False
    ((atom, exponent),) = term.atoms.items()
    if (atom.kind, atom.label) != ("fn", name) or exponent != 1:
        return False
    count = len(k.classes[atom.number].body)
    bodies = [body_at(k, atom, place) for place in range(count)]
    return len(arguments) == count and all(
        equal(k, one, other) for one, other in zip(arguments, bodies, strict=True)
    )


def check_twin(k: Kernel, number: int, order: tuple[int, ...]) -> None:
    """Reject the claim that an order of a class's slots leaves its polynomials unchanged."""
    cls = k.classes[number]
    if sorted(order) != list(range(len(cls.slots))):
        raise Rejected(f"{order} is no order of the slots of class {number}")
    if [k.axis(cls.slots[n]) for n in order] != [k.axis(v) for v in cls.slots]:
        raise Rejected(f"class {number}: the order {order} mixes axes")
    names: Mapping[int, int] = {cls.slots[n]: cls.slots[m] for n, m in enumerate(order)}
    for poly in cls.body:
        if not equal(k, poly, instantiated(k, poly, names)):
            raise Rejected(f"class {number} is not seen to be the same in the order {order}")


def bodies_at(k: Kernel, atom: Atom) -> tuple[Poly, ...]:
    """What a class is a function of, at an atom's variables."""
    return tuple(body_at(k, atom, place) for place in range(len(k.classes[atom.number].body)))


def check_atom(
    k: Kernel, power_of: tuple[Atom, Fraction], bodies: tuple[Poly, ...], claimed: Poly
) -> None:
    """Reject the claim that a power of a class's function of some polynomials is a polynomial."""
    atom, exponent = power_of
    if atom.kind == "exp":
        check_value(k, "exp", (scaled(bodies[0], exponent),), claimed)
    elif atom.kind == "inv" and exponent.denominator == 1 and exponent > 0:
        check_value(k, "inv", (power(k, bodies[0], int(exponent)),), claimed)
    elif atom.kind == "fn":
        term = one_product(claimed)
        base: Poly = ()
        if term is not None and len(term.atoms) == 1:
            ((made, e),) = term.atoms.items()
            base = single(made) if e == exponent and term.coef == ONE else ()
        check_value(k, atom.label, bodies, base)
    else:
        raise Rejected(f"no rule for {atom.kind} to the power {exponent} at arguments that are one")


def check_support(k: Kernel, number: int, support: Formula) -> None:
    """Reject the claim that a class is not 0 exactly where a formula holds.

    None of its terms may be negative; where one whose factors are positive is not 0 the sum is
    positive; the others must be 0 wherever the formula is false.
    """
    positive: list[Formula] = []
    others: list[Formula] = []
    for term in _with_sizes_summed(k, k.classes[number].body[0]):
        if not never_negative(k, term):
            raise Rejected(f"class {number}: a term may be negative")
        where = _positive_where(k, term)
        target = others if where is None else positive
        if where is None:
            where = disjunction(conjunction(conj) for conj in term.coef)
        for var in term.bound:
            where = exists(var, k.axis(var), where, k.reals)
        target.append(where)
    due = disjunction(positive)
    if due != support and not (holds(k, support, [due]) and holds(k, due, [support])):
        raise Rejected(f"class {number} is not seen to be positive exactly there")
    for where in others:
        if not holds(k, support, [where]):
            raise Rejected(f"class {number}: a term is not seen to be 0 elsewhere")


def _with_sizes_summed(k: Kernel, poly: Poly) -> Poly:
    """The polynomial with n A + sum_v c(v) A as sum_v (1 + c(v)) A, for n the size of v's axis."""
    rest = list(poly)
    for term in poly:
        if len(term.bound) != 1 or any(term.bound[0] in atom.args for atom in term.atoms):
            continue
        atoms = dict(term.atoms)
        put(atoms, Atom("size", k.axis(term.bound[0]), -1, ()), Fraction(1))
        for other in rest:
            if not other.bound and other.atoms == atoms and term in rest:
                rest = [one for one in rest if one is not other and one is not term]
                rest.append(term._replace(coef=coef_sum(term.coef, other.coef)))
                break
    return tuple(rest)


def _positive_where(k: Kernel, term: Term) -> Formula | None:
    """Where a term of positive factors is positive, whatever it sums over apart."""
    parts: list[Formula] = []
    for atom, exponent in term.atoms.items():
        if atom.kind == "inv" and exponent > 0:
            cls = k.classes[atom.number]
            rule = opaque_nonzero if cls.support is None else positive
            parts.append(rule(k, atom.number, atom.args))
        elif atom.kind not in UNITS:
            return None
    return conjunction([_coef_positive(term.coef), *parts])


def _coef_positive(coef: Coef) -> Formula:
    """Where a coefficient is positive, case by case over which of its conjunctions hold."""
    rows = rows_of(coef)
    if len(rows) == 1:
        return rows[0][0] if rows[0][1].const > 0 else FALSE
    if len(rows) > MOST_CASES:
        raise Rejected("a coefficient has too many cases")
    cases = (
        conjunction(w if yes else negation(w) for (w, _), yes in zip(rows, truths, strict=True))
        for truths in product((True, False), repeat=len(rows))
        if sum(f.const for (_, f), yes in zip(rows, truths, strict=True) if yes) > 0
    )
    return disjunction(cases)
