"""Decoding with a cache of earlier keys and values (Shazeer 2019, section 2.4).

K_past and V_past hold the keys of earlier steps, K and V those of this one; query i stands at
position i + n_past. Equal to causal attention aligned bottom-right over both. K_all and V_all are
the cache for the next step (ONNX's present key and value).
"""

from attnverify.notation import (
    Spec,
    axes,
    concatenate,
    concatenated,
    let,
    softmax,
    sqrt,
    tensors,
    total,
)

batch, heads, queries, past, new = axes("batch heads queries past new")
key_dim, value_dim = axes("key_dim value_dim")
keys = concatenated("keys", past, new)
b, h, i, j, p, n = batch["b"], heads["h"], queries["i"], keys["j"], past["p"], new["n"]
k, c = key_dim["k"], value_dim["c"]
Q, K, V, K_past, V_past, K_all, V_all = tensors("Q K V K_past V_past K_all V_all")
S, A, O = tensors("S A O")

spec = Spec(
    "kv_cache",
    inputs=[
        Q[b, h, i, k],
        K[b, h, n, k],
        V[b, h, n, c],
        K_past[b, h, p, k],
        V_past[b, h, p, c],
    ],
    equations=[
        let(K_all[b, h, j, k], concatenate(j, K_past[b, h, p, k], K[b, h, n, k])),
        let(V_all[b, h, j, c], concatenate(j, V_past[b, h, p, c], V[b, h, n, c])),
        let(S[b, h, i, j], total(Q[b, h, i, k] * K_all[b, h, j, k], over=k) / sqrt(key_dim.size)),
        let(
            A[b, h, i, j],
            softmax(S[b, h, i, j], over=j, where=j <= i + keys.size - queries.size),
        ),
        let(O[b, h, i, c], total(A[b, h, i, j] * V_all[b, h, j, c], over=j)),
    ],
    outputs=[O],
    announces={"permutation equivariance": "the mask orders the keys"},
)
