"""Multiplicative attention: the score is q . k, without a scale (Luong et al. 2015, eqs. 7 and 8).

Q (batch, queries, key_dim) are the target's hidden states; K and V belong to the source. It is
global attention of queries multiplied by sqrt(key_dim).
"""

from attnverify.notation import Spec, axes, let, softmax, tensors, total

batch, queries, keys, key_dim, value_dim = axes("batch queries keys key_dim value_dim")
b, i, j, k, c = batch["b"], queries["i"], keys["j"], key_dim["k"], value_dim["c"]
Q, K, V, S, A, O = tensors("Q K V S A O")

spec = Spec(
    "luong_dot",
    inputs=[Q[b, i, k], K[b, j, k], V[b, j, c]],
    equations=[
        let(S[b, i, j], total(Q[b, i, k] * K[b, j, k], over=k)),
        let(A[b, i, j], softmax(S[b, i, j], over=j)),
        let(O[b, i, c], total(A[b, i, j] * V[b, j, c], over=j)),
    ],
    outputs=[O],
)
