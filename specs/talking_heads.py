"""Talking-heads attention: heads are mixed before and after the softmax (Shazeer et al. 2020, 3).

Queries and keys have their own heads, the softmax has others, values have others again; W_L mixes
the scores of key heads into softmax heads, W_W their weights B into the weights A of value heads.
Section 3's pseudocode leaves the scale to the weights: `scale="none"`; `scale="key_dim"` divides by
sqrt(key_dim), which makes it multi-head attention where both mixtures are the identity.
"""

from attnverify.notation import Choice, Spec, axes, family, let, softmax, sqrt, tensors, total

batch, key_heads, heads, value_heads, queries, keys, key_dim, value_dim, model = axes(
    "batch key_heads heads value_heads queries keys key_dim value_dim model"
)
b, g, h, r = batch["b"], key_heads["g"], heads["h"], value_heads["r"]
i, j, k, c, e = queries["i"], keys["j"], key_dim["k"], value_dim["c"], model["e"]
X_Q, X_K, X_V, W_Q, W_K, W_V, W_O, W_L, W_W = tensors("X_Q X_K X_V W_Q W_K W_V W_O W_L W_W")
Q, K, V, J, S, B, A, U, O = tensors("Q K V J S B A U O")


def build(scale: str) -> Spec:
    """The layer, with or without a scale of the dot products."""
    dots = total(Q[b, g, i, k] * K[b, g, j, k], over=k)
    return Spec(
        "talking_heads",
        inputs=[
            X_Q[b, i, e],
            X_K[b, j, e],
            X_V[b, j, e],
            W_Q[e, g, k],
            W_K[e, g, k],
            W_V[e, r, c],
            W_O[r, c, e],
            W_L[g, h],
            W_W[h, r],
        ],
        equations=[
            let(Q[b, g, i, k], total(X_Q[b, i, e] * W_Q[e, g, k], over=e)),
            let(K[b, g, j, k], total(X_K[b, j, e] * W_K[e, g, k], over=e)),
            let(V[b, r, j, c], total(X_V[b, j, e] * W_V[e, r, c], over=e)),
            let(J[b, g, i, j], dots / sqrt(key_dim.size) if scale == "key_dim" else dots),
            let(S[b, h, i, j], total(W_L[g, h] * J[b, g, i, j], over=g)),
            let(B[b, h, i, j], softmax(S[b, h, i, j], over=j)),
            let(A[b, r, i, j], total(W_W[h, r] * B[b, h, i, j], over=h)),
            let(U[b, r, i, c], total(A[b, r, i, j] * V[b, r, j, c], over=j)),
            let(O[b, i, e], total(U[b, r, i, c] * W_O[r, c, e], over=[r, c])),
        ],
        outputs=[O],
        announces=dict.fromkeys(
            ("weights are not negative", "weights are at most one", "rows sum to one"),
            "a mixture of several heads' weights has any sign and any sum",
        ),
    )


spec = family(build, scale=Choice("none", "key_dim"))
