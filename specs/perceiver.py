"""Latent queries attend to inputs: the Perceiver's cross-attention (Jaegle et al. 2021, 3.1).

The latents Z (queries, model) are learned and shared by the batch; the input X (batch, keys,
hidden) has a width of its own and may be far longer. `residual=True` adds the latents to the
output. Layer norms and the MLP that follow belong to the block.
"""

from attnverify.notation import Choice, Spec, axes, family, let, softmax, sqrt, tensors, total

batch, heads, queries, keys, key_dim, value_dim, model, hidden = axes(
    "batch heads queries keys key_dim value_dim model hidden"
)
b, h, i, j = batch["b"], heads["h"], queries["i"], keys["j"]
k, c, e, l = key_dim["k"], value_dim["c"], model["e"], hidden["l"]
Z, X, W_Q, W_K, W_V, W_O = tensors("Z X W_Q W_K W_V W_O")
Q, K, V, S, A, U, O = tensors("Q K V S A U O")


def build(residual: bool) -> Spec:
    """The cross-attention, with or without its residual connection."""
    out = total(U[b, h, i, c] * W_O[h, c, e], over=[h, c])
    return Spec(
        "perceiver",
        inputs=[Z[i, e], X[b, j, l], W_Q[e, h, k], W_K[l, h, k], W_V[l, h, c], W_O[h, c, e]],
        equations=[
            let(Q[h, i, k], total(Z[i, e] * W_Q[e, h, k], over=e)),
            let(K[b, h, j, k], total(X[b, j, l] * W_K[l, h, k], over=l)),
            let(V[b, h, j, c], total(X[b, j, l] * W_V[l, h, c], over=l)),
            let(S[b, h, i, j], total(Q[h, i, k] * K[b, h, j, k], over=k) / sqrt(key_dim.size)),
            let(A[b, h, i, j], softmax(S[b, h, i, j], over=j)),
            let(U[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j)),
            let(O[b, i, e], Z[i, e] + out if residual else out),
        ],
        outputs=[O],
    )


spec = family(build, residual=Choice(False, True))
