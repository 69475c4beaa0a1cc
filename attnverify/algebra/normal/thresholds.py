"""What a threshold is defined by: the sum of relu(s_j - tau)^e over all places is 1."""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.normal.core import Atom, Context, Poly, Term
from attnverify.algebra.normal.forms import Var
from attnverify.algebra.normal.poly import add, instantiate, scaled, single


def summed(ctx: Context, term: Term) -> Term | None:
    """The term without sum_j relu(s_j - tau)^e, where tau is the threshold of exactly these s_j."""
    for atom, exponent in term.atoms.items():
        if (atom.kind, atom.label) != ("fn", "relu"):
            continue
        rest = {other: e for other, e in term.atoms.items() if other != atom}
        elsewhere = {v for other in rest for v in other.args} | ctx.coef_variables(term.coef)
        for var in atom.args:
            alone = var in term.bound and var not in elsewhere and atom.args.count(var) == 1
            if alone and _is_threshold(ctx, atom, var, exponent):
                ctx.say("sum_j relu(s_j - tau)^e = 1 for their threshold tau")
                bound = tuple(other for other in term.bound if other != var)
                ctx.record.step("threshold", var, (atom, exponent), Term(bound, rest, term.coef))
                return Term(bound, rest, term.coef)
    return None


def _is_threshold(ctx: Context, relu: Atom, var: Var, exponent: Fraction) -> bool:
    """Whether relu is of s(var) less the threshold of all s, of this exponent and without mask."""
    (body,) = _bodies(ctx, relu)
    for term in body:
        tau = next(iter(term.atoms), None)
        if tau is None or dict(term.atoms) != {tau: Fraction(1)} or term.bound:
            continue
        if (tau.kind, tau.label) != ("fn", f"threshold {exponent}") or term.coef != {(): -1}:
            continue
        scores = add(ctx, body, single(tau))
        if var not in tau.args and _values(ctx, tau, var, scores):
            return True
    return False


def _values(ctx: Context, tau: Atom, var: Var, scores: Poly) -> bool:
    """Whether a threshold is that of `scores` at every place of their variable."""
    (body,) = _bodies(ctx, tau)
    if len(body) != 1 or len(body[0].bound) != 1 or set(body[0].coef) != {()}:
        return False
    (term,), (place,) = body, body[0].bound
    value = next(iter(term.atoms))
    if dict(term.atoms) != {value: Fraction(1)} or term.coef[()] != 1:
        return False
    if not value.label.startswith("value of a threshold") or ctx.axes[place] != ctx.axes[var]:
        return False
    (inside,) = _bodies(ctx, value)
    return not add(ctx, instantiate(ctx, inside, {place: var}), scaled(scores, -1))


def _bodies(ctx: Context, atom: Atom) -> tuple[Poly, ...]:
    cls = ctx.classes[atom.number]
    names = dict(zip(cls.slots, atom.args, strict=True))
    return tuple(instantiate(ctx, body, names) for body in cls.body)
