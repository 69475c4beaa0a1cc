"""Statements about derived gradients: identities of attention's backward without a reference.

Each is a claim about the gradient spec, whose names are those of the spec with `d` before them.
"""

from __future__ import annotations

from collections.abc import Iterable

from attnverify.algebra.rewrite import rename
from attnverify.algebra.terms import Entry, Expr, Index, Softmax, Tensor, add, mul, total
from attnverify.equations import Equation
from attnverify.invariants.changes import filled
from attnverify.invariants.roles import Roles
from attnverify.invariants.sites import Score
from attnverify.spec import Spec
from attnverify.statement import Statement
from attnverify.transforms.gradient import gradient
from attnverify.transforms.relabel import cut


def score_gradients(roles: Roles) -> list[Statement]:
    """Sum over keys of dS is 0."""
    return [
        _score_gradient(roles, score, score.softmax or site.weights)
        for site in roles.attentions
        for score in site.scores
    ]


def _score_gradient(roles: Roles, score: Score, weights: Equation) -> Statement:
    """The claim for any cotangent of the weights, through which alone scores reach the outputs."""
    name = score.head.tensor.name
    spec = gradient(cut(roles.spec, name, outputs=(weights.name,)), wrt=name)
    left = _over(spec, name, score.head, score.keys)
    return Statement("score gradients sum to zero", "zero", spec, left)


def key_gradients(roles: Roles) -> list[Statement]:
    """Sum over keys of dK is 0."""
    spec = gradient(roles.spec, wrt=_names(roles.key_inputs))
    return [
        Statement("key gradients sum to zero", "zero", spec, _over_keys(roles, spec, entry))
        for entry in roles.key_inputs
    ]


def value_gradients(roles: Roles) -> list[Statement]:
    """Sum over keys of dV is the sum over queries of dO, of rows that see a key."""
    entry, out = _values(roles), roles.output
    spec = gradient(roles.spec.replace(outputs=(out.tensor.name,)), wrt=entry.tensor.name)
    kept = {i.axis for i in entry.indices} - {i.axis for i in roles.key_places(entry)}
    summed = tuple(i for i in out.indices if i.axis not in kept)
    left = _over_keys(roles, spec, entry)
    right = total(mul(_cotangent(out), filled(roles)), summed)
    return [Statement("value gradients sum to output cotangents", "equal", spec, left, right)]


def euler(roles: Roles) -> list[Statement]:
    """<dQ, Q> = <dK, K>: scores stay when queries are scaled by t and keys by 1/t."""
    names = _names((*roles.query_inputs, *roles.key_inputs))
    spec = gradient(roles.spec, wrt=names)
    left = add(*(_inner(spec, entry) for entry in roles.query_inputs))
    right = add(*(_inner(spec, entry) for entry in roles.key_inputs))
    return [Statement("<dQ, Q> = <dK, K>", "equal", spec, left, right)]


def row_term(roles: Roles) -> list[Statement]:
    """D_i = sum_j A_ij dA_ij is also sum_c dO_ic O_ic (FlashAttention's preprocess step)."""
    weights, out = roles.main.weights, roles.output
    forward = roles.weighted_sum
    channels = tuple(i for i in out.indices if i not in roles.at_output.values())
    right = total(mul(_cotangent(out), forward), channels)
    if isinstance(weights.body, Softmax) and len(roles.scores) == 1:
        # The gradient of a softmax has the row term as an equation of its own.
        name = roles.scores[0].head.tensor.name
        spec = gradient(cut(roles.spec, name, outputs=(out.tensor.name,)), wrt=name)
        left: Expr = spec.heads["D"]
    else:
        spec = gradient(cut(roles.spec, weights.name, outputs=(out.tensor.name,)), wrt=weights.name)
        head = spec.heads[f"d{weights.name}"]
        left = total(mul(head, Entry(weights.head.tensor, head.places)), roles.keys)
    return [Statement("row term", "equal", spec, rename(left, roles.at_output), right)]


def _values(roles: Roles) -> Entry:
    if roles.direct_values is None:
        raise LookupError("the output is not the sum of weights times an input")
    return roles.direct_values


def _names(found: Iterable[Entry]) -> tuple[str, ...]:
    return tuple(entry.tensor.name for entry in found)


def _cotangent(out: Entry) -> Entry:
    return Entry(Tensor(f"d{out.tensor.name}"), out.places)


def _over_keys(roles: Roles, spec: Spec, entry: Entry) -> Expr:
    """The sum over keys of an input's gradient."""
    return _over(spec, entry.tensor.name, entry, roles.key_places(entry))


def _over(spec: Spec, name: str, declared: Entry, keys: tuple[Index, ...]) -> Expr:
    """The sum of a gradient over those of its indices that stand for the key."""
    head = spec.heads[f"d{name}"]
    at = dict(zip(declared.indices, head.indices, strict=True))
    return total(head, tuple(at[key] for key in keys))


def _inner(spec: Spec, entry: Entry) -> Expr:
    head = spec.heads[f"d{entry.tensor.name}"]
    return total(mul(head, Entry(entry.tensor, head.places)), head.indices)
