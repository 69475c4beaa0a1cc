"""Differential attention: softmax_1 - lambda softmax_2 (Ye et al. 2024, eqs. 1 to 3).

Each head has two queries, two keys (Q_1, K_1, Q_2, K_2) and one value. `norm="rms"` follows with an
RMS norm over value channels, with a gain as in the authors' code, and the factor 1 - lambda_init;
`norm="none"` leaves out both. `weight="given"` leaves the number `lam` open; `weight="learned"`
makes it exp(l_Q1 . l_K1) - exp(l_Q2 . l_K2) + lambda_init from four vectors (eq. 2).
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    exp,
    family,
    let,
    parameter,
    softmax,
    sqrt,
    tensors,
    total,
)

batch, heads, queries, keys, key_dim, value_dim = axes("batch heads queries keys key_dim value_dim")
b, h, i, j = batch["b"], heads["h"], queries["i"], keys["j"]
k, c, d = key_dim["k"], value_dim["c"], value_dim["d"]
Q_1, Q_2, K_1, K_2, V, gain = tensors("Q_1 Q_2 K_1 K_2 V gain")
l_Q1, l_K1, l_Q2, l_K2 = tensors("l_Q1 l_K1 l_Q2 l_K2")
S_1, S_2, A_1, A_2, A, U, O = tensors("S_1 S_2 A_1 A_2 A U O")
lam = parameter("lam", doc="how much of the second softmax is taken away")
start = parameter(
    "lambda_init", ge=0, lt=1, doc="0.8 - 0.6 exp(-0.3 (l - 1)) in layer l = 1, 2, .."
)
eps = parameter("eps", gt=0, default=1e-5, doc="added to the mean square under the root")
root = sqrt(key_dim.size)
SIGNS = dict.fromkeys(
    ("weights are not negative", "weights are at most one", "rows sum to one"),
    "the second softmax is taken away: rows sum to 1 - lambda",
)
VALUES = dict.fromkeys(
    ("convex hull", "value shift", "value gradients sum to output cotangents"),
    "weights have both signs and rows sum to 1 - lambda",
)


def build(norm: str, weight: str) -> Spec:
    """Differential attention with or without its norm, its weight given or learned."""
    rms, learned = norm == "rms", weight == "learned"
    one, two = total(l_Q1[k] * l_K1[k], over=k), total(l_Q2[k] * l_K2[k], over=k)
    share = exp(one) - exp(two) + start if learned else lam
    head = (U if rms else O)[b, h, i, c]
    square = total(U[b, h, i, d] ** 2, over=d) / value_dim.size
    scaled = (1 - start) * gain[c] * U[b, h, i, c] / sqrt(square + eps)
    return Spec(
        "differential",
        inputs=[
            Q_1[b, h, i, k],
            Q_2[b, h, i, k],
            K_1[b, h, j, k],
            K_2[b, h, j, k],
            V[b, h, j, c],
            *([l_Q1[k], l_K1[k], l_Q2[k], l_K2[k]] if learned else []),
            *([gain[c]] if rms else []),
        ],
        equations=[
            let(S_1[b, h, i, j], total(Q_1[b, h, i, k] * K_1[b, h, j, k], over=k) / root),
            let(S_2[b, h, i, j], total(Q_2[b, h, i, k] * K_2[b, h, j, k], over=k) / root),
            let(A_1[b, h, i, j], softmax(S_1[b, h, i, j], over=j)),
            let(A_2[b, h, i, j], softmax(S_2[b, h, i, j], over=j)),
            let(A[b, h, i, j], A_1[b, h, i, j] - share * A_2[b, h, i, j]),
            let(head, total(A[b, h, i, j] * V[b, h, j, c], over=j)),
            *([let(O[b, h, i, c], scaled)] if rms else []),
        ],
        outputs=[O],
        parameters=[
            *([] if learned else [lam]),
            *([start] if learned or rms else []),
            *([eps] if rms else []),
        ],
        announces=SIGNS if rms else {**SIGNS, **VALUES},
    )


spec = family(build, norm=Choice("rms", "none"), weight=Choice("given", "learned"))
