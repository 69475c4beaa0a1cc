"""Attentions of other kinds than a softmax over keys, in few lines, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from attnverify.algebra.terms import Entry, Expr
from attnverify.equations import Equation
from attnverify.notation import (
    Spec,
    axes,
    eq,
    exp,
    let,
    log,
    logistic,
    parameter,
    relu,
    softmax,
    tanh,
    tensors,
    total,
    where,
)
from attnverify.spec import Spec as Plain

batch, heads, queries, keys, key_dim, value_dim, time, model = axes(
    "batch heads queries keys key_dim value_dim time model"
)
b, h, g, i, j = batch["b"], heads["h"], heads["g"], queries["i"], keys["j"]
k, c, e, t, s = key_dim["k"], value_dim["c"], model["e"], time["t"], time["s"]
Q, K, V, S, A, O, P, L, E, Z, R = tensors("Q K V S A O P L E Z R")
X, Y, M, U, W, z, centre, lam = tensors("X Y M U W z centre lam")

INPUTS = [Q[b, h, i, k], K[b, h, j, k], V[b, h, j, c]]
DOTS = let(S[b, h, i, j], total(Q[b, h, i, k] * K[b, h, j, k], over=k))
OUT = let(O[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j))
SCORE = S[b, h, i, j]
WEIGHT = A[b, h, i, j]


def weighted(
    name: str, weights: Sequence[Equation] | Expr, *inputs: Entry, score: Equation = DOTS
) -> Plain:
    """Attention whose weights A are these; an expression stands for one equation."""
    rows = [let(WEIGHT, weights)] if isinstance(weights, Expr) else list(weights)
    return Spec(name, [*INPUTS, *inputs], [score, *rows, OUT], [O])


def sinks() -> Plain:
    """A learned logit per head in the denominator, and the log-sum-exp over the keys."""
    norm = exp(z[h]) + total(exp(SCORE), over=j)
    lse = let(L[b, h, i], log(total(exp(SCORE), over=j)))
    return weighted("sinks", [lse, let(WEIGHT, exp(SCORE) / norm)], z[h])


def named_sinks() -> Plain:
    """The same with the normaliser as an equation of its own."""
    norm = let(Z[b, h, i], exp(z[h]) + total(exp(SCORE), over=j))
    return weighted("named_sinks", [norm, let(WEIGHT, exp(SCORE) / Z[b, h, i])], z[h])


def joined_sink() -> Plain:
    """A softmax over keys and sink, whose part over the keys multiplies the values."""
    more = axes("keys_and_sink")[0]
    m = more["m"]
    place = where(eq(m, j + 1))
    rows = [
        let(E[b, h, i, m], total(place * SCORE, over=j)),
        let(P[b, h, i, m], softmax(E[b, h, i, m], over=m, where=m <= keys.size)),
        let(WEIGHT, total(place * P[b, h, i, m], over=m)),
    ]
    return weighted("joined_sink", rows)


def with_lse() -> Plain:
    """Causal softmax attention with its log-sum-exp."""
    seen = where(j <= i) * exp(SCORE)
    lse = let(L[b, h, i], log(total(seen, over=j)))
    return weighted("with_lse", [lse, let(WEIGHT, softmax(SCORE, over=j, where=j <= i))])


def local_p() -> Plain:
    """A softmax times a factor between 0 and 1 that falls with the distance from a centre."""
    far = (j - centre[b, h, i]) ** 2
    return weighted("local_p", softmax(SCORE, over=j) * exp(-far), centre[b, h, i])


def differential() -> Plain:
    """The difference of two softmaxes of one score and of twice that score."""
    second = softmax(2 * SCORE, over=j, where=j <= i)
    return weighted(
        "differential", softmax(SCORE, over=j, where=j <= i) - lam[()] * second, lam[()]
    )


def talking() -> Plain:
    """Softmax weights mixed over heads."""
    rows = [
        let(P[b, g, i, j], softmax(S[b, g, i, j], over=j)),
        let(WEIGHT, total(P[b, g, i, j] * M[g, h], over=g)),
    ]
    return weighted("talking", rows, M[g, h])


def capped() -> Plain:
    """Scores held inside a band by tanh."""
    raw = let(S[b, h, i, j], tanh(total(Q[b, h, i, k] * K[b, h, j, k], over=k)))
    return weighted("capped", softmax(SCORE, over=j), score=raw)


def decoder() -> Plain:
    """Causal self-attention with a residual, then cross-attention to a memory Y, then a mixing."""
    later = softmax(total(X[b, t, e] * X[b, s, e], over=e), over=s, where=s <= t)
    cross = softmax(total(U[b, t, e] * Y[b, j, e], over=e), over=j)
    first, second = tensors("A_self A_cross")
    return Spec(
        "decoder",
        [X[b, t, e], Y[b, j, e]],
        [
            let(first[b, t, s], later),
            let(U[b, t, e], X[b, t, e] + total(first[b, t, s] * X[b, s, e], over=s)),
            let(second[b, t, j], cross),
            let(O[b, t, e], U[b, t, e] + total(second[b, t, j] * Y[b, j, e], over=j)),
        ],
        [O],
    )


def grid() -> Plain:
    """Keys on a grid: their axis is rows x columns, and a query sees the keys of its own row."""
    row, column = axes("row column")
    x, y, u, v = row["x"], column["y"], row["u"], column["v"]
    at, to = (x, y), (u, v)
    weight = where(eq(x, u)) * exp(S[b, at, to])
    return Spec(
        "grid",
        [Q[b, at, k], K[b, to, k], V[b, to, c]],
        [
            let(S[b, at, to], total(Q[b, at, k] * K[b, to, k], over=k)),
            let(A[b, at, to], weight / total(where(eq(x, u)) * exp(S[b, at, to]), over=[u, v])),
            let(O[b, at, c], total(A[b, at, to] * V[b, to, c], over=[u, v])),
        ],
        [O],
    )


def convolution() -> Plain:
    """A causal convolution of width 3 along time: no attention, and ordered."""
    taps = parameter("taps", integer=True, ge=0, le=3)
    near = where((s <= t) & (s >= t - taps))
    return Spec(
        "convolution",
        [X[b, t, e], W[e]],
        [let(O[b, t], total(near * X[b, s, e] * W[e], over=[s, e]))],
        [O],
        parameters=[taps],
    )


def residual() -> Plain:
    """Masked attention whose keys also reach the output beside it."""
    out = let(O[b, i, c], total(A[b, i, j] * V[b, j, c], over=j) + total(K[b, j, c], over=j))
    return Spec(
        "residual",
        [Q[b, i, c], K[b, j, c], V[b, j, c]],
        [
            let(S[b, i, j], total(Q[b, i, c] * K[b, j, c], over=c)),
            let(A[b, i, j], softmax(S[b, i, j], over=j, where=j <= i)),
            out,
        ],
        [O],
    )


VARIANTS = {
    spec.name: spec
    for spec in (
        weighted("sigmoid", logistic(SCORE)),
        weighted("relu", relu(SCORE) / keys.size),
        weighted("masked_sigmoid", where(j <= i) * logistic(SCORE)),
        weighted("plus_one", exp(SCORE) / (1 + total(exp(SCORE), over=j))),
        sinks(),
        named_sinks(),
        joined_sink(),
        with_lse(),
        local_p(),
        differential(),
        talking(),
        capped(),
        decoder(),
        grid(),
        convolution(),
        residual(),
    )
}
