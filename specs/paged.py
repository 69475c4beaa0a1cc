"""Paged attention: keys and values lie in pages that a block table names (Kwon et al. 2023, 4.1).

K and V are pages x slots; `table` (batch, blocks) says which page holds a sequence's n-th block,
`lengths` (batch) how many keys it has. The queries are the last of its positions and see the keys
up to themselves, as in `kv_cache`.
"""

from attnverify.notation import (
    Spec,
    axes,
    exp,
    gather,
    integers,
    let,
    position,
    sqrt,
    tensors,
    total,
    where,
)

batch, heads, queries, page, slot, block = axes("batch heads queries page slot block")
key_dim, value_dim = axes("key_dim value_dim")
b, h, i, p, s, n = batch["b"], heads["h"], queries["i"], page["p"], slot["s"], block["n"]
k, c = key_dim["k"], value_dim["c"]
Q, K, V, K_seq, V_seq, S, Z, A, O = tensors("Q K V K_seq V_seq S Z A O")
table, lengths = integers("table lengths")
j = (n, s)
seen = where((position(j) < lengths[b]) & (position(j) <= i + lengths[b] - queries.size))

spec = Spec(
    "paged",
    inputs=[Q[b, h, i, k], K[p, s, h, k], V[p, s, h, c], table[b, n], lengths[b]],
    equations=[
        let(K_seq[b, h, j, k], gather(K[p, s, h, k], at=p, position=table[b, n])),
        let(V_seq[b, h, j, c], gather(V[p, s, h, c], at=p, position=table[b, n])),
        let(S[b, h, i, j], total(Q[b, h, i, k] * K_seq[b, h, j, k], over=k) / sqrt(key_dim.size)),
        let(Z[b, h, i], total(seen * exp(S[b, h, i, j]), over=j)),
        let(A[b, h, i, j], seen * exp(S[b, h, i, j]) / Z[b, h, i]),
        let(O[b, h, i, c], total(A[b, h, i, j] * V_seq[b, h, j, c], over=j)),
    ],
    outputs=[O],
    announces={"permutation equivariance": "the mask orders the keys"},
)
