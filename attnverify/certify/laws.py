"""The laws: polynomials that are 0 whatever the inputs are, and may be taken from a difference."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from attnverify.certify.coefs import coef_sum, coef_variables, indicator, renamed_coef
from attnverify.certify.equal import (
    equal,
    form_poly,
    holds,
    integral,
    opaque_nonzero,
    positive,
    remaining,
)
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import (
    TRUE,
    Form,
    Formula,
    Var,
    below,
    conjunction,
    disjunction,
    form,
    form_variables,
    negation,
    plus,
    position,
    variables,
)
from attnverify.certify.functions import bodies_at, body_at, check_atom
from attnverify.certify.kernel import CLASSES, Atom, Kernel, Poly, Term
from attnverify.certify.lines import Tree, exactly, items, split, text, variable, whole
from attnverify.certify.parse import (
    read_coef,
    read_form,
    read_formula,
    read_poly,
    read_power,
    read_raw,
)
from attnverify.certify.terms import (
    add,
    bind,
    constant,
    freshened,
    instantiated,
    is_tidy,
    multiply,
    power,
    scaled,
    single,
)

NONZERO = {"positive": positive, "nonzero": opaque_nonzero}


def inverse_law(k: Kernel, parts: tuple[Tree, ...]) -> Poly:
    """`(law class how (variables) F)`: the sum of F (Z inv(Z) - [Z != 0]), which is 0."""
    number, how, args, term = exactly(parts, 4)
    raw = read_raw(k, term)
    told = Atom("inv", "", whole(number), tuple(k.spoken(variable(arg)) for arg in items(args)))
    if text(how) not in NONZERO:
        raise Rejected(f"no such way to say that a class is not 0: {how!r}")
    _check_inverse(k, told)
    if not is_tidy(k, raw._replace(atoms={**raw.atoms, told: Fraction(1)})):
        raise Rejected("a cofactor is not told in its plainest form")
    own = {var: k.fresh(k.axis(var)) for var in raw.bound}
    inv = told._replace(args=tuple(own.get(var, var) for var in told.args))
    product = multiply(k, body_at(k, inv), single(k.canonical(inv)))
    support = Term((), {}, indicator(NONZERO[text(how)](k, inv.number, inv.args)))
    law = add(k, product, scaled((support,), -1))
    return summed(k, raw, own, law)


def _check_inverse(k: Kernel, inv: Atom) -> None:
    k.used.add(("class", inv.number))
    cls = k.classes.get(inv.number)
    if cls is None or [k.axis(v) for v in cls.slots] != [k.axis(v) for v in inv.args]:
        raise Rejected(f"class {inv.number} is not defined along these axes")
    if len(cls.body) != 1:
        raise Rejected("inv has one argument")


def summed(k: Kernel, raw: Term, own: Mapping[Var, Var], factor: Poly) -> Poly:
    """The sum, over what a term binds, of the term times a polynomial."""
    cofactor = instantiated(k, (Term((), raw.atoms, raw.coef),), own)
    return bind(k, multiply(k, cofactor, factor), *own.values())


def restatement(k: Kernel, parts: tuple[Tree, ...]) -> Poly:
    """`(restate T coefficient)`: T less the same with another coefficient that is equal."""
    term, coef = exactly(parts, 2)
    raw = read_raw(k, term)
    one, other = freshened(k, raw), freshened(k, Term(raw.bound, raw.atoms, read_coef(k, coef)))
    names = dict(zip(other.bound, one.bound, strict=True))
    rest = coef_sum(one.coef, renamed_coef(k, other.coef, names), -1)
    if remaining(k, (Term(one.bound, one.atoms, rest),)):
        raise Rejected("a coefficient is not seen to be equal to what it is restated as")
    return add(k, (one,), scaled((other,), -1))


def counting(k: Kernel, parts: tuple[Tree, ...]) -> Poly:
    """`(count v where F ((case first last) ...))`: F (sum over v of [where]) less F times a count.

    The cases exclude each other; in each of them [where] holds exactly from first to last, which
    are positions of the axis or one apart.
    """
    var_tree, where_tree, term, rows = exactly(parts, 4)
    raw, var = read_raw(k, term), k.bindable(k.spoken(variable(var_tree)))
    where = read_formula(k, where_tree)
    atoms = {v for atom in raw.atoms for v in atom.args}
    if var in atoms | set(raw.bound) | coef_variables(raw.coef):
        raise Rejected("what is counted stands in the term too")
    number: Poly = ()
    cases: list[Formula] = []
    for row in items(rows):
        case, first, last = exactly(items(row), 3)
        bounds = (read_form(k, first), read_form(k, last))
        cases.append(read_formula(k, case))
        _check_case(k, (var, where), cases[-1], bounds)
        length = form_poly(k, plus(plus(bounds[1], bounds[0], -1), form({}, 1)))
        number = add(k, number, multiply(k, (Term((), {}, indicator(cases[-1])),), length))
    _check_cases(k, where, cases)
    own = {v: k.fresh(k.axis(v)) for v in raw.bound}
    mask: Poly = (Term((), {}, renamed_coef(k, indicator(where), own)),)
    there = k.fresh(k.axis(var))
    positions = bind(k, instantiated(k, mask, {var: there}), there)
    return summed(k, raw, own, add(k, positions, scaled(instantiated(k, number, own), -1)))


def _check_cases(k: Kernel, where: Formula, cases: list[Formula]) -> None:
    """What is counted is counted in one case and no more."""
    if not holds(k, disjunction(cases), [where]):
        raise Rejected("a position is counted in no case")
    for n, one in enumerate(cases):
        for other in cases[:n]:
            if not holds(k, negation(conjunction([one, other]))):
                raise Rejected("two cases of a count meet")


def _check_case(
    k: Kernel, counted: tuple[Var, Formula], case: Formula, bounds: tuple[Form, Form]
) -> None:
    """In a case the positions that are counted are exactly those from the first to the last."""
    (var, where), (first, last) = counted, bounds
    if not (integral(first, k) and integral(last, k)):
        raise Rejected("a bound of a count is no whole number")
    if var in {*variables(case), *form_variables(first), *form_variables(last)}:
        raise Rejected("a case of a count depends on what is counted")
    size = form({("n", k.axis(var)): Fraction(1)})
    here, one = position(var), form({}, 1)
    between = conjunction(
        [below(plus(first, here, -1), k.reals), below(plus(here, last, -1), k.reals)]
    )
    fits = conjunction(
        [
            below(plus(form({}), first, -1), k.reals),  # first >= 0
            below(plus(plus(last, size, -1), one), k.reals),  # last <= size - 1
            below(plus(plus(first, last, -1), one, -1), k.reals),  # last - first + 1 >= 0
        ]
    )
    due = ((between, [case, where]), (where, [case, between]), (fits, [case]))
    if not all(holds(k, then, given) for then, given in due):
        raise Rejected("a case of a count has other bounds")


def threshold_law(k: Kernel, parts: tuple[Tree, ...]) -> Poly:
    """`(threshold v relu^e F)`: F (sum over v of relu(s(v) - tau)^e) less F, which is 0.

    tau is the threshold of exponent e of exactly the s(v), over the whole axis of v.
    """
    var_tree, relu_tree, term = exactly(parts, 3)
    (relu, exponent), raw = read_power(k, relu_tree), read_raw(k, term)
    var = k.bindable(k.spoken(variable(var_tree)))
    inside = {v for atom in raw.atoms for v in atom.args} | coef_variables(raw.coef)
    if (relu.kind, relu.label) != ("fn", "relu") or var in {*inside, *raw.bound}:
        raise Rejected("a power of relu was due, whose place stands nowhere else")
    if not any(_is_threshold(k, tau, exponent, (relu, var)) for tau in body_at(k, relu)):
        raise Rejected("relu is not of values less their threshold")
    own = {v: k.fresh(k.axis(v)) for v in raw.bound}
    whole = bind(k, instantiated(k, single(relu, exponent), own), var)
    return summed(k, raw, own, add(k, whole, constant(-1)))


def _is_threshold(k: Kernel, term: Term, exponent: Fraction, of: tuple[Atom, Var]) -> bool:
    """Whether a term is less the threshold of what relu is of, with that term left out."""
    (relu, var), tau = of, next(iter(term.atoms), None)
    if tau is None or term != Term((), {tau: Fraction(1)}, {frozenset(): Fraction(-1)}):
        return False
    if (tau.kind, tau.label) != ("fn", f"threshold {exponent}") or var in tau.args:
        return False
    value = next((a for one in body_at(k, tau) for a in one.atoms), None)
    if value is None or (value.kind, value.label) != ("fn", f"value of a threshold {exponent}"):
        return False
    scores = add(k, body_at(k, relu), single(tau))
    there = [v for v in value.args if v not in tau.args]
    if len(there) != 1 or k.axis(there[0]) != k.axis(var):
        return False
    whole = bind(k, single(value), there[0])
    at_var = instantiated(k, body_at(k, value), {there[0]: var})
    return equal(k, body_at(k, tau), whole) and equal(k, at_var, scores)


def multiplied(k: Kernel, parts: tuple[Tree, ...], poly: Poly) -> Poly:
    """`(times inv(Z)^m)`: a polynomial times Z^m, for a Z that is positive at all sizes.

    It is 0, or not negative, where the polynomial is; Z inv(Z) is 1.
    """
    (inv, most) = read_power(k, exactly(parts, 1)[0])
    if inv.kind != "inv" or most.denominator != 1 or most < 1:
        raise Rejected("a power of an inverse was due")
    if positive(k, inv.number, inv.args) != TRUE:
        raise Rejected(f"class {inv.number} is not seen to be positive")
    if all(term.atoms.get(inv) != most for term in poly):
        raise Rejected("no term divides by as much as is multiplied by")
    result: Poly = ()
    for term in poly:
        own = freshened(k, term)
        left = most - own.atoms.get(inv, Fraction(0))
        if left < 0:
            raise Rejected("a term divides by more than it is multiplied by")
        rest = Term((), {a: e for a, e in own.atoms.items() if a != inv}, own.coef)
        whole = multiply(k, (rest,), power(k, body_at(k, inv), int(left)))
        result = add(k, result, bind(k, whole, *own.bound))
    return result


def narrowing(k: Kernel, parts: tuple[Tree, ...]) -> Poly:
    """`(narrow T (f^e V laws ...) ...)`: T less T with V for f^e, each of which it has as a factor.

    Where the mask of T holds, V is the function of its arguments, from which laws that hold there
    may be taken first.
    """
    if len(parts) < 2:
        raise Rejected("nothing is narrowed")
    raw = read_raw(k, parts[0])
    if len(raw.coef) != 1 or not is_tidy(k, raw):
        raise Rejected("a term with one mask was due, in its plainest form")
    (mask,) = raw.coef
    old, new, atoms = constant(1), constant(1), dict(raw.atoms)
    outer, k.hypotheses = k.hypotheses, (*k.hypotheses, *sorted(mask, key=repr))
    try:
        for part in parts[1:]:
            atom, exponent, made = _narrowed(k, items(part))
            if atoms.pop(atom, None) != exponent:
                raise Rejected("what is narrowed is no factor of the term")
            old, new = multiply(k, old, single(atom, exponent)), multiply(k, new, made)
    finally:
        k.hypotheses = outer
    own = {v: k.fresh(k.axis(v)) for v in raw.bound}
    change = instantiated(k, add(k, old, scaled(new, -1)), own)
    return summed(k, raw._replace(atoms=atoms), own, change)


def _narrowed(k: Kernel, parts: tuple[Tree, ...]) -> tuple[Atom, Fraction, Poly]:
    """A power of a function, and what it is wherever the hypotheses hold."""
    if len(parts) < 3:
        raise Rejected("a function, its value and the laws inside were due")
    (atom, exponent), made = read_power(k, parts[0]), read_poly(k, items(parts[1]))
    if atom.kind not in CLASSES:
        raise Rejected(f"{atom.kind} is no function of polynomials")
    bodies = []
    for body, inside in zip(bodies_at(k, atom), parts[2:], strict=True):
        rest = body
        for tree in items(inside):
            head, law = split(tree, 2)
            if head not in LAWS:
                raise Rejected(f"no such law: {head}")
            rest = add(k, rest, scaled(LAWS[head](k, law), -1))
        bodies.append(rest)
    check_atom(k, (atom, exponent), tuple(bodies), made)
    return atom, exponent, made


LAWS = {
    "narrow": narrowing,
    "law": inverse_law,
    "restate": restatement,
    "count": counting,
    "threshold": threshold_law,
}
