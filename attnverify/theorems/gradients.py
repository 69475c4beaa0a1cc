"""Derived gradients are the closed forms that papers and kernels write, for all sizes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

from attnverify.algebra.predicates import Compare
from attnverify.algebra.rewrite import rename
from attnverify.algebra.terms import (
    ONE,
    Add,
    Entry,
    Expr,
    Index,
    Mul,
    Tensor,
    Total,
    add,
    apply,
    as_expr,
    indicator,
    inverse,
    mul,
    negative,
    power,
    total,
)
from attnverify.errors import SpecError
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.statement import Statement
from attnverify.theorems.theorem import Theorem
from attnverify.transforms.gradient import gradient
from attnverify.transforms.relabel import cut

FLASH = "Dao et al. 2022, appendix B.2; Dao 2023, algorithm 2"


def _derived(name: str, outputs: tuple[str, ...] = ("O",), **choices: Any) -> Spec:
    return gradient(load(name, **choices).replace(outputs=outputs))


def _only(spec: Spec, name: str, *axes: str) -> tuple[Index, ...]:
    """The indices of a name on some axes."""
    return tuple(index for index in spec.heads[name].indices if index.axis.name in axes)


def _at(spec: Spec, name: str, like: str) -> Entry:
    """A name read at another's indices on the axes that they share."""
    here = {index.axis.name: index for index in spec.heads[like].indices}
    head = spec.heads[name]
    return Entry(
        head.tensor,
        tuple(
            tuple(here.get(i.axis.name, i) for i in place)
            if isinstance(place, tuple)
            else here.get(place.axis.name, place)
            for place in head.places
        ),
    )


def _row_term(spec: Spec) -> Expr:
    """D_i = sum_c dO_ic O_ic at the indices of the scores."""
    product = mul(_at(spec, "dO", "S"), _at(spec, "O_again", "S"))
    return total(product, _only(spec, "dO", "value_dim"))


def _with_output(spec: Spec, source: Spec) -> Spec:
    """The gradient with the forward output beside it, which its closed forms read."""
    row = source.equation("O")
    head = Entry(Tensor("O_again"), row.head.places)
    again = type(row)(head, row.body)
    return spec.replace(equations=(*spec.equations, again), outputs=(*spec.outputs, "O_again"))


def _scene(name: str, outputs: tuple[str, ...] = ("O",), **choices: Any) -> Spec:
    return _with_output(_derived(name, outputs, **choices), load(name, **choices))


def _equal(title: str, spec: Spec, name: str, due: Expr) -> Statement:
    return Statement(title, "equal", spec, spec.heads[name], due)


def _values_of(spec: Spec) -> Expr:
    """DP = dO V^T at the indices of the scores."""
    product = mul(_at(spec, "dO", "S"), _at(spec, "V", "S"))
    return total(product, _only(spec, "dO", "value_dim"))


def _scores(spec: Spec, weights: Expr | None = None, row: Expr | None = None) -> Expr:
    """DS = P (dP - D), with other weights or another row term where they are given."""
    weights = _at(spec, "A", "S") if weights is None else weights
    return mul(weights, add(_values_of(spec), negative(_row_term(spec) if row is None else row)))


def _scale(spec: Spec) -> Expr:
    (k,) = _only(spec, "K", "key_dim")
    return inverse(power(k.axis.size, Fraction(1, 2)))


def _attention(name: str, **choices: Any) -> tuple[Statement, ...]:
    """DV = P^T dO, dS = P (dP - D), dQ = alpha dS K, dK = alpha dS^T Q."""
    spec = _scene(name, **choices)
    return _closed(spec, _scores(spec))


def _closed(spec: Spec, scores: Expr, *, slope: Expr = ONE) -> tuple[Statement, ...]:
    """The gradients of inputs by those of the scores; `slope` is a cap's derivative."""
    alpha, scores = _scale(spec), mul(scores, slope)
    rows = (*_only(spec, "S", "queries"), *_only(spec, "S", "repeat"))
    by_query = mul(alpha, scores, _at(spec, "K", "S"))
    by_key = mul(alpha, scores, _at(spec, "Q", "S"))
    by_value = mul(_at(spec, "A", "S"), _at(spec, "dO", "S"))
    return (
        _equal("dV = P^T dO", spec, "dV", total(by_value, rows)),
        _equal("dQ = alpha dS K", spec, "dQ", total(by_query, _only(spec, "S", "keys"))),
        _equal("dK = alpha dS^T Q", spec, "dK", total(by_key, rows)),
    )


def _flash(name: str, **choices: Any) -> tuple[Statement, ...]:
    """The same with weights exp(S - L) from the log-sum-exp, and D from dO and O."""
    spec = _scene(name, **choices)
    source = load(name, **choices)
    log = source.equation("L")
    spec = spec.replace(
        equations=(*spec.equations, log) if "L" not in spec.heads else spec.equations,
        outputs=(*spec.outputs, "L"),
    )
    weights: Expr = apply("exp", add(spec.heads["S"], negative(_at(spec, "L", "S"))))
    where = getattr(source.equation("A").body, "where", None)
    if where is not None:
        weights = mul(indicator(where), weights)
    title = "weights from the log-sum-exp"
    again = Statement(title, "equal", spec, weights, _at(spec, "A", "S"))
    alpha, scores = _scale(spec), _scores(spec, weights)
    by_query = total(mul(alpha, scores, _at(spec, "K", "S")), _only(spec, "S", "keys"))
    by_key = total(mul(alpha, scores, _at(spec, "Q", "S")), _only(spec, "S", "queries"))
    return (
        again,
        _equal("dQ from the log-sum-exp", spec, "dQ", by_query),
        _equal("dK from the log-sum-exp", spec, "dK", by_key),
    )


