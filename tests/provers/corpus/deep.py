"""Statements about specs of many equations: true, and false by one equation deep inside."""

from __future__ import annotations

from attnverify.algebra.predicates import Predicate
from attnverify.algebra.terms import ZERO, Expr, as_expr
from attnverify.invariants import roles
from attnverify.invariants.symmetry import batch_independence, later_changes, permutation
from attnverify.notation import axes, let, relu, softmax, sqrt, tensors, total, where
from attnverify.spec import Spec
from attnverify.statement import Statement

batch, time, features = axes("batch time features")
b, b2, i, j, t, e, f = (
    batch["b"], batch["b2"], time["i"], time["j"], time["t"], features["e"], features["f"],
)  # fmt: skip
X, S, A, U, Y, C, N, P, B, G, O, D = tensors("X S A U Y C N P B G O D")
X_E, Y_E = X[b, t, e], Y[b, i, e]


def block(*, mask: Predicate | None = None, mixed: Expr | None = None) -> Spec:
    """Two layers of attention with a residual and a normaliser between; the second may be wrong."""
    first, second = j <= i, j <= i if mask is None else mask
    added = ZERO if mixed is None else mixed
    return Spec(
        "block",
        inputs=[X_E],
        equations=[
            let(S[b, i, j], total(X[b, i, e] * X[b, j, e], over=e) / sqrt(features.size)),
            let(A[b, i, j], softmax(S[b, i, j], over=j, where=first)),
            let(U[b, i, e], total(A[b, i, j] * X[b, j, e], over=j)),
            let(Y_E, X[b, i, e] + U[b, i, e]),
            let(C[b, i, e], Y_E - total(Y[b, i, f], over=f) / features.size),
            let(N[b, i, e], C[b, i, e] / sqrt(total(C[b, i, f] ** 2, over=f) + 1)),
            let(P[b, i, j], relu(total(N[b, i, e] * N[b, j, e], over=e))),
            let(B[b, i, j], softmax(P[b, i, j], over=j, where=second)),
            let(
                G[b, i, e],
                total(B[b, i, j] * N[b, j, e], over=j) + added,
            ),
            let(O[b, i, e], Y_E + G[b, i, e]),
        ],
        outputs=[O],
    )


def smoothed(mask: Predicate) -> Spec:
    """A mean over positions, by weights that nothing but a table of positions gives."""
    return Spec(
        "smoothed",
        inputs=[X_E],
        equations=[
            let(D[i, t], where(mask)),
            let(O[b, i, e], total(D[i, t] * X[b, t, e], over=t)),
        ],
        outputs=[O],
    )


def separate(name: str, spec: Spec) -> Statement:
    (found,) = batch_independence(roles(spec))
    return named(name, found)


def causal(name: str, spec: Spec) -> Statement:
    return named(name, later_changes(roles(spec), spec.inputs[0]))


def named(name: str, claim: Statement) -> Statement:
    return Statement(name, claim.kind, claim.spec, claim.left, claim.right, (), claim.relabels)


TRUE = [
    separate("batch entries are apart", block()),
    separate("whatever the second mask is", block(mask=j <= as_expr(i) + 1)),
    causal("nothing after a step", block()),
    causal("the mask is narrower in one layer", block(mask=j < i)),
    causal("other batch entries up to a step", block(mixed=total(N[b2, i, e], over=b2))),
    causal("a table of earlier positions", smoothed(t <= i)),
    causal("a sum over earlier steps", block(mixed=total(where(t <= i) * N[b, t, e], over=t))),
]
FALSE = [
    causal("a table of positions leaks", smoothed(t <= as_expr(i) + 1)),
    separate("a sum over the batch in one equation", block(mixed=total(N[b2, i, e], over=b2))),
    separate("the number of a batch entry", block(mixed=as_expr(b))),
    separate(
        "the first batch entry", block(mixed=total(where(as_expr(b2) <= 0) * N[b2, i, e], b2))
    ),
    causal("the mask leaks in one layer", block(mask=j <= as_expr(i) + 1)),
    causal("no mask in one layer", block(mask=j >= ZERO)),
    causal("the mask is turned round in one layer", block(mask=j >= i)),
    causal("a mean over time in one equation", block(mixed=total(N[b, t, e], over=t) / time.size)),
    causal("the next step", block(mixed=total(where(t <= as_expr(i) + 1) * N[b, t, e], t))),
]
FALSE += [
    named("a mask is no matter of order", statement) for statement in permutation(roles(block()))
]
