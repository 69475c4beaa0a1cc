"""Online softmax: running maximum N, sum Z and output U over tiles of keys, rescaled at each tile.

Milakov & Gimelshein 2018, algorithm 3; Dao et al. 2022, algorithm 1. Keys are tiles x offsets. The
running maximum is held constant by derivatives: it cancels. Equal to global or causal attention.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    eq,
    exp,
    family,
    larger,
    let,
    log,
    maximum,
    position,
    previous,
    recur,
    sqrt,
    tensors,
    total,
    where,
)

batch, heads, queries, tile, offset = axes("batch heads queries tile offset")
key_dim, value_dim = axes("key_dim value_dim")
b, h, i, t, o = batch["b"], heads["h"], queries["i"], tile["t"], offset["o"]
k, c = key_dim["k"], value_dim["c"]
Q, K, V, S, M, N, R, Z, U, E, L, O = tensors("Q K V S M N R Z U E L O")


def build(ordered: bool) -> Spec:
    """Online softmax over all keys, or causal."""
    j = (t, o)
    seen = position(j) <= i if ordered else where(position(j) >= 0)
    shown = where(seen) if ordered else 1
    score, top = S[b, h, i, j], M[b, h, i, t]
    running, kept = N[b, h, i, t], R[b, h, i, t]
    summed, out = Z[b, h, i, t], U[b, h, i, t, c]
    weight = shown * exp(score - running)
    last = where(eq(t, tile.size - 1))
    return Spec(
        "online_softmax",
        inputs=[Q[b, h, i, k], K[b, h, j, k], V[b, h, j, c]],
        equations=[
            let(score, total(Q[b, h, i, k] * K[b, h, j, k], over=k) / sqrt(key_dim.size)),
            let(top, maximum(score, over=o, where=seen) if ordered else maximum(score, over=o)),
            recur(
                along=t,
                initial={N: 0, Z: 0, U: 0},
                steps=[
                    # Before the first tile there is no maximum, so that its own one is taken.
                    let(
                        running,
                        where(eq(t, 0)) * top + where(t > 0) * larger(previous(running), top),
                    ),
                    let(kept, where(t > 0) * exp(previous(running) - running)),
                    let(summed, kept * previous(summed) + total(weight, over=o)),
                    let(out, kept * previous(out) + total(weight * V[b, h, j, c], over=o)),
                ],
            ),
            let(
                O[b, h, i, c],
                total(last * out, over=t) / total(last * summed, over=t),
            ),
            let(
                L[b, h, i],
                log(total(last * summed, over=t)) + total(last * running, over=t),
            ),
        ],
        outputs=[O],
        announces={"permutation equivariance": "the mask orders the keys"} if ordered else {},
    )


spec = family(build, ordered=Choice(False, True))
