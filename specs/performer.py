"""Performer: attention by positive random features (Choromanski et al. 2021, eq. 5, lemma 1).

phi(x) = exp(w_r.x - |x|^2 / 2) / sqrt(m) of x = q / d^(1/4) or k / d^(1/4), with the random vectors
w_r as the input W (features, key_dim): phi(q).phi(k) is exp(q.k / sqrt d) on average over normal W.
`causal=True` has one axis for queries and keys. The small constant that implementations add is
outside.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    exp,
    family,
    let,
    sqrt,
    tensors,
    total,
    where,
)

batch, heads, queries, keys, time, key_dim, value_dim, features = axes(
    "batch heads queries keys time key_dim value_dim features"
)
b, h, k, l, c, r = batch["b"], heads["h"], key_dim["k"], key_dim["l"], value_dim["c"], features["r"]
Q, K, V, W, F, G, A, Z, O = tensors("Q K V W F G A Z O")


def build(causal: bool) -> Spec:
    """The weights phi(q).phi(k), masked where causal, over their row sums Z."""
    i, j = (time["t"], time["s"]) if causal else (queries["i"], keys["j"])
    root = sqrt(sqrt(key_dim.size))
    exponent = {
        x: total(W[r, k] * x[b, h, at, k], over=k) / root
        - total(x[b, h, at, k] ** 2, over=k) / (2 * root**2)
        for x, at in ((Q, i), (K, j))
    }
    weight = total(F[b, h, i, r] * G[b, h, j, r], over=r)
    return Spec(
        "performer",
        inputs=[Q[b, h, i, k], K[b, h, j, k], V[b, h, j, c], W[r, k]],
        equations=[
            let(F[b, h, i, r], exp(exponent[Q]) / sqrt(features.size)),
            let(G[b, h, j, r], exp(exponent[K]) / sqrt(features.size)),
            let(A[b, h, i, j], where(j <= i) * weight if causal else weight),
            let(Z[b, h, i], total(A[b, h, i, j], over=j)),
            let(O[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j) / Z[b, h, i]),
        ],
        outputs=[O],
        announces={"permutation equivariance": "the mask orders the keys"} if causal else {},
    )


spec = family(build, causal=Choice(False, True))
