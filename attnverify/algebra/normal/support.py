"""Where a sum is not 0, and where it cannot be negative: signs by construction."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

from attnverify.algebra.normal.core import (
    UNITS,
    Atom,
    Class,
    Coef,
    Context,
    Poly,
    Term,
    add_coefs,
    raise_atom,
)
from attnverify.algebra.normal.forms import Lin, Var, form_variables, integral, lin
from attnverify.algebra.normal.formulas import (
    FALSE,
    TRUE,
    Below,
    Both,
    Either,
    Exists,
    Formula,
    Known,
    Zero,
    below,
    both,
    either,
    negated,
    renamed,
    variables,
)
from attnverify.algebra.normal.numbers import is_number, number_values

# Functions of the list that are never negative.
NEVER_NEGATIVE = frozenset({"relu", "absolute", "root 2", "root 4"})
MOST_LITERALS = (
    5  # a coefficient with more literals is not turned into the formula of where it is positive
)


def nonzero_formula(ctx: Context, number: int, args: tuple[Var, ...]) -> Formula:
    """[Z != 0] for the class Z at `args`: known for sums of positive terms, opaque otherwise."""
    cls = ctx.classes[number]
    if not cls.support_known:
        cls.support_known = True
        cls.support = _support(ctx, cls)
    if cls.support is None:
        return Known(f"nonzero {number}", min(tuple(args[k] for k in twin) for twin in cls.twins))
    return renamed(cls.support, dict(zip(cls.slots, args, strict=True)), ctx.decider.is_real)


def _support(ctx: Context, cls: Class) -> Formula | None:
    """Where a sum is positive, if none of its terms is negative and its positive ones decide."""
    body = _counted_together(ctx, cls.body[0])
    positive: list[Formula] = []
    others: list[Term] = []
    for term in body:
        if not term_never_negative(ctx, term):
            return None
        where = _positive_where(ctx, term)
        if where is None:
            others.append(term)
        else:
            positive.append(where)
    formula = either(positive)
    for term in others:
        touched = either(ctx.conjunction(conj) for conj in term.coef)
        if not ctx.decider.holds(formula, [touched]):
            return None
    return _lean(ctx, formula)


def _counted_together(ctx: Context, body: Poly) -> Poly:
    """The terms with a size less a count of its axis as the count of what is left over.

    n - sum_j [p] is sum_j (1 - [p]), which is not negative.
    """
    rest = list(body)
    for term in body:
        if len(term.bound) != 1:
            continue
        (var,) = term.bound
        atoms = dict(term.atoms)
        raise_atom(atoms, Atom("size", ctx.axes[var], -1, ()), Fraction(1))
        for other in rest:
            if not other.bound and dict(other.atoms) == atoms:
                if any(var in atom.args for atom in term.atoms):
                    break
                rest = [t for t in rest if t is not other and t is not term]
                rest.append(Term(term.bound, term.atoms, add_coefs(term.coef, other.coef)))
                break
    return tuple(rest)


def _lean(ctx: Context, formula: Formula) -> Formula:
    """The formula without parts that always hold."""
    if ctx.decider.holds(formula):
        return TRUE
    if isinstance(formula, Both):
        return both(part for part in formula.parts if not ctx.decider.holds(part))
    return formula


def _positive_where(ctx: Context, term: Term) -> Formula | None:
    """Where a term is positive, if its atoms are positive factors and inverses of positive sums."""
    parts: list[Formula] = []
    for atom in term.atoms:
        if atom.kind == "inv":  # never negative, so positive wherever what it divides by is not 0
            parts.append(nonzero_formula(ctx, atom.number, atom.args))
        elif atom.kind not in UNITS:
            return None
    where = coef_positive(ctx, term.coef)
    if where is None:
        return None
    formula = both([where, *parts])
    for var in term.bound:
        formula = exists(ctx, var, formula)
    return formula


def coef_positive(ctx: Context, coef: Coef) -> Formula | None:
    """The formula of where a coefficient is positive."""
    if len(coef) == 1:
        ((conj, value),) = coef.items()
        return ctx.conjunction(conj) if value > 0 else FALSE
    numbers = sorted({number for conj in coef for number in conj})
    if len(numbers) > MOST_LITERALS:
        return None
    cases: list[Formula] = []
    for holds in product((True, False), repeat=len(numbers)):
        true = {n for n, yes in zip(numbers, holds, strict=True) if yes}
        if sum(value for conj, value in coef.items() if true.issuperset(conj)) > 0:
            literals = ((ctx.literals[n], n in true) for n in numbers)
            cases.append(both(literal if yes else negated(literal) for literal, yes in literals))
    return either(cases)


def exists(ctx: Context, var: Var, formula: Formula) -> Formula:
    """`formula` for some position of `var`; bounds with coefficient 1 are eliminated exactly."""
    if isinstance(formula, Either):
        return either(exists(ctx, var, part) for part in formula.parts)
    parts = formula.parts if isinstance(formula, Both) else (formula,)
    apart = [part for part in parts if var not in set(variables(part))]
    about = [part for part in parts if var in set(variables(part))]
    if not about:
        return both(apart)
    bounds = [bound_on(ctx, var, part) for part in about]
    if any(bound is None for bound in bounds):
        return both([*apart, Exists(var, both(about))])
    # var >= 0 and var <= size - 1, as every position of the axis.
    zero, last = lin({}), lin({("n", ctx.axes[var]): Fraction(1)}, -1)
    low = [zero, *(form for bound in bounds if bound for side, form in [bound] if side < 0)]
    high = [last, *(form for bound in bounds if bound for side, form in [bound] if side > 0)]
    fits = (below(a - b, strict=False, is_real=ctx.decider.is_real) for a in low for b in high)
    return both([*apart, *(f for f in fits if f != TRUE and not _of_axis(f, ctx, var))])


def _of_axis(formula: Formula, ctx: Context, var: Var) -> bool:
    """Whether a formula says that the axis is not empty, which holds for every axis."""
    last = lin({("n", ctx.axes[var]): Fraction(-1)}, 1)
    return formula == Below(last)


def bound_on(ctx: Context, var: Var, part: Formula) -> tuple[int, Lin] | None:
    """The bound that an inequality over integers puts on a variable: (1, upper) or (-1, lower)."""
    if not isinstance(part, Below) or part.strict or not integral(part.form, ctx.decider.is_real):
        return None
    key = ("v", "", var)
    side = dict(part.form.terms).get(key)
    rest = lin({k: v for k, v in part.form.terms if k != key}, part.form.const)
    if side not in (1, -1) or var in set(form_variables(rest)):
        return None
    # side * var + rest <= 0
    return (1, rest * -1) if side == 1 else (-1, rest)


def halves(part: Formula) -> tuple[Formula, ...]:
    """An equation as the two inequalities that it is made of; anything else as it is."""
    return (Below(part.form), Below(part.form * -1)) if isinstance(part, Zero) else (part,)


def never_negative(ctx: Context, poly: Poly) -> bool:
    """Whether every term of a polynomial is at least 0 by its construction, or all as a number."""
    return all(term_never_negative(ctx, term) for term in poly) or _number_never_negative(ctx, poly)


def _number_never_negative(ctx: Context, poly: Poly) -> bool:
    """Whether a polynomial of sizes, positions and parameters alone is at least 0, by z3."""
    numbers = all(not t.bound and all(is_number(a, e) for a, e in t.atoms.items()) for t in poly)
    if not numbers or not any(term.atoms for term in poly):
        return False
    return ctx.decider.numbers_never_negative([v for t in poly for v in number_values(ctx, t)])


def term_never_negative(ctx: Context, term: Term) -> bool:
    """Whether a term is a sum of products of factors that are never negative."""
    if not all(_factor_never_negative(ctx, atom, e) for atom, e in term.atoms.items()):
        return False
    if all(value >= 0 for value in term.coef.values()):
        return True
    return ctx.decider.never_negative(ctx.pieces(term.coef), known(ctx, term))


def _factor_never_negative(ctx: Context, atom: Atom, exponent: Fraction) -> bool:
    if atom.kind in UNITS or atom.kind in ("nz", "pos"):
        return True
    if exponent.denominator == 1 and exponent % 2 == 0:
        return True
    if atom.kind == "inv":
        return never_negative(ctx, ctx.classes[atom.number].body[0])
    return atom.kind == "fn" and atom.label in NEVER_NEGATIVE


def known(ctx: Context, term: Term) -> list[Formula]:
    """What holds wherever a term is not 0: each sum that it divides by is not 0."""
    return [nonzero_formula(ctx, a.number, a.args) for a in term.atoms if a.kind == "inv"]


def known_literals(ctx: Context, term: Term) -> set[int]:
    """The literals among what holds wherever a term is not 0."""
    found: set[int] = set()
    for formula in known(ctx, term):
        coef = ctx.indicator(formula)
        if len(coef) == 1:
            found.update(next(iter(coef)))
    return found
