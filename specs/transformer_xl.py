"""Relative position scores with biases u and v (Dai et al. 2019, section 3.3).

The score is ((q_i + u) . k_j + (q_i + v) . W_R R_(i-j)) / sqrt(key_dim); the scale is in the
authors' code, not in the section's formula. R (distances, model) holds the encodings of distances
0, 1, ... (the source's are sinusoids). Keys and values start with the memory, n_k - n_q positions:
row i stands at i + n_k - n_q and sees keys up to there.
"""

from attnverify.notation import Spec, axes, eq, let, softmax, sqrt, tensors, total, where

batch, heads, queries, keys, key_dim, value_dim, distances, model = axes(
    "batch heads queries keys key_dim value_dim distances model"
)
b, h, i, j, p = batch["b"], heads["h"], queries["i"], keys["j"], distances["p"]
k, c, e = key_dim["k"], value_dim["c"], model["e"]
Q, K, V, R, W_R, u, v, T, P, S, A, O = tensors("Q K V R W_R u v T P S A O")

distance = i + keys.size - queries.size - j
content = total((Q[b, h, i, k] + u[h, k]) * K[b, h, j, k], over=k)
place = total(where(eq(p, distance)) * P[b, h, i, p], over=p)

spec = Spec(
    "transformer_xl",
    inputs=[
        Q[b, h, i, k],
        K[b, h, j, k],
        V[b, h, j, c],
        R[p, e],
        W_R[e, h, k],
        u[h, k],
        v[h, k],
    ],
    equations=[
        let(T[h, p, k], total(R[p, e] * W_R[e, h, k], over=e)),
        let(P[b, h, i, p], total((Q[b, h, i, k] + v[h, k]) * T[h, p, k], over=k)),
        let(S[b, h, i, j], (content + place) / sqrt(key_dim.size)),
        let(A[b, h, i, j], softmax(S[b, h, i, j], over=j, where=distance >= 0)),
        let(O[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j)),
    ],
    outputs=[O],
    announces={"permutation equivariance": "distances and the mask order the keys"},
)
