"""Multiplicative attention with a weight: the score is q W k (Luong et al. 2015, eqs. 7 and 8).

Q (batch, queries, key_dim) and K (batch, keys, hidden) may differ in width; W is (key_dim, hidden).
"""

from attnverify.notation import Spec, axes, let, softmax, tensors, total

batch, queries, keys, key_dim, hidden, value_dim = axes(
    "batch queries keys key_dim hidden value_dim"
)
b, i, j = batch["b"], queries["i"], keys["j"]
k, l, c = key_dim["k"], hidden["l"], value_dim["c"]
Q, K, V, W, R, S, A, O = tensors("Q K V W R S A O")

spec = Spec(
    "luong_general",
    inputs=[Q[b, i, k], K[b, j, l], V[b, j, c], W[k, l]],
    equations=[
        let(R[b, j, k], total(W[k, l] * K[b, j, l], over=l)),
        let(S[b, i, j], total(Q[b, i, k] * R[b, j, k], over=k)),
        let(A[b, i, j], softmax(S[b, i, j], over=j)),
        let(O[b, i, c], total(A[b, i, j] * V[b, j, c], over=j)),
    ],
    outputs=[O],
)
