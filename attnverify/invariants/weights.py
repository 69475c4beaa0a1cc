"""Statements about weights and scores; each is asked of every attention of a spec."""

from __future__ import annotations

from dataclasses import replace

from attnverify.algebra.predicates import TRUE, Compare, Predicate, negation
from attnverify.algebra.rewrite import rename
from attnverify.algebra.terms import (
    ONE,
    ZERO,
    Add,
    Apply,
    Entry,
    Expr,
    Mul,
    Power,
    Softmax,
    Tensor,
    Total,
    add,
    indicator,
    mul,
    total,
)
from attnverify.invariants.changes import changed, constant, sees
from attnverify.invariants.reading import assigned, reads
from attnverify.invariants.roles import Roles
from attnverify.invariants.sites import Attention, Score
from attnverify.statement import Sees, Statement
from attnverify.transforms.relabel import cut


def nonnegative(roles: Roles) -> list[Statement]:
    """A >= 0."""
    return [
        Statement("weights are not negative", "sign", roles.spec, site.weights.head)
        for site in roles.attentions
    ]


def at_most_one(roles: Roles) -> list[Statement]:
    """A <= 1."""
    return [
        Statement("weights are at most one", "bound", roles.spec, site.weights.head, ONE)
        for site in roles.attentions
    ]


def row_sums(roles: Roles) -> list[Statement]:
    """Sum over keys of A is 1 where the row sees a key and 0 elsewhere."""
    return [
        Statement("rows sum to one", "equal", roles.spec, _summed(site), sees(site))
        for site in roles.attentions
    ]


def _summed(site: Attention) -> Expr:
    return total(site.weights.head, site.keys)


def sink_sums(roles: Roles) -> list[Statement]:
    """Sum over keys of A and what the sink takes is 1."""
    return [
        Statement("rows and sink sum to one", "equal", roles.spec, left, ONE)
        for left in (whole_row(roles, site) for site in roles.attentions)
        if left is not None
    ]


def whole_row(roles: Roles, site: Attention) -> Expr | None:
    """A row's weights with its sink's: of a softmax over more than the keys, or of E / (Z + more).

    None where the form of the weights has no sink.
    """
    for read in reads(site.weights.body):
        below = assigned(roles.spec).get(read.entry.tensor.name)
        body = None if below is None else below.body
        if isinstance(body, Softmax) and body.over.axis not in {key.axis for key in site.keys}:
            return total(below.head, body.at) if below is not None else None
    rest = _more(roles, site)
    return None if rest is None else add(_summed(site), rest)


def _more(roles: Roles, site: Attention) -> Expr | None:
    """What a normaliser has beside the sum over the keys, over the normaliser."""
    factors = site.weights.body.factors if isinstance(site.weights.body, Mul) else ()
    for factor in factors:
        if not isinstance(factor, Power) or factor.exponent != -1:
            continue
        norm = factor.base
        row = assigned(roles.spec).get(norm.tensor.name) if isinstance(norm, Entry) else None
        if row is not None and isinstance(norm, Entry):
            norm = rename(row.body, dict(zip(row.head.indices, norm.indices, strict=True)))
        terms = norm.terms if isinstance(norm, Add) else ()
        rest = [term for term in terms if not isinstance(term, Total)]
        if rest and len(rest) < len(terms):
            return mul(add(*rest), factor)
    return None


def hidden_weights(roles: Roles) -> list[Statement]:
    """A is 0 where the mask hides the key."""
    return [
        Statement(
            "masked weights are zero",
            "zero",
            roles.spec,
            mul(site.weights.head, indicator(negation(site.where))),
        )
        for site in roles.attentions
        if site.masked
    ]


def score_shift(roles: Roles) -> list[Statement]:
    """S + r_i leaves A unchanged."""
    return [
        _shifted(roles, score, site.weights.head, adds=False)
        for site in roles.attentions
        for score in site.scores
    ]


def log_sum_exp_shift(roles: Roles) -> list[Statement]:
    """S + r_i adds r_i to L_i where the row sees a key."""
    head, site = roles.spec.heads["L"], roles.main
    (score,) = roles.scores
    own = score.seen_at(site.keys)
    where = site.where if own is None else own
    statement = _shifted(roles, score, head, adds=True)
    if where == TRUE:
        return [statement]
    # Of a row that sees no key the logarithm is minus infinity in numbers, and 0 in proofs.
    seen = Sees(where, site.keys[0]) if len(site.keys) == 1 else _some(where, site)
    return [replace(statement, hypotheses=(seen,))]


def _some(where: Predicate, site: Attention) -> Predicate:
    return Compare(">", total(indicator(where), site.keys), ZERO)


def log_of_keys(roles: Roles) -> bool:
    """Whether L is the natural logarithm of one sum over the keys by its form."""
    rows = assigned(roles.spec)
    match rows["L"].body if "L" in rows else None:
        case Apply("log", (mass,)):
            if isinstance(mass, Entry) and mass.tensor.name in rows:
                mass = rows[mass.tensor.name].body
            return isinstance(mass, Total)
    return False


def _shifted(roles: Roles, score: Score, read: Entry, *, adds: bool) -> Statement:
    """What a shift of a row's scores does to `read`: it is added to it, or leaves it."""
    softmax = None if score.softmax is None else score.softmax.body
    if not adds and isinstance(softmax, Softmax) and score.softmax is not None:
        return _softmax_shift(roles, score.softmax.head, softmax)
    name = score.head.tensor.name
    spec = cut(roles.spec, name, outputs=(read.tensor.name,))
    axes = {index.axis for index in read.indices}
    parts = tuple(i for i in score.head.indices if adds and i.axis not in axes)
    shift = constant(spec, score.head, (*score.keys, *parts))
    moved, joint = changed(spec, score.head, add(score.head, shift), read)
    due = add(read, shift) if adds else read
    told = "is added to" if adds else "leaves"
    words = f"a constant added to every {name} of a row {told} {read.tensor.name}"
    title = "log-sum-exp shift" if adds else "score shift"
    return Statement(title, "equal", joint, moved, due, words=words)


def _softmax_shift(roles: Roles, head: Entry, body: Softmax) -> Statement:
    """A shift inside a softmax, without the equations around it."""
    rows = tuple(index for index in head.indices if index != body.at)
    shift = Entry(Tensor("r"), rows)
    spec = roles.spec.replace(inputs=(*roles.spec.inputs, shift))
    moved = Softmax(add(body.score, shift), body.over, body.where, body.at)
    words = "a constant added to every score of a row leaves its weights"
    return Statement("score shift", "equal", spec, moved, head, words=words)


def key_shift(roles: Roles) -> list[Statement]:
    """K + 1c^T leaves A unchanged."""
    found = []
    for entry in roles.key_inputs:
        shift = constant(roles.spec, entry, roles.key_places(entry))
        other, joint = changed(roles.spec, entry, add(entry, shift), roles.weights_head)
        words = f"a constant added to every {entry.tensor.name} leaves the weights"
        found.append(Statement("key shift", "equal", joint, other, roles.weights_head, words=words))
    return found