def _log_sum_exp() -> tuple[Statement, ...]:
    """A cotangent dL on the log-sum-exp adds: dS = P (dP - D + dL)."""
    spec = _scene("global", ("O", "L"))
    row = add(_row_term(spec), negative(_at(spec, "dL", "S")))
    return _closed(spec, _scores(spec, row=row))


def _capped() -> tuple[Statement, ...]:
    """C tanh(S/c) multiplies dS by 1 - tanh^2(S/c)."""
    spec = _scene("softcap", ordered=False)
    cap = as_expr(spec.parameters[0]) if spec.parameters else spec.heads["cap"]
    tanh = mul(spec.heads["S"], inverse(cap))
    slope = add(ONE, negative(mul(tanh, tanh)))
    return _closed(spec, _scores(spec), slope=slope)


def _sinks() -> tuple[Statement, ...]:
    """Dz = - sum_i p_sink,i D_i, and dS = P (dP - D) as without a sink."""
    spec = _scene("sinks")
    head = spec.heads["dsinks"]
    share = mul(apply("exp", _at(spec, "sinks", "S")), inverse(_at(spec, "Z", "S")))
    summed = (*_only(spec, "S", "queries"), *_only(spec, "S", "batch"))
    lost = negative(total(mul(share, _row_term(spec)), summed))
    names = dict(zip(_only(spec, "S", "heads"), head.indices, strict=True))
    return (
        _equal("dz = - sum p_sink D", spec, "dsinks", rename(lost, names)),
        *_closed(spec, _scores(spec)),
    )


def _rotated() -> tuple[Statement, ...]:
    """DQ = R^T dQ_r: channel s gets from the other channel u of its pair what u took from s.

    Q_r[s] = cos Q[s] + (2 s - 1) sin Q[u], so dQ[s] = cos dQ_r[s] + (2 u - 1) sin dQ_r[u].
    """
    spec = _scene("rope", angles="tables")
    head, turned = spec.equation("Q_r").head, spec.heads["dQ_r"]
    still, (sign, sine, other) = _parts(spec)
    here = rename(turned, dict(zip(turned.indices, head.indices, strict=True)))
    (s,) = (index for index in head.indices if index.axis.name == "side")
    (u,) = other.over
    apart = indicator(Compare("!=", as_expr(u), as_expr(s)))
    crossed = total(mul(apart, rename(sign, {s: u}), sine, rename(here, {s: u})), u)
    own = dict(zip(spec.heads["dQ"].indices, head.indices, strict=True))
    after = cut(spec, "dQ_r", outputs=("dQ",))
    due = add(mul(still, here), crossed)
    return (Statement("dQ = R^T dQ_r", "equal", after, rename(spec.heads["dQ"], own), due),)


def _parts(spec: Spec) -> tuple[Expr, tuple[Expr, Expr, Total]]:
    """What Q_r has of Q: the cosine, and sign, sine and sum over the other channel."""
    body = spec.equation("Q_r").body
    straight, turned = body.terms if isinstance(body, Add) else (body, body)
    if not isinstance(straight, Mul) or not isinstance(turned, Mul):
        raise SpecError("a rotation is a cosine part and a sine part", found=str(body))
    cosine = mul(*(factor for factor in straight.factors if not isinstance(factor, Entry)))
    sign, sine, other = turned.factors
    if not isinstance(other, Total):
        raise SpecError("a rotation reads the other channel of a pair", found=str(other))
    return cosine, (sign, sine, other)


def _no_sum(*outputs: str) -> tuple[Statement, ...]:
    """Sum over keys of dS with a cotangent on the log-sum-exp too."""
    spec = _scene("global", outputs)
    left = total(spec.heads["dS"], _only(spec, "dS", "keys"))
    return (Statement("score gradients sum to zero", "zero", spec, left),)


def _theorem(name: str, says: str, made: Callable[[], tuple[Statement, ...]]) -> Theorem:
    return Theorem(name, says, FLASH, made)


GRADIENTS = (
    _theorem(
        "gradient of attention",
        "dV = P^T dO, dQ = alpha dS K, dK = alpha dS^T Q with dS = P (dP - D)",
        partial(_attention, "global"),
    ),
    _theorem(
        "gradient of causal attention", "the same under a mask", partial(_attention, "causal")
    ),
    _theorem(
        "gradient of masked attention",
        "the same under any mask, rows without keys among them",
        partial(_attention, "masked"),
    ),
    _theorem(
        "gradient of grouped queries",
        "dK and dV of a group are sums over its query heads",
        partial(_attention, "grouped_query"),
    ),
    _theorem(
        "backward from the log-sum-exp",
        "weights recomputed as exp(S - L) and D = sum_c dO O give the derived gradient",
        partial(_flash, "global"),
    ),
    _theorem(
        "causal backward from the log-sum-exp", "the same under a mask", partial(_flash, "causal")
    ),
    _theorem(
        "cotangent of the log-sum-exp", "dL adds to the row: dS = P (dP - D + dL)", _log_sum_exp
    ),
    Theorem(
        "gradient under a cap",
        "c tanh(S/c) multiplies dS by 1 - tanh^2(S/c)",
        "Gemma Team 2024, section 2",
        _capped,
    ),
    Theorem("gradient of a sink", "dz = - sum_i p_sink,i D_i", "derived; Xiao et al. 2024", _sinks),
    Theorem(
        "gradient through a rotation", "dQ = R^T d(RQ)", "Su et al. 2021, eqs. 15 and 34", _rotated
    ),
    Theorem(
        "score gradients with a cotangent of the log-sum-exp",
        "sum_j dS_ij = 0",
        "derived",
        partial(_no_sum, "O", "L"),
        fails="a cotangent on the log-sum-exp adds its own sum, dL_i, to a row",
    ),
)
