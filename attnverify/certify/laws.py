"""The laws: polynomials that are 0 whatever the inputs are, and may be taken from a difference."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from attnverify.certify.coefs import coef_sum, coef_variables, indicator, renamed_coef
from attnverify.certify.equal import (
    form_poly,
    holds,
    integral,
    opaque_nonzero,
    positive,
    remaining,
)
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import (
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
from attnverify.certify.functions import body_at
from attnverify.certify.kernel import Atom, Kernel, Poly, Term
from attnverify.certify.lines import Tree, exactly, items, text, variable, whole
from attnverify.certify.parse import read_coef, read_form, read_formula, read_raw
from attnverify.certify.terms import (
    add,
    bind,
    freshened,
    instantiated,
    is_tidy,
    multiply,
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
    return _summed(k, raw, own, law)


def _check_inverse(k: Kernel, inv: Atom) -> None:
    k.used.add(("class", inv.number))
    cls = k.classes.get(inv.number)
    if cls is None or [k.axis(v) for v in cls.slots] != [k.axis(v) for v in inv.args]:
        raise Rejected(f"class {inv.number} is not defined along these axes")
    if len(cls.body) != 1:
        raise Rejected("inv has one argument")


def _summed(k: Kernel, raw: Term, own: Mapping[Var, Var], factor: Poly) -> Poly:
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
    raw, var = read_raw(k, term), k.spoken(variable(var_tree))
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
    return _summed(k, raw, own, add(k, positions, scaled(instantiated(k, number, own), -1)))


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


LAWS = {"law": inverse_law, "restate": restatement, "count": counting}
