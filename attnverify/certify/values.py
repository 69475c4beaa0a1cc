"""Functions whose value the checker makes itself, of parts that a certificate tells."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from attnverify.certify.coefs import indicator
from attnverify.certify.equal import equal, nonzero
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import TRUE
from attnverify.certify.functions import MOST_CASES, body_at, inverse_of, is_exp, one_product
from attnverify.certify.kernel import ONE, UNITS, Atom, Kernel, Poly, Term
from attnverify.certify.terms import add, constant, multiply, power, scaled, single


def checked_log(k: Kernel, argument: Poly, told: Poly) -> Poly:
    """The logarithm of u R as [R != 0] log(u) + log(R), for a product u of positive factors.

    Told are u, log(R) or 1 where R is 1, and the logarithms of the factors of u that are no exps.
    """
    if not told:
        return _nothing(k, "log", argument)
    (units, whole), logs = _factored(k, "log", argument, told), list(told[2:])
    outside: Poly = ()
    for atom, exponent in units.atoms.items():
        log = body_at(k, atom) if atom.kind == "exp" else _log_of(k, atom, logs)
        outside = add(k, outside, scaled(log, exponent))
    if units.coef != ONE or logs:
        raise Rejected("log: a product of positive factors was due, and no more logarithms")
    if whole is None:
        return outside
    where = indicator(nonzero(k, whole.number, whole.args))
    return add(k, multiply(k, (Term((), {}, where),), outside), single(whole))


def checked_absolute(k: Kernel, argument: Poly, told: Poly) -> Poly:
    """The absolute value of q u R as |q| u |R|, for a number q and a product u of positive factors.

    Told are q u, and |R| or 1 where R is 1.
    """
    if not told:
        return _nothing(k, "absolute", argument)
    units, whole = _factored(k, "absolute", argument, told)
    if len(told) > 2 or set(units.coef) != {frozenset()}:
        raise Rejected("absolute: a number times positive factors was due")
    size = (units._replace(coef={frozenset(): abs(units.coef[frozenset()])}),)
    return size if whole is None else multiply(k, size, single(whole))


def _nothing(k: Kernel, name: str, argument: Poly) -> Poly:
    """The value 0 of a function at 0."""
    if not equal(k, argument, ()):
        raise Rejected(f"{name}: the argument is not seen to be 0")
    return ()


def _factored(k: Kernel, name: str, argument: Poly, told: Poly) -> tuple[Term, Atom | None]:
    """The positive factors and the function of the rest, whose product is seen to be the argument.

    None in place of the function where the rest is 1.
    """
    units, rest = one_product(told[:1]), one_product(told[1:2])
    if units is None or rest is None or not all(a.kind in UNITS for a in units.atoms):
        raise Rejected(f"{name}: positive factors and a function of the rest were due")
    if rest == Term((), {}, ONE):
        whole, inside = None, constant(1)
    else:
        whole = _function_atom(name, rest)
        inside = body_at(k, whole)
    if not equal(k, argument, multiply(k, (units,), inside)):
        raise Rejected(f"{name}: the product is not seen to be the argument")
    return units, whole


def _function_atom(name: str, term: Term) -> Atom:
    """The function that a term is, once and with no factor."""
    atom = next(iter(term.atoms), None)
    if atom is None or term != Term((), {atom: Fraction(1)}, ONE):
        raise Rejected(f"{name}: a function alone was due")
    if (atom.kind, atom.label) != ("fn", name):
        raise Rejected(f"{name}: another function is told")
    return atom


def _log_of(k: Kernel, atom: Atom, logs: list[Term]) -> Poly:
    """The logarithm that is told next, of a single factor."""
    if not logs:
        raise Rejected("log: the logarithm of a factor is not told")
    log = _function_atom("log", logs.pop(0))
    if not equal(k, body_at(k, log), single(atom)):
        raise Rejected("log: the logarithm of another factor is told")
    return single(log)


def checked_exp(k: Kernel, argument: Poly, told: Poly, logs: Sequence[tuple[Term, Poly]]) -> Poly:
    """Exp of a sum of logarithms and of what the told exps are exps of.

    exp(m log Z) = Z^m for a whole m, where Z is seen to be positive at all sizes; for a negative m
    the inverse of Z is told, as `checked_inverse` has it.
    """
    if not told and not logs:
        raise Rejected("exp is never 0")
    value: Poly = told
    for log, parts in logs:
        argument = add(k, argument, scaled((log,), -1))
        value = multiply(k, value, _undone(k, log, parts))
    if not is_exp(k, argument, told):
        raise Rejected("exp: the value that is claimed is not seen to be the function's")
    return value


def _undone(k: Kernel, log: Term, parts: Poly) -> Poly:
    """Exp of a whole multiple of a logarithm."""
    times = log.coef.get(frozenset(), Fraction(0))
    atom = _function_atom("log", log._replace(coef=ONE))
    if set(log.coef) != {frozenset()} or times.denominator != 1 or log.bound:
        raise Rejected("exp: a whole multiple of a logarithm was due")
    if nonzero(k, atom.number, atom.args) != TRUE:
        raise Rejected("exp: what the logarithm is of is not seen to be positive")
    body = body_at(k, atom)
    if times > 0 and parts:
        raise Rejected("exp: an inverse is told where none is due")
    return power(k, body if times > 0 else checked_inverse(k, body, parts), abs(int(times)))


def checked_inverse(k: Kernel, argument: Poly, parts: Poly) -> Poly:
    """The inverse of a polynomial, told as a product that it has and the inverse of what is left.

    Reject where the product times what is left is not seen to be the polynomial.
    """
    if not parts:
        if not equal(k, argument, ()):
            raise Rejected("inv: the argument is not seen to be 0")
        return ()
    content, rest = one_product(parts[:1]), one_product(parts[1:])
    if content is None or rest is None or len(rest.coef) > MOST_CASES:
        raise Rejected("inv: two products were due")
    if not equal(k, argument, multiply(k, (content,), inverse_of(k, rest))):
        raise Rejected("inv: the product is not seen to be what is inverted")
    return multiply(k, inverse_of(k, content), (rest,))
