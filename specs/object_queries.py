"""Object queries attend to an image: DETR's cross-attention (Carion et al. 2020, A.1).

The learned object queries P_Q (queries, model) are added to the decoder's stream X_Q, the spatial
encodings P_K (batch, keys, model) to the image features X_K for keys; values are X_K as they are.
W_Q, W_K, W_V and W_O are stored per head. No biases; residual and norm belong to the block.
"""

from attnverify.notation import Spec, axes, let, softmax, sqrt, tensors, total

batch, heads, queries, keys, key_dim, value_dim, model = axes(
    "batch heads queries keys key_dim value_dim model"
)
b, h, i, j = batch["b"], heads["h"], queries["i"], keys["j"]
k, c, e = key_dim["k"], value_dim["c"], model["e"]
X_Q, X_K, P_Q, P_K, W_Q, W_K, W_V, W_O = tensors("X_Q X_K P_Q P_K W_Q W_K W_V W_O")
Q, K, V, S, A, U, O = tensors("Q K V S A U O")

spec = Spec(
    "object_queries",
    inputs=[
        X_Q[b, i, e],
        X_K[b, j, e],
        P_Q[i, e],
        P_K[b, j, e],
        W_Q[e, h, k],
        W_K[e, h, k],
        W_V[e, h, c],
        W_O[h, c, e],
    ],
    equations=[
        let(Q[b, h, i, k], total((X_Q[b, i, e] + P_Q[i, e]) * W_Q[e, h, k], over=e)),
        let(K[b, h, j, k], total((X_K[b, j, e] + P_K[b, j, e]) * W_K[e, h, k], over=e)),
        let(V[b, h, j, c], total(X_K[b, j, e] * W_V[e, h, c], over=e)),
        let(S[b, h, i, j], total(Q[b, h, i, k] * K[b, h, j, k], over=k) / sqrt(key_dim.size)),
        let(A[b, h, i, j], softmax(S[b, h, i, j], over=j)),
        let(U[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j)),
        let(O[b, i, e], total(U[b, h, i, c] * W_O[h, c, e], over=[h, c])),
    ],
    outputs=[O],
)
