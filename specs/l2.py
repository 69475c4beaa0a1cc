"""L2 attention: the score is -|q - k|^2 / sqrt(d) (Kim et al. 2021, section 3.2).

`form="layer"` is the source's Lipschitz layer: one weight W_Q for queries and keys, each head's
values X A_h with A_h = W_Q W_Q^T / sqrt(d), then W_V and W_O. `form="score"` has free Q, K and V.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    family,
    let,
    softmax,
    sqrt,
    tensors,
    total,
)

batch, heads, queries, keys, time, key_dim, value_dim, model = axes(
    "batch heads queries keys time key_dim value_dim model"
)
b, h, k, c = batch["b"], heads["h"], key_dim["k"], value_dim["c"]
e, f = model["e"], model["f"]
X, W_Q, W_V, W_O = tensors("X W_Q W_V W_O")
Q, K, V, P, S, A, U, O = tensors("Q K V P S A U O")
root = sqrt(key_dim.size)


def score() -> Spec:
    """Attention over keys by distance."""
    i, j = queries["i"], keys["j"]
    return Spec(
        "l2",
        inputs=[Q[b, h, i, k], K[b, h, j, k], V[b, h, j, c]],
        equations=[
            let(S[b, h, i, j], -total((Q[b, h, i, k] - K[b, h, j, k]) ** 2, over=k) / root),
            let(A[b, h, i, j], softmax(S[b, h, i, j], over=j)),
            let(O[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j)),
        ],
        outputs=[O],
    )


def layer() -> Spec:
    """The layer with tied weights: head h gives P_h X A_h W_V, and W_O joins the heads."""
    i, j = time["i"], time["j"]
    back = total(W_Q[f, h, k] * Q[b, h, j, k], over=k) / root
    return Spec(
        "l2",
        inputs=[X[b, i, e], W_Q[e, h, k], W_V[e, h, c], W_O[h, c, e]],
        equations=[
            let(Q[b, h, i, k], total(X[b, i, e] * W_Q[e, h, k], over=e)),
            let(S[b, h, i, j], -total((Q[b, h, i, k] - Q[b, h, j, k]) ** 2, over=k) / root),
            let(A[b, h, i, j], softmax(S[b, h, i, j], over=j)),
            let(P[b, h, j, f], back),
            let(V[b, h, j, c], total(P[b, h, j, e] * W_V[e, h, c], over=e)),
            let(U[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j)),
            let(O[b, i, e], total(U[b, h, i, c] * W_O[h, c, e], over=[h, c])),
        ],
        outputs=[O],
    )


def build(form: str) -> Spec:
    """The score alone, or the whole layer."""
    return score() if form == "score" else layer()


spec = family(build, form=Choice("score", "layer"))
