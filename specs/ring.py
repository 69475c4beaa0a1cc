"""Ring attention: each rank keeps its queries while blocks of keys and values pass by.

Liu et al. 2023, algorithm 1: at step t rank r holds the block that began at rank (r - t) mod n and
joins it into its running maximum, sum and output. Queries are ranks x places, keys ranks x offsets.
Equal to global attention.
"""

from attnverify.notation import (
    Spec,
    axes,
    eq,
    exp,
    gather,
    larger,
    let,
    maximum,
    previous,
    recur,
    remainder,
    sqrt,
    tensors,
    total,
    where,
)

batch, heads, rank, place, offset = axes("batch heads rank place offset")
key_dim, value_dim = axes("key_dim value_dim")
b, h, r, t, w = batch["b"], heads["h"], rank["r"], rank["t"], rank["w"]
i, o, k, c = place["i"], offset["o"], key_dim["k"], value_dim["c"]
Q, K, V, S, M, N, R, Z, U, O = tensors("Q K V S M N R Z U O")

query, passing = (r, i), remainder(r - t, rank.size)
score, top, running = S[b, h, r, i, t, o], M[b, h, r, i, t], N[b, h, r, i, t]
kept, summed, out = R[b, h, r, i, t], Z[b, h, r, i, t], U[b, h, r, i, t, c]
weight = exp(score - running)
last = where(eq(t, rank.size - 1))

spec = Spec(
    "ring",
    inputs=[Q[b, h, query, k], K[b, h, (w, o), k], V[b, h, (w, o), c]],
    equations=[
        let(
            score,
            gather(total(Q[b, h, query, k] * K[b, h, (w, o), k], over=k), at=w, position=passing)
            / sqrt(key_dim.size),
        ),
        let(top, maximum(score, over=o)),
        recur(
            along=t,
            initial={N: 0, Z: 0, U: 0},
            steps=[
                let(running, where(eq(t, 0)) * top + where(t > 0) * larger(previous(running), top)),
                let(kept, where(t > 0) * exp(previous(running) - running)),
                let(summed, kept * previous(summed) + total(weight, over=o)),
                let(
                    out,
                    kept * previous(out)
                    + total(weight * gather(V[b, h, (w, o), c], at=w, position=passing), over=o),
                ),
            ],
        ),
        let(O[b, h, query, c], total(last * out, over=t) / total(last * summed, over=t)),
    ],
    outputs=[O],
)
