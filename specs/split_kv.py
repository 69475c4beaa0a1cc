"""Split keys: each part has its own softmax, and their outputs are merged by their log-sum-exps.

Flash-Decoding (Dao et al. 2023): O = sum_s exp(L_s - L) O_s with L the log-sum-exp of the L_s. Keys
are parts x offsets. Equal to global attention.
"""

from attnverify.notation import Spec, axes, exp, let, log, softmax, sqrt, tensors, total

batch, heads, queries, part, offset = axes("batch heads queries part offset")
key_dim, value_dim = axes("key_dim value_dim")
b, h, i, s, o = batch["b"], heads["h"], queries["i"], part["s"], offset["o"]
k, c = key_dim["k"], value_dim["c"]
Q, K, V, S, P, U, M, L, O = tensors("Q K V S P U M L O")
j = (s, o)

spec = Spec(
    "split_kv",
    inputs=[Q[b, h, i, k], K[b, h, j, k], V[b, h, j, c]],
    equations=[
        let(S[b, h, i, j], total(Q[b, h, i, k] * K[b, h, j, k], over=k) / sqrt(key_dim.size)),
        let(P[b, h, i, j], softmax(S[b, h, i, j], over=o)),
        let(U[b, h, i, s, c], total(P[b, h, i, j] * V[b, h, j, c], over=o)),
        let(M[b, h, i, s], log(total(exp(S[b, h, i, j]), over=o))),
        let(L[b, h, i], log(total(exp(M[b, h, i, s]), over=s))),
        let(O[b, h, i, c], total(exp(M[b, h, i, s] - L[b, h, i]) * U[b, h, i, s, c], over=s)),
    ],
    outputs=[O],
)
